"""Estimates the memory of a training before it begins.

Weights, gradients and the optimizer's two moments are counted. Activations are measured: a forward and a backward
pass run on three small batches, and every tensor is followed from the operation that makes it until it is freed.
The three passes are the same sequence of events with different sizes. So each event has a part that does not
depend on the batch, a part that grows with the tokens, and a part that grows with their square (attention). From
these follow the events of a batch of any size, and the largest number of bytes at one time. The figure covers
every architecture, frozen layers, adapters, gradient checkpointing and the code in use, without a formula for
each. On a CPU, oneDNN's kernels and the gaps that they leave between tensors cannot be followed; they are added as
measured.

Gradient checkpointing (Chen et al. 2016, arXiv 1604.06174) stores only the input of each layer and computes the
layer again in the backward pass, with the same dropout masks. The gradient is the same, for one more forward pass.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

    from tunesmith.models.tensor_tracker import TensorTracker
    from tunesmith.types import Config, Model

_SHARE_OF_FREE_MEMORY = 0.5
_SHARE_FOR_TRAINING = 0.85
"""Share of the free memory for training; the allocator's gaps, evaluations and other programs need the rest."""

_ROUNDED, _EVERY_SHAPE = 80_000_000, 340_000_000
"""Bytes that the libraries of a CPU use besides tensors: kernels for the shapes of products, about 0.6 MB each,
and gaps around them in the heap, which larger tensors do not fit in. Our blocks round shapes up and need fewer."""
_GAPS = 0.3
"""Gaps between tensors of varied sizes, as a share of the tensors' bytes. Measurements: docs/performance.md."""

_USUAL_BF16, _USUAL_EVERY_SHAPE, _USUAL_ROUNDED = 0.5, 0.25, 0.05
"""The parts of this overhead that trainings took (docs/performance.md, benchmarks/model-costs.md): products in
bfloat16 leave a block in the heap for every shape; those in float32 hardly do, least with rounded shapes."""

_MOMENTS = 2
_CGROUP = Path("/sys/fs/cgroup")

Forward = Callable[[int, int], tuple["torch.Tensor", int, int]]
"""Function from numbers of sequences and of tokens in each to the output, the padded tokens, the longest one."""


@dataclass(frozen=True)
class Activations:
    """Bytes in use during a pass besides weights, gradients and moments, after each event.

    Args:
        once: [events], bytes that do not depend on the batch.
        token: [events], bytes for each token, including padding.
        pair: [events], bytes for each pair of tokens of one sequence.
    """

    once: NDArray[np.float64]
    token: NDArray[np.float64]
    pair: NDArray[np.float64]

    def of(self, tokens: int, longest: int) -> int:
        """The most bytes for a batch of `tokens` padded tokens whose longest sequence has `longest`."""
        return max(
            0, round(float((self.once + tokens * (self.token + self.pair * longest)).max(initial=0.0)))
        )

    def tokens_within(self, n_bytes: float, longest: int) -> int:
        """Number of padded tokens of the largest batch that needs at most these bytes."""
        slope = self.token + self.pair * longest
        grows = slope > 0
        return int(((n_bytes - self.once[grows]) / slope[grows]).min(initial=2**40).clip(min=0))


