"""Vectors of texts: the sentence vector of a text-similarity model, or what the head of a classifier sees.

A model that is no run of ours is read as sentence-transformers would read it: its own pooling, else the mean over
the tokens.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.acceleration import accelerated
from tunesmith.data.columns import View
from tunesmith.data.read_options import ReadOptions
from tunesmith.data.reading import Row, read_rows, read_sample
from tunesmith.data.vector_files import refuse_output, write_vectors
from tunesmith.errors import DataError
from tunesmith.inference.embedder import Embedder, Reader
from tunesmith.inference.exported import is_export
from tunesmith.inference.predictor import Predictor
from tunesmith.inference.rows import CHUNK_ROWS, read_inputs, view_of
from tunesmith.models.loading import load_trained, refuse_other_kinds
from tunesmith.models.positions import position_limit
from tunesmith.models.resolve import resolve_model
from tunesmith.models.sentence_folder import longest_text
from tunesmith.tasks import RowError, Values
from tunesmith.tasks._sentences import SINGLE_TEXTS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tunesmith.types import JsonObject

_SAMPLE_ROWS = 500


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
    predictor: Reader, sources: Sequence[str], columns: Mapping[str, str | list[str]]
) -> tuple[Iterator[tuple[str, Row]], View]:
    """Every row, and how a row is read."""
    source = itertools.chain.from_iterable(read_rows(name) for name in sources)
    head, sample = read_sample(source, _SAMPLE_ROWS)
    if not head:
        raise DataError("there is no text to embed.", remedy="Give a file with rows.")
    options = ReadOptions(columns, remembered=predictor.columns)
    view = view_of(predictor.task, sample, options, location=head[0][0])
    return itertools.chain(head, source), view


def _read(predictor: Reader, view: View, file: str, row: Row) -> JsonObject:
    try:
        return read_inputs(predictor.task, predictor.needed, row, view)
    except RowError as error:
        raise DataError(
            f"the row cannot be used: {error}", location=row.location(file), remedy="Fix it."
        ) from None


def _again(sources: Sequence[str]) -> Iterator[list[Values]]:
    rows = itertools.chain.from_iterable(read_rows(name) for name in sources)
    while chunk := list(itertools.islice(rows, CHUNK_ROWS)):
        yield [row.values for _, row in chunk]
