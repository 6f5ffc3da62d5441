"""Vectors of texts: the sentence vector of a text-similarity model, or what the head of a classifier sees.

A model that is no run of ours is read as sentence-transformers would read it: its own pooling, else the mean over
the tokens.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tunesmith.acceleration import accelerated
from tunesmith.data.columns import View, choose_view
from tunesmith.data.read_options import ReadOptions
from tunesmith.data.reading import Row, read_rows, read_sample
from tunesmith.data.vector_files import refuse_output, write_vectors
from tunesmith.errors import DataError, ModelError
from tunesmith.inference.exported import is_export
from tunesmith.inference.forward import forward
from tunesmith.inference.predictor import CHUNK_ROWS, Predictor
from tunesmith.models import heads
from tunesmith.models.loading import load_trained, refuse_other_kinds
from tunesmith.models.positions import position_limit
from tunesmith.models.resolve import resolve_model
from tunesmith.models.sentence_folder import longest_text
from tunesmith.tasks import RowError, Values
from tunesmith.tasks._sentences import SINGLE_TEXTS
from tunesmith.tasks._vectors import VECTORS_KEY, unit_vectors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tunesmith.encoded import Encoded
    from tunesmith.types import JsonObject

_SAMPLE_ROWS = 500
_NO_VIEW = View({}, dict)


class Embedder:
    """Turns texts into vectors.

    Args:
        predictor: of a run, or from `open_embedder`.
        normalize: scale every vector to length 1, also where the model does not.

    Raises:
        ModelError: the model has no vector for a text.
    """

    def __init__(self, predictor: Predictor, *, normalize: bool = False) -> None:
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


def open_embedder(name: str | os.PathLike[str], *, normalize: bool = False) -> Embedder:
    """What turns texts into vectors with a run, an export, or any encoder by its name or folder.

    Raises:
        ModelError: the model cannot be loaded, or has no vector for a text.
    """
    if is_export(name) or (Path(name) / "manifest.json").is_file():
        return Embedder(Predictor.from_run(name), normalize=normalize)
    files = resolve_model(os.fspath(name))
    refuse_other_kinds(files, SINGLE_TEXTS)
    loaded = accelerated(load_trained(files, SINGLE_TEXTS))
    limits = (longest_text(files.path), position_limit(loaded.model, loaded.tokenizer))
    loaded.tokenizer.model_max_length = min(limit for limit in limits if limit)
    return Embedder(Predictor(SINGLE_TEXTS, loaded), normalize=normalize)


def embed_files(
    embedder: Embedder,
    sources: Sequence[str],
    columns: Mapping[str, str | list[str]],
    output: Path,
    *,
    force: bool = False,
) -> JsonObject:
    """Writes the vectors of every row of some files; see `tunesmith.data.vector_files`.

    Args:
        embedder: from `open_embedder`.
        sources: files, folders or Hub names.
        columns: the file's column for each of the task's, where they are named.
        output: file to write.
        force: replace an earlier file.

    Returns:
        `output`, `rows`, `dimensions`, `normalized`, `truncated` (number of texts), `columns` (that were read).

    Raises:
        DataError: there are no rows, or a row cannot be used.
        RecipeError: the ending of the file is unknown, or it exists.
    """
    refuse_output(output, force=force)
    source, view = _opened(embedder.predictor, sources, columns)
    facts: JsonObject = {"rows": 0, "dimensions": 0}

    def chunks() -> Iterator[tuple[list[Values], NDArray[np.float32]]]:
        while chunk := list(itertools.islice(source, CHUNK_ROWS)):
            vectors = embedder.rows([_read(embedder.predictor, view, file, row) for file, row in chunk])
            facts["rows"] += len(chunk)
            facts["dimensions"] = vectors.shape[1]
            yield [row.values for _, row in chunk], vectors

    write_vectors(output, chunks(), lambda: _again(sources))
    return {
        "output": str(output),
        **facts,
        "normalized": embedder.normalize,
        "truncated": embedder.truncated,
        "columns": view.chosen,
    }


def _opened(
    predictor: Predictor, sources: Sequence[str], columns: Mapping[str, str | list[str]]
) -> tuple[Iterator[tuple[str, Row]], View]:
    """Every row, and how a row is read."""
    source = itertools.chain.from_iterable(read_rows(name) for name in sources)
    head, sample = read_sample(source, _SAMPLE_ROWS)
    if not head:
        raise DataError("there is no text to embed.", remedy="Give a file with rows.")
    if not sample:
        file, row = head[0]
        _read(predictor, _NO_VIEW, file, row)
    options = ReadOptions(columns, remembered=predictor.columns)
    view = choose_view(predictor.task, sample, options, location=head[0][0], need_targets=False)
    return itertools.chain(head, source), view


def _read(predictor: Predictor, view: View, file: str, row: Row) -> JsonObject:
    try:
        if row.problem:
            raise RowError(row.problem)
        return predictor.task.read(
            {k: v for k, v in view.values(row.values).items() if k in predictor.needed}
        )
    except RowError as error:
        raise DataError(
            f"the row cannot be used: {error}", location=f"{file}, {row.unit} {row.line}", remedy="Fix it."
        ) from None


def _again(sources: Sequence[str]) -> Iterator[list[Values]]:
    rows = itertools.chain.from_iterable(read_rows(name) for name in sources)
    while chunk := list(itertools.islice(rows, CHUNK_ROWS)):
        yield [row.values for _, row in chunk]


def _refuse_without_vectors(predictor: Predictor) -> None:
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
