"""Measurements for the steps of the family contract: differences, gradients, stored bytes."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.tasks import IGNORED

if TYPE_CHECKING:
    from collections.abc import Iterable

    import torch

    from tunesmith.tasks import Batch
    from tunesmith.types import JsonObject, Model

FAST_TOLERANCE, PACKED_TOLERANCE, SAVED_TOLERANCE, ALONE_TOLERANCE = 1e-5, 1e-5, 1e-6, 1e-4
MASKED = 1e3
"""Scores that a task masks are larger than this."""


class WrongError(AssertionError):
    """The result of a step is wrong."""


def must(holds: bool, message: str) -> None:
    """Raises WrongError with the message if a condition is false."""
    if not holds:
        raise WrongError(message)


def difference_of(one: object, other: object) -> float:
    """The largest difference, as a share of the largest value."""
    one, other = (np.asarray(getattr(x, "detach", lambda x=x: x)(), dtype=np.float64) for x in (one, other))
    if one.shape != other.shape:
        return float("inf")
    if not (np.isfinite(one).all() and np.isfinite(other).all()):
        return float("nan")
    return float(np.abs(one - other).max() / max(np.abs(other).max(), 1e-30))


def real_part(outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
    """The outputs, with zeros at padding."""
    mask = batch.get("attention_mask")
    if "decoder_labels" in batch:
        mask = batch["decoder_labels"] != IGNORED
    if mask is None or outputs.dim() < 2 or outputs.shape[:2] != mask.shape:
        return outputs
    return outputs * mask.to(outputs.dtype).reshape(*mask.shape, *[1] * (outputs.dim() - 2))


def gradient_of(model: Model) -> torch.Tensor:
    """The gradients of all trainable parameters, as one vector."""
    import torch

    learning = [p for p in model.parameters() if p.requires_grad]
    return torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in learning])


def is_fast(model: Model) -> bool:
    """Whether our own code computes the layers."""
    return any(
        "forward" in m.__dict__ and type(m).__name__.endswith(("Encoder", "Transformer"))
        for m in model.modules()
    )


def use_attention_for(model: Model, batch: Batch) -> None:
    """Sets the implementation of attention that tunesmith chooses for texts of this length."""
    from tunesmith.models.attention import SHORT_TEXT_TOKENS, choose_attention

    choose_attention(model, "eager" if batch["input_ids"].shape[1] <= SHORT_TEXT_TOKENS else "sdpa")


def without_dropout(model: Model) -> None:
    """Turns dropout off in a model that is in training mode."""
    for module in model.modules():
        if type(module).__name__.endswith("Dropout") or hasattr(module, "drop_prob"):
            module.eval()
        if isinstance(getattr(module, "p", None), float):
            module.p = 0.0
        for name in ("dropout", "attention_dropout", "activation_dropout", "hidden_dropout", "dropout_prob",
                     "dropout_rate", "attn_dropout", "layerdrop", "attention_probs_dropout_prob"):  # fmt: skip
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)


class stored:  # noqa: N801
    """A context that records the bytes that are stored for a backward pass."""

    def __enter__(self) -> list[int]:
        import torch

        sizes: list[int] = []
        pointers: set[int] = set()

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            if tensor.data_ptr() not in pointers:
                pointers.add(tensor.data_ptr())
                sizes.append(tensor.numel() * tensor.element_size())
            return tensor

        self.hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
        self.hooks.__enter__()
        return sizes

    def __exit__(self, *error: object) -> None:
        self.hooks.__exit__(*error)


def stretched(name: str, tensor: torch.Tensor, ids: list[int]) -> torch.Tensor:
    """A tensor of a batch, changed to fit a text with these ids."""
    import torch

    if name == "input_ids":
        return torch.tensor([ids])
    if name == "attention_mask":
        return torch.ones(1, len(ids), dtype=torch.int64)
    if tensor.dim() == 2 and not name.startswith("decoder") and tensor.shape[1] > 1:
        filled = (
            torch.zeros(1, len(ids), dtype=tensor.dtype)
            if name != "labels"
            else torch.full((1, len(ids)), -100)
        )
        filled[:, : min(tensor.shape[1], len(ids))] = tensor[:1, : len(ids)]
        return filled
    return tensor[:1]


def longer(row: JsonObject) -> JsonObject:
    """A copy of a row whose text has about 140 more words at its end."""
    more = " ".join(["the old cat is near a small dog and"] * 16)
    changed = copy.deepcopy(row)
    for name in ("text", "context", "source"):
        if name in changed:
            changed[name] = f"{changed[name]} {more}"
    if "tokens" in changed:
        words = more.split()
        changed["tokens"] += words
        changed["tags"] += ["O"] * len(words)
    return changed


def answers_differ(together: Iterable[object], apart: Iterable[object]) -> str:
    """The difference between the first two answers that differ; empty if none do."""
    for one, other in zip(together, apart, strict=True):
        difference = _value_differs(one, other)
        if difference:
            return f"alone: {difference}"
    return ""


def _value_differs(one: object, other: object) -> str:
    one, other = (x.tolist() if isinstance(x, (np.ndarray, np.generic)) else x for x in (one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        if one.keys() != other.keys():
            return f"{sorted(one)} and {sorted(other)}"
        return next((f"{k}: {d}" for k in one if (d := _value_differs(one[k], other[k]))), "")
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        if len(one) != len(other):
            return f"{len(one)} and {len(other)} answers"
        return next((d for a, b in zip(one, other, strict=True) if (d := _value_differs(a, b))), "")
    if isinstance(one, float) and isinstance(other, float):
        return "" if abs(one - other) <= ALONE_TOLERANCE * max(1.0, abs(one)) else f"{one} and {other}"
    return (
        ""
        if one == other
        else f"{json.dumps(one, default=str)[:60]} and {json.dumps(other, default=str)[:60]}"
    )
