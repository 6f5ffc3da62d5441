"""The two blocks of BERT's encoder layer, forward and backward written out.

    h = LayerNorm(x + dropout(attention(x)))        y = LayerNorm(h + dropout(W₂ gelu(W₁ h)))

Vaswani et al. 2017 (arXiv 1706.03762), Devlin et al. 2019 (arXiv 1810.04805); the gradients are those of
autograd, equal in float64 to 1e-12. Written out, they cost less on a CPU: query, key and value are one product,
padding is computed in attention alone, dropout's masks are drawn as bytes, weights are cast once a step, and
nothing is kept that backward does not read. Under autocast, what passes from block to block stays in float32, as
in the stock layers; the products alone are in bfloat16. Measurements: docs/performance.md.

Letters: t rows of tokens, b sequences, s longest, l the same rounded up, d features, a heads, e = d / a, f inner
features.
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

# Numbers of tokens, and lengths in attention, are rounded up to these: for every shape of a product that it has
# not seen, oneDNN first makes a kernel and keeps it, which takes as long as a small product. So few tokens are
# rounded less: a single text.
_FEW, _FEW_TOKENS, _TOKENS, _LONGEST = 64, 8, 32, 8

NORM, NORM_BACKWARD = "native_layer_norm", "ops.aten.native_layer_norm_backward"
GELU_BACKWARD, SOFTMAX_BACKWARD = "ops.aten.gelu_backward", "_softmax_backward_data"
OPERATORS = (NORM, NORM_BACKWARD, GELU_BACKWARD, SOFTMAX_BACKWARD)
"""What the blocks need of torch beside its public interface."""


@dataclass(frozen=True)
class Layout:
    """Where the real tokens of a padded batch are: in the batch [b, s], in attention [b, l], and in a row [t].

    Args:
        sequences: b.
        longest: l, s rounded up.
        rows: t, the number of real tokens rounded up; the last rows are zeros and nobody reads them.
        batch: [n] places of the real tokens among b·s.
        attention: [n] places of the same among b·l.
        bias: [b, 1, l], 0 for real tokens and a number beyond all scores for others; None if there are no others.
    """

    sequences: int
    longest: int
    rows: int
    batch: torch.Tensor
    attention: torch.Tensor
    bias: torch.Tensor | None

    @classmethod
    def of(cls, real: torch.Tensor | None, sequences: int, longest: int, dtype: torch.dtype) -> Layout:
        """The layout of a mask [b, s] that is true for real tokens; of no mask if all are."""
        rounded = _rounded(longest, _LONGEST)
        if real is None:
            real = torch.ones(sequences, longest, dtype=torch.bool)
        wider = F.pad(real, (0, rounded - longest))
        bias = None
        if not bool(wider.all()):
            bias = torch.zeros(sequences, 1, rounded, dtype=dtype)
            bias.masked_fill_(~wider[:, None, :], torch.finfo(dtype).min / 2)  # a score more is no infinity
        places = [mask.reshape(-1).nonzero().squeeze(1) for mask in (real, wider)]
        n = len(places[0])
        rows = _rounded(n, _FEW_TOKENS if n <= _FEW else _TOKENS)
        return cls(sequences, rounded, rows, places[0], places[1], bias)

    def enter(self, padded: torch.Tensor) -> torch.Tensor:
        """[t, n] of [b·s, n]."""
        return self._take(padded, self.batch)

    def leave(self, tokens: torch.Tensor, longest: int) -> torch.Tensor:
        """[b·s, n] of [t, n]; zeros where there is no token."""
        return self._put(tokens, self.batch, self.sequences * longest)

    def split(self, tokens: torch.Tensor, parts: int, heads: int) -> torch.Tensor:
        """[parts, b·a, l, e] of [t, parts·d]."""
        width = tokens.shape[1] // (parts * heads)
        padded = self._put(tokens, self.attention, self.sequences * self.longest)
        apart = padded.view(self.sequences, self.longest, parts, heads, width)
        return apart.permute(2, 0, 3, 1, 4).reshape(parts, self.sequences * heads, self.longest, width)

    def join(self, apart: torch.Tensor, heads: int) -> torch.Tensor:
        """[t, parts·d] of [parts, b·a, l, e]."""
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
    """While this lasts, nothing is rounded up: for measuring what a token takes."""
    token = _rounds.set(False)
    try:
        yield
    finally:
        _rounds.reset(token)


def _rounded(number: int, step: int) -> int:
    return -(-number // step) * step if _rounds.get() else number


@dataclass(frozen=True)
class AttentionWeights:
    """Of one attention block, in the arithmetic of its products; `norm` as it is trained.

    Args:
        qkv: weight [3·d, d] and bias [3·d].
        out: [d, d] and [d].
        norm: [d] and [d].
        eps: of the normalisation.
        heads: a.
    """

    qkv: Affine
    out: Affine
    norm: tuple[torch.Tensor, torch.Tensor]
    eps: float
    heads: int


@dataclass(frozen=True)
class FeedForwardWeights:
    """Of one feed-forward block: `up` [f, d] and [f], `down` [d, f] and [d], `norm` [d] and [d]."""

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
        """The masks are of the attention [b·a, l, l] and of its output [t, d].

        The parameters that learn: query, key, value, out, norm, each with weight and bias.
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
        """Of x, and of the parameters that learn."""
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
        """The mask is of the output [t, d]; the parameters that learn: up, down, norm."""
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
        """Of x, and of the parameters that learn."""
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
    """[b·a, l, l]: scale and bias come with the product, since adding to rows this short costs more than it."""
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
    """In bfloat16, torch takes what exceeds a multiple of 32 one by one."""
    length = shares.shape[-1]
    return shares.dtype == torch.bfloat16 and length < 64 and length % 32 != 0


def _scaling(q: torch.Tensor) -> float:
    return 1.0 / math.sqrt(q.shape[-1])


def _dropped(values: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    return values if mask is None else values.mul_(mask)


def _times(values: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    return values if mask is None else values * mask


def _undropped(gradient: torch.Tensor, dtype: torch.dtype, mask: torch.Tensor | None) -> torch.Tensor:
    """The gradient before dropout, in the arithmetic of the products."""
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
    """Gradients of a linear layer's weight and bias, in the precision that they are trained in."""
    if not learns:
        return None, None
    return (dy.t() @ x).to(dtype), torch.sum(dy, 0, dtype=dtype)


def _thirds(values: torch.Tensor | None) -> Sequence[torch.Tensor | None]:
    return (None,) * 3 if values is None else values.chunk(3)
