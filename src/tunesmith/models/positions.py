"""The number of tokens that a model can read at once.

A config states the size of a table, or the length in pretraining. Some families leave the first rows of their
position table unused (RoBERTa, MPNet, OPT and BART two rows), so the rows that a text reads are measured.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tunesmith.models.trial import LONGER, trying, two_texts

if TYPE_CHECKING:
    import torch

    from tunesmith.types import Model, Tokenizer

UNLIMITED = 1_000_000
"""The number that means no limit."""

_MEASURED: weakref.WeakKeyDictionary[Model, int | None] = weakref.WeakKeyDictionary()


def position_limit(model: Model, tokenizer: Tokenizer) -> int:
    """The most tokens that the model can read at once, by its tables and its config, or else by its tokenizer."""
    names = ("max_position_embeddings", "n_positions", "max_seq_len")
    limits = [getattr(model.config, name, None) for name in names]
    known = [int(limit) for limit in (*limits, usable_positions(model)) if limit and int(limit) > 0]
    stated = getattr(tokenizer, "model_max_length", None)
    if stated and stated < UNLIMITED and not known:
        known.append(int(stated))
    return min(known) if known else UNLIMITED


def usable_positions(model: Model) -> int | None:
    """Number of rows of the smallest position table that a text can use; None without such a table."""
    if model not in _MEASURED:
        _MEASURED[model] = _measured_positions(model)
    return _MEASURED[model]


def _measured_positions(model: Model) -> int | None:
    from torch.nn import functional as F
    from torch.overrides import TorchFunctionMode

    tables: list[int] = []

    class Watch(TorchFunctionMode):
        """Records the tables that are read at consecutive rows, one row for each token."""

        def __torch_function__(
            self,
            func: Callable[..., object],
            types: object,
            args: tuple[Any, ...] = (),
            kwargs: dict[str, Any] | None = None,
        ) -> object:
            given = {**dict(zip(("input", "weight"), args, strict=False)), **(kwargs or {})}
            if func is F.embedding and _is_consecutive(given["input"]):
                tables.append(int(given["weight"].shape[0] - given["input"].reshape(-1)[0]))
            return func(*args, **(kwargs or {}))

    # A model that needs other inputs fails here; the tables that it has read until then count.
    with contextlib.suppress(Exception), Watch():
        _one_text(model)
    return min(tables, default=None)


def _one_text(model: Model) -> None:
    """Runs the model on the first of the two texts alone."""
    batch = {name: tensor[:1] for name, tensor in two_texts(model).items()}
    if getattr(model.config, "is_encoder_decoder", False):
        batch["decoder_input_ids"] = batch["input_ids"]
    with trying(model):
        model.base_model(**batch)


def _is_consecutive(ids: torch.Tensor) -> bool:
    """Whether ids [s] or [1, s] are consecutive positions; a model may add padding after the text."""
    if ids.dim() > 1 and ids.shape[:-1].numel() != 1:
        return False
    row = ids.reshape(-1)[:LONGER]
    return len(row) == LONGER and bool((row.diff() == 1).all())