@dataclass(frozen=True)
class Memory:
    """The memory of a training, in bytes.

    Args:
        weights: bytes of the model's weights, which are already in memory.
        gradients: bytes of the gradients of trainable parameters.
        optimizer: bytes of AdamW's moments of the same parameters.
        activations: bytes of a forward and backward pass.
        free: free bytes, with the weights loaded.
        libraries: bytes that libraries use besides tensors.
        gaps: bytes that the allocator leaves unused, as a share of the tensors' bytes.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: Activations
    free: int
    libraries: int = 0
    gaps: float = 0.0

    def total(self, tokens: int, longest: int) -> int:
        """Bytes that training needs with batches of `tokens` padded tokens."""
        return self.weights + self.to_come(tokens, longest)

    def to_come(self, tokens: int, longest: int) -> int:
        """Bytes that training needs in addition to the weights, which are already in memory."""
        return self._of_tensors(tokens, longest) + self.overhead(tokens, longest)

    def overhead(self, tokens: int, longest: int) -> int:
        """Bytes that are not tensors: kernels, and gaps between tensors."""
        return self.libraries + round(self.gaps * self._of_tensors(tokens, longest))

    def usual(self, tokens: int, longest: int, *, bf16: bool) -> int:
        """Bytes that training usually takes; `total` is what it takes at most."""
        share = _USUAL_BF16 if bf16 else _USUAL_ROUNDED if self.libraries <= _ROUNDED else _USUAL_EVERY_SHAPE
        return self.total(tokens, longest) - round((1 - share) * self.overhead(tokens, longest))

    def tokens_that_fit(self, longest: int) -> int:
        """Number of padded tokens of the largest pass that fits, if sequences have up to `longest` tokens."""
        of_tensors = (self.free * _SHARE_FOR_TRAINING - self.libraries) / (1 + self.gaps)
        return self.activations.tokens_within(of_tensors - self.gradients - self.optimizer, longest)

    def to_json(self, tokens: int, longest: int) -> dict[str, int]:
        """The entry of `manifest.json`, for batches of `tokens` padded tokens."""
        return {
            "weights": self.weights,
            "gradients": self.gradients,
            "optimizer": self.optimizer,
            "activations": self.activations.of(tokens, longest),
            "overhead": self.overhead(tokens, longest),
            "free": self.free,
            "tokens": tokens,
            "longest": longest,
        }

    def describe(self, tokens: int, longest: int) -> str:
        """One line with the bytes of each part."""
        activations = self.activations.of(tokens, longest)
        return (
            f"about {in_gb(self.total(tokens, longest))}: weights {in_gb(self.weights)}, "
            f"gradients {in_gb(self.gradients)}, optimizer {in_gb(self.optimizer)}, activations "
            f"{in_gb(activations)} (up to {tokens:,} tokens at {activations / tokens / 1e3:,.0f} kB), "
            f"libraries and gaps {in_gb(self.overhead(tokens, longest))}; {in_gb(self.free)} free"
        )

    def _of_tensors(self, tokens: int, longest: int) -> int:
        return self.gradients + self.optimizer + self.activations.of(tokens, longest)


def in_gb(n_bytes: float) -> str:
    """Bytes in words: `1.2 GB`, `45 MB`."""
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.0f} MB"


def measure_memory(
    model: Model,
    forward: Forward,
    *,
    longest: int,
    passes: int = 1,
    as_trained: contextlib.AbstractContextManager[object] | None = None,
) -> Memory:
    """The memory that training this model needs.

    Args:
        model: model of transformers, already frozen as in training.
        forward: function that runs the model on a batch of a given size.
        longest: number of tokens of the longest training sequence.
        passes: number of forward passes for one backward pass.
        as_trained: context in which the same parameters are trainable as in training, such as some rows of the
            token table (`acceleration/embedding_rows.py`); None if the model already is in this state.
    """
    device = next(model.parameters()).device
    weights = sum(map(_bytes, [*model.parameters(), *model.buffers()]))
    there = {id(p) for p in model.parameters()}
    with as_trained or contextlib.nullcontext():
        trainable = sum(_bytes(p) for p in model.parameters() if p.requires_grad)
        rows = sum(_bytes(p) for p in model.parameters() if id(p) not in there)
        activations, rounds = _activations(model, forward, longest, passes)
    on_cpu = device.type == "cpu"  # an accelerator's allocator has not been measured
    return Memory(
        weights=weights,
        gradients=trainable,
        optimizer=_MOMENTS * trainable,
        activations=replace(activations, once=activations.once + rows),
        free=free_memory(device),
        libraries=(_ROUNDED if rounds else _EVERY_SHAPE) if on_cpu else 0,
        gaps=_GAPS if on_cpu else 0.0,
    )


@dataclass(frozen=True)
class _Passed:
    """One pass: its tensors, padded tokens and longest sequence, and whether training rounds its shapes up."""

    tracker: TensorTracker
    tokens: int
    longest: int
    rounds: bool


def _activations(model: Model, forward: Forward, longest: int, passes: int) -> tuple[Activations, bool]:
    """The activations, and whether shapes are rounded up in training."""
    n = max(1, min(32, longest // 2))
    with _in_training(model):
        first = _pass(model, forward, 1, n).tracker
        copies, there = first.remaining(), first.alive()  # the first pass makes these for all passes
        passed = [_pass(model, forward, *size, there) for size in ((1, n), (2, n), (1, 2 * n))]
    changes = [one.tracker.changes() for one in passed]
    if len({len(change) for change in changes}) > 1:  # the operations differ, so only the peaks are compared
        changes = [np.array([one.tracker.peak()]) for one in passed]
    known = np.array([(1, one.tokens, one.tokens * one.longest) for one in passed], dtype=np.float64)
    parts = np.linalg.lstsq(known, np.stack(changes), rcond=None)[0]  # [3, events]
    once, token, pair = passes * parts.cumsum(1)
    return Activations(once + copies, token, pair), passed[0].rounds


def _pass(
    model: Model, forward: Forward, sequences: int, tokens: int, before: frozenset[int] = frozenset()
) -> _Passed:
    """Runs a forward and a backward pass, and follows the tensors that did not exist before."""
    from torch.nn import functional as F

    from tunesmith.models.tensor_tracker import TensorTracker

    tracker = TensorTracker(before)
    parameters = [p for p in model.parameters() if p.requires_grad]
    hooks = [p.register_post_accumulate_grad_hook(tracker.drop_gradient) for p in parameters]
    try:
        with tracker:
            output, padded, longest = forward(sequences, tokens)
            rounds = _has_our_blocks(output)
            # The loss of tasks with large outputs reads a part of each text's logits, which is a copy.
            scores = output.float().reshape(-1, output.shape[-1])
            scores = scores.clone() if output.ndim > 2 else scores
            loss = F.cross_entropy(scores, scores.new_zeros(len(scores)).long(), reduction="sum")
            del output, scores
            loss.backward()  # type: ignore[no-untyped-call]
            del loss
    finally:
        for hook in hooks:
            hook.remove()
    return _Passed(tracker, padded, longest, rounds)


def _has_our_blocks(output: torch.Tensor) -> bool:
    """Whether our own blocks, which round shapes up, have computed a part of this output."""
    seen, left = set(), [output.grad_fn]
    while left:
        node = left.pop()
        if node is None or node in seen:
            continue
        if type(node).__name__ == "AttentionBlockBackward":
            return True
        seen.add(node)
        left += [following for following, _ in node.next_functions]
    return False


@contextlib.contextmanager
def _in_training(model: Model) -> Iterator[None]:
    """A context in training mode, without dropout in frozen parts; at its end, the random generators are reset."""
    import torch

    from tunesmith.models.freezing import keep_frozen_parts_still
    from tunesmith.models.quiet import quiet

    was_training = model.training
    # Quiet: transformers would warn here that checkpointing switches its cache off.
    with torch.random.fork_rng(), torch.enable_grad(), quiet():
        model.train()
        keep_frozen_parts_still(model)
        try:
            yield
        finally:
            model.train(was_training)


def use_checkpointing(model: Model) -> None:
    """Stores only the inputs of layers for the backward pass, which computes the rest again.

    The inputs of layers need no gradient for this, so adapters and frozen embeddings work unchanged.

    Raises:
        RecipeError: the model does not support it.
    """
    from tunesmith.errors import RecipeError

    if not getattr(model, "supports_gradient_checkpointing", False):
        raise RecipeError(
            f"models of the type `{model.config.model_type}` do not support train.gradient_checkpointing.",
            remedy="Leave it out; `train.tokens_per_micro_batch` also limits the memory.",
        )
    ours = {"use_reentrant": False}
    if hasattr(model, "activation_checkpointing_enable"):  # its name in later versions
        model.activation_checkpointing_enable(ours)
    else:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=ours)
    if getattr(model, "_require_grads_hooks", None):  # with them, the backward pass would reach frozen parts
        model.disable_input_require_grads()


def free_memory(device: torch.device | None = None) -> int:
    """Free bytes of a device; without one, of the machine or of the container of this process."""
    import psutil

    if device is not None and device.type == "cuda":
        import torch

        # What torch has freed it keeps for the next tensors, and the driver counts it as taken.
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + kept
    return min(int(psutil.virtual_memory().available), _left_in_group(_CGROUP))


def _left_in_group(folder: Path) -> int:
    """Bytes that a container may still use; cached files count as free."""
    try:
        limit, used = ((folder / f"memory.{name}").read_text().strip() for name in ("max", "current"))
        facts = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return max(0, int(limit) - int(used) + int(facts["inactive_file"]))
    except (OSError, ValueError, KeyError):  # no group, or no limit
        return 2**63 - 1


def _bytes(tensor: torch.Tensor) -> int:
    return int(tensor.numel() * tensor.element_size())


def longest_that_fits(config: Config, free_bytes: int | None = None) -> int:
    """The number of tokens of a single text whose activations fit into half of the free memory.

    A layer stores about n·(34·d + 5·a·n) values of two bytes for n tokens, d features and a heads (Korthikanti et
    al. 2022, arXiv 2205.05198, equation 2), and twice as many bytes in float32.

    Args:
        config: config of the model.
        free_bytes: bytes of memory; None for the bytes that are free now.
    """
    if free_bytes is None:
        free_bytes = free_memory()
    layers = int(getattr(config, "num_hidden_layers", 12))
    width = int(getattr(config, "hidden_size", 768))
    attention_heads = int(getattr(config, "num_attention_heads", 12))
    budget = free_bytes * _SHARE_OF_FREE_MEMORY / (2 * layers)
    linear, square = 34 * width, 5 * attention_heads
    return int(((linear**2 + 4 * square * budget) ** 0.5 - linear) / (2 * square))
