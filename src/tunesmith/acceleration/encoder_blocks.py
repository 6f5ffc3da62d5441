"""The two blocks of BERT's encoder layer, with a forward and a backward pass of our own.

    h = LayerNorm(x + dropout(attention(x)))        y = LayerNorm(h + dropout(W₂ gelu(W₁ h)))

Vaswani et al. 2017 (arXiv 1706.03762), Devlin et al. 2019 (arXiv 1810.04805). The gradients equal those of
autograd in float64 to 1e-12. On a CPU, this costs less than the stock layers: query, key and value are one
product, only the attention computes padding, dropout masks are drawn as bytes, weights are cast once per step, and
nothing is stored that the backward pass does not read. Under autocast, values between blocks stay in float32, as
in the stock layers; only the products are in bfloat16. Measurements: docs/performance.md.

Letters: t rows of tokens, b sequences, s tokens of the longest sequence, l the same rounded up, d features, a
    heads, e = d / a, f inner features.
"""

from __future__ import annotations

import contextlib
import contextvars
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F

from tunesmith.acceleration.operators import need
from tunesmith.acceleration.packed_linear import Affine

# Numbers of tokens, and lengths in attention, are rounded up to multiples of these. For every new shape of a
# product, oneDNN compiles and stores a kernel, which takes as long as a small product. Numbers up to _FEW, as in a
# single text, are rounded to a multiple of _FEW_TOKENS.
_FEW, _FEW_TOKENS, _TOKENS, _LONGEST = 64, 8, 32, 8

NORM, NORM_BACKWARD = "native_layer_norm", "ops.aten.native_layer_norm_backward"
GELU_BACKWARD, SOFTMAX_BACKWARD = "ops.aten.gelu_backward", "_softmax_backward_data"
OPERATORS = (NORM, NORM_BACKWARD, GELU_BACKWARD, SOFTMAX_BACKWARD)
"""Operators outside of torch's public interface that the blocks need."""


