"""From texts to vectors: the sentence vector of a text-similarity model, or what the head of a classifier sees."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from tunesmith.encoded import Ragged
from tunesmith.errors import ModelError
from tunesmith.inference.forward import Outputs, forward
from tunesmith.inference.rows import CHUNK_ROWS
from tunesmith.models import heads
from tunesmith.tasks import Task
from tunesmith.tasks._sentences import SINGLE_TEXTS
from tunesmith.tasks._vectors import VECTORS_KEY, unit_vectors

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from tunesmith.encoded import Encoded
    from tunesmith.types import JsonObject, Model, Tokenizer


class Reader(Protocol):
    """What reads and encodes rows for a model: a `Predictor`."""

    task: Task
    model: Model
    tokenizer: Tokenizer
    bf16: bool
    notes: tuple[str, ...]
    columns: tuple[JsonObject, ...]
    needed: tuple[str, ...]

    def rows(self, data: Any) -> Iterator[JsonObject]:
        """Rows as the task reads them."""
        ...

    def is_one(self, data: Any) -> bool:
        """Whether the data are one text or row."""
        ...

    def reading(self, task: Task) -> Reader:
        """The same model with another task that reads the rows."""
        ...

    def encode_rows(self, rows: list[JsonObject]) -> tuple[Encoded, NDArray[np.bool_]]:
        """Sequences of rows, and [rows], whether a row was truncated."""
        ...


class Embedder:
    """Turns texts into vectors.

    Args:
        predictor: of a run, or from `open_embedder`.
        normalize: scale every vector to length 1, also where the model does not.

    Raises:
        ModelError: the model has no vector for a text.
    """

    def __init__(self, predictor: Reader, *, normalize: bool = False) -> None:
        _refuse_without_vectors(predictor)
        has_sentence_vectors = predictor.task.vectors is not None
        self.predictor = predictor.reading(SINGLE_TEXTS) if has_sentence_vectors else predictor
        spec = getattr(predictor.model.config, VECTORS_KEY, {}) if has_sentence_vectors else {}
        self.normalize = normalize or bool(spec.get("normalize"))
        self.truncated = 0

    def __call__(self, data: Any) -> NDArray[np.float32]:
        """The vector [d] of a text or a row, or vectors [n, d] of several; see `Predictor.__call__` for the data.

        Raises:
            RowError: a text or a row cannot be used.
        """
        rows, parts = self.predictor.rows(data), []
        while chunk := list(itertools.islice(rows, CHUNK_ROWS)):
            parts.append(self.rows(chunk))
        vectors = np.concatenate(parts) if parts else np.zeros((0, self._size()), dtype=np.float32)
        return np.asarray(vectors[0]) if self.predictor.is_one(data) else vectors

    def rows(self, rows: list[JsonObject]) -> NDArray[np.float32]:
        """Vectors [rows, d] of rows that the task has read; `truncated` counts the texts that were cut."""
        encoded, is_cut = self.predictor.encode_rows(rows)
        self.truncated += int(is_cut.sum())
        return self.vectors_of(encoded)

    def vectors_of(self, encoded: Encoded) -> NDArray[np.float32]:
        """Vectors [rows, d] of encoded rows."""
        vectors = self._compute(encoded)
        return np.asarray(unit_vectors(vectors) if self.normalize else vectors, dtype=np.float32)

    def _compute(self, encoded: Encoded) -> NDArray[np.float32]:
        task, model = self.predictor.task, self.predictor.model
        how: dict[str, Any] = {
            "pad_token_id": self.predictor.tokenizer.pad_token_id,
            "bf16": self.predictor.bf16,
        }
        if task.vectors is not None:
            return np.asarray(forward(task, model, encoded, **how))[:, 0]
        with passing_features_through(heads.find_head(model, model.config.num_labels)):
            return np.asarray(forward(task, model, encoded, **how))

    def _size(self) -> int:
        return int(self.predictor.model.config.hidden_size)


def _refuse_without_vectors(predictor: Reader) -> None:
    task, model = predictor.task, predictor.model
    if task.vectors is not None:
        return
    if task.probe is None or task.outputs_per_token:
        raise ModelError(
            f"a run for {task.name} has no vector for a text.",
            remedy="Give the folder `model` of the run instead: the mean over the tokens of its body is taken.",
        )
    if not hasattr(model, "modules"):
        raise ModelError(
            "this export gives answers alone, and no features.",
            remedy="Give the run itself, or `--to merged`.",
        )


def head_outputs(head: nn.Linear, features: Outputs) -> Outputs:
    """The outputs of the head for features, in full precision."""
    import torch

    flat = features.values if isinstance(features, Ragged) else features
    with torch.inference_mode():
        given = torch.from_numpy(np.asarray(flat)).to(head.weight.device)
        outputs = torch.nn.functional.linear(given, head.weight, head.bias).float().cpu().numpy()
    return Ragged(outputs, features.offsets) if isinstance(features, Ragged) else outputs


class passing_features_through:  # noqa: N801 (reads as a verb in `with`)
    """A context in which the head returns its input, so the model's logits are its features."""

    def __init__(self, head: Any) -> None:
        self.head = head

    def __enter__(self) -> None:
        self.before = self.head.__dict__.get("forward")
        self.head.forward = lambda features: features

    def __exit__(self, *_: object) -> None:
        del self.head.forward
        if self.before is not None:
            self.head.forward = self.before