@dataclass(frozen=True)
class Layout:
    """The positions of a padded batch's real tokens: in the batch [b, s], in the attention [b, l], in a list [t].

    Args:
        sequences: number of sequences b.
        longest: length l in the attention, which is s rounded up.
        rows: number t of real tokens, rounded up; the additional rows are zeros and are not read.
        batch: [n], positions of the real tokens among b·s.
        attention: [n], positions of the real tokens among b·l.
        bias: [b, 1, l], 0 for real tokens and a very low number for others; None if all tokens are real.
    """

    sequences: int
    longest: int
    rows: int
    batch: torch.Tensor
    attention: torch.Tensor
    bias: torch.Tensor | None

    @classmethod
    def of(cls, real: torch.Tensor | None, sequences: int, longest: int, dtype: torch.dtype) -> Layout:
        """The layout for a mask [b, s] that is true for real tokens; None as mask means that all are real."""
        rounded = _rounded(longest, _LONGEST)
        if real is None:
            real = torch.ones(sequences, longest, dtype=torch.bool)
        wider = F.pad(real, (0, rounded - longest))
        bias = None
        if not bool(wider.all()):
            bias = torch.zeros(sequences, 1, rounded, dtype=dtype)
            bias.masked_fill_(
                ~wider[:, None, :], torch.finfo(dtype).min / 2
            )  # stays finite when a score is added
        places = [mask.reshape(-1).nonzero().squeeze(1) for mask in (real, wider)]
        n = len(places[0])
        rows = _rounded(n, _FEW_TOKENS if n <= _FEW else _TOKENS)
        return cls(sequences, rounded, rows, places[0], places[1], bias)

    def enter(self, padded: torch.Tensor) -> torch.Tensor:
        """Removes the padding: [t, n] of [b·s, n]."""
        return self._take(padded, self.batch)

    def leave(self, tokens: torch.Tensor, longest: int) -> torch.Tensor:
        """Adds the padding as zeros: [b·s, n] of [t, n]."""
        return self._put(tokens, self.batch, self.sequences * longest)

    def split(self, tokens: torch.Tensor, parts: int, heads: int) -> torch.Tensor:
        """Splits features into parts and heads: [parts, b·a, l, e] of [t, parts·d]."""
        width = tokens.shape[1] // (parts * heads)
        padded = self._put(tokens, self.attention, self.sequences * self.longest)
        apart = padded.view(self.sequences, self.longest, parts, heads, width)
        return apart.permute(2, 0, 3, 1, 4).reshape(parts, self.sequences * heads, self.longest, width)

    def join(self, apart: torch.Tensor, heads: int) -> torch.Tensor:
        """Undoes `split`: [t, parts·d] of [parts, b·a, l, e]."""
        parts, _, _, width = apart.shape
        together = apart.view(parts, self.sequences, heads, self.longest, width).permute(1, 3, 0, 2, 4)
        return self._take(
            together.reshape(self.sequences * self.longest, parts * heads * width), self.attention
        )

    def _take(self, padded: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        return F.pad(padded.index_select(0, places), (0, 0, 0, self.rows - len(places)))

    def _put(self, tokens: torch.Tensor, places: torch.Tensor, size: int) -> torch.Tensor:
        padded = tokens.new_zeros(size, tokens.shape[1])
        return padded.index_copy_(0, places, tokens[: len(places)])


_rounds = contextvars.ContextVar("rounds", default=True)


@contextlib.contextmanager
def exact_shapes() -> Iterator[None]:
    """A context in which nothing is rounded up, to measure the memory of a token."""
    token = _rounds.set(False)
    try:
        yield
    finally:
        _rounds.reset(token)


def _rounded(number: int, step: int) -> int:
    return -(-number // step) * step if _rounds.get() else number


@dataclass(frozen=True)
class AttentionWeights:
    """Weights of an attention block in the type of its products; `norm` in the type in which it is trained.

    Args:
        qkv: weight [3·d, d] and bias [3·d] of query, key and value.
        out: weight [d, d] and bias [d] of the output.
        norm: weight [d] and bias [d] of the normalisation.
        eps: epsilon of the normalisation.
        heads: number of heads a.
    """

    qkv: Affine
    out: Affine
    norm: tuple[torch.Tensor, torch.Tensor]
    eps: float
    heads: int


@dataclass(frozen=True)
class FeedForwardWeights:
    """Weights of a feed-forward block, with biases: `up` [f, d], [f]; `down` [d, f], [d]; `norm` [d], [d]."""

    up: Affine
    down: Affine
    norm: tuple[torch.Tensor, torch.Tensor]
    eps: float


class AttentionBlock(torch.autograd.Function):
    """x [t, d] → LayerNorm(x + dropout(attention(x)))."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        layout: Layout,
        weights: AttentionWeights,
        masks: tuple[torch.Tensor | None, torch.Tensor | None],
        *parameters: torch.Tensor,
    ) -> torch.Tensor:
        """Computes the block.

        The masks are for the attention weights [b·a, l, l] and for the output [t, d]. The parameters are those of
        query, key, value, out and norm, each with weight and bias.
        """
        heads, inputs = weights.heads, x.to(weights.qkv.dtype)
        q, k, v = layout.split(weights.qkv(inputs), 3, heads).unbind()
        shares = _softmax(_scores(q, k, layout, heads))
        seen = layout.join(torch.bmm(_times(shares, masks[0]), v)[None], heads)
        added = x + _dropped(weights.out(seen), masks[1])
        y, mean, rstd = _norm(added, weights.norm, weights.eps)
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(inputs, q, k, v, shares, seen, added, mean, rstd, *masks)
            ctx.layout, ctx.weights = layout, weights
        return y

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """The gradients of x and of the parameters."""
        inputs, q, k, v, shares, seen, added, mean, rstd, *masks = ctx.saved_tensors
        layout, weights, needed = ctx.layout, ctx.weights, ctx.needs_input_grad
        dadded, dgamma, dbeta = _norm_backward(dy, added, mean, rstd, weights.norm, any(needed[12:14]))
        dout = _undropped(dadded, seen.dtype, masks[1])
        dseen = layout.split(dout @ weights.out.weight, 1, weights.heads)[0]
        dqkv = torch.empty((3, *q.shape), dtype=q.dtype)
        torch.bmm(_times(shares, masks[0]).transpose(1, 2), dseen, out=dqkv[2])
        dshares = _dropped(torch.bmm(dseen, v.transpose(1, 2)), masks[0])
        dscores = _softmax_backward(dshares, shares).mul_(_scaling(q))
        torch.bmm(dscores, k, out=dqkv[0])
        torch.bmm(dscores.transpose(1, 2), q, out=dqkv[1])
        flat = layout.join(dqkv, weights.heads)
        dx = dadded + flat @ weights.qkv.weight if needed[0] else None
        norm = weights.norm[0].dtype
        inner = _linear_backward(flat, inputs, any(needed[4:10]), norm)
        outer = _linear_backward(dout, seen, any(needed[10:12]), norm)
        each = [part for pair in zip(_thirds(inner[0]), _thirds(inner[1]), strict=True) for part in pair]
        return dx, None, None, None, *each, *outer, dgamma, dbeta


class FeedForwardBlock(torch.autograd.Function):
    """x [t, d] → LayerNorm(x + dropout(W₂ gelu(W₁ x)))."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weights: FeedForwardWeights,
        mask: torch.Tensor | None,
        *parameters: torch.Tensor,
    ) -> torch.Tensor:
        """Computes the block; the mask is for the output [t, d], the parameters are those of up, down and norm."""
        inputs = x.to(weights.up.dtype)
        inner, active = weights.up.then_gelu(inputs)
        added = x + _dropped(weights.down(active), mask)
        y, mean, rstd = _norm(added, weights.norm, weights.eps)
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(inputs, inner, active, added, mean, rstd, mask)
            ctx.weights = weights
        return y

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """The gradients of x and of the parameters."""
        inputs, inner, active, added, mean, rstd, mask = ctx.saved_tensors
        weights, needed = ctx.weights, ctx.needs_input_grad
        dadded, dgamma, dbeta = _norm_backward(dy, added, mean, rstd, weights.norm, any(needed[7:9]))
        ddown = _undropped(dadded, active.dtype, mask)
        dinner = need(GELU_BACKWARD)(ddown @ weights.down.weight, inner)
        dx = dadded + dinner @ weights.up.weight if needed[0] else None
        norm = weights.norm[0].dtype
        up = _linear_backward(dinner, inputs, any(needed[3:5]), norm)
        down = _linear_backward(ddown, active, any(needed[5:7]), norm)
        return dx, None, None, *up, *down, dgamma, dbeta


def _scores(q: torch.Tensor, k: torch.Tensor, layout: Layout, heads: int) -> torch.Tensor:
    """Attention scores [b·a, l, l]; scale and bias are part of the product, which is cheaper than adding them."""
    if layout.bias is None:
        return torch.baddbmm(q.new_empty(1, 1, 1), q, k.transpose(1, 2), beta=0, alpha=_scaling(q))
    bias = layout.bias.repeat_interleave(heads, 0)
    return torch.baddbmm(bias, q, k.transpose(1, 2), alpha=_scaling(q))


def _softmax(scores: torch.Tensor) -> torch.Tensor:
    if _is_faster_in_float32(scores):
        return torch.softmax(scores.float(), -1).to(scores.dtype)
    return torch.softmax(scores, -1)


def _softmax_backward(dshares: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    if not _is_faster_in_float32(shares):
        found: torch.Tensor = need(SOFTMAX_BACKWARD)(dshares, shares, -1, shares.dtype)
        return found
    found = need(SOFTMAX_BACKWARD)(dshares.float(), shares.float(), -1, torch.float32)
    return found.to(shares.dtype)


def _is_faster_in_float32(shares: torch.Tensor) -> bool:
    """Whether rows are short: in bfloat16, torch computes the numbers beyond a multiple of 32 one by one."""
    length = shares.shape[-1]
    return shares.dtype == torch.bfloat16 and length < 64 and length % 32 != 0


def _scaling(q: torch.Tensor) -> float:
    return 1.0 / math.sqrt(q.shape[-1])


def _dropped(values: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    return values if mask is None else values.mul_(mask)


def _times(values: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    return values if mask is None else values * mask


def _undropped(gradient: torch.Tensor, dtype: torch.dtype, mask: torch.Tensor | None) -> torch.Tensor:
    """The gradient before dropout, in the type of the products."""
    return _times(gradient.to(dtype), mask)


def _norm(
    x: torch.Tensor, norm: tuple[torch.Tensor, torch.Tensor], eps: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """LayerNorm(x), and the mean and the reciprocal deviation of each row."""
    found: tuple[torch.Tensor, torch.Tensor, torch.Tensor] = need(NORM)(x, (x.shape[1],), *norm, eps)
    return found


def _norm_backward(
    dy: torch.Tensor,
    x: torch.Tensor,
    mean: torch.Tensor,
    rstd: torch.Tensor,
    norm: tuple[torch.Tensor, torch.Tensor],
    learns: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    found: tuple[torch.Tensor, torch.Tensor, torch.Tensor] = need(NORM_BACKWARD)(
        dy, x, (x.shape[1],), mean, rstd, *norm, [True, learns, learns]
    )
    return found


def _linear_backward(
    dy: torch.Tensor, x: torch.Tensor, learns: bool, dtype: torch.dtype
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Gradients of a linear layer's weight and bias, in the type in which they are trained."""
    if not learns:
        return None, None
    return (dy.t() @ x).to(dtype), torch.sum(dy, 0, dtype=dtype)


def _thirds(values: torch.Tensor | None) -> Sequence[torch.Tensor | None]:
    return (None,) * 3 if values is None else values.chunk(3)
