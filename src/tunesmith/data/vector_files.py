"""Files of vectors: Parquet and JSON lines with the columns of the rows beside each vector, or a `.npy` array.

They are written a chunk at a time, so that they may be larger than the memory, and appear when they are whole.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tunesmith.data.npy_writer import GrowingArray
from tunesmith.errors import DataError, RecipeError

if TYPE_CHECKING:
    import pyarrow as pa

    from tunesmith.types import Array

COLUMN = "vector"
"""The name of the column of vectors."""

Rows = Sequence[Mapping[str, Any]]
Chunks = Iterable[tuple[Rows, "Array"]]
"""Rows of a file, and their vectors [rows, d] in float32."""


def refuse_output(path: Path, *, force: bool) -> None:
    """Refuses a file that cannot be written, before any work.

    Args:
        path: file to write.
        force: replace an earlier file.

    Raises:
        RecipeError: the ending is unknown, or the file exists.
    """
    if path.exists() and not force:
        raise RecipeError(f"`{path}` already exists.", remedy="Give another name, or `--force`.")
    if path.suffix.lower() not in _WRITERS:
        raise RecipeError(
            f"`{path}` must end in {', '.join(_WRITERS)}.",
            remedy="Parquet and JSON lines keep the columns of the file; .npy holds the vectors alone.",
        )


def write_vectors(path: Path, chunks: Chunks, read_again: Callable[[], Iterable[Rows]]) -> None:
    """Writes vectors, and the rows that they belong to.

    Args:
        path: file to write, of one of the endings .parquet, .npy, .jsonl.
        chunks: rows and vectors; at least one chunk.
        read_again: gives the rows once more, for the types of their columns.

    Raises:
        DataError: a row has a column `vector`, or a column cannot be stored in Parquet.
    """
    with _appearing_whole(path) as aside:
        _WRITERS[path.suffix.lower()](aside, _checked(chunks), read_again)


@contextmanager
def _appearing_whole(path: Path) -> Iterator[Path]:
    aside = path.with_name(f".{path.name}.part")
    try:
        yield aside
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def _checked(chunks: Chunks) -> Iterator[tuple[Rows, Array]]:
    for rows, vectors in chunks:
        if any(COLUMN in row for row in rows):
            raise DataError(
                f"the file has a column `{COLUMN}` already.", remedy="Rename it, or write an .npy file."
            )
        yield rows, vectors


def _write_npy(path: Path, chunks: Chunks, read_again: Callable[[], Iterable[Rows]]) -> None:
    parts = iter(chunks)
    _, first = next(parts)
    with GrowingArray(path, first) as file:
        file.append(first)
        for _, vectors in parts:
            file.append(vectors)


def _write_json_lines(path: Path, chunks: Chunks, read_again: Callable[[], Iterable[Rows]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as handle:
        for rows, vectors in chunks:
            for row, vector in zip(rows, vectors.tolist(), strict=True):
                handle.write(json.dumps({**row, COLUMN: vector}, ensure_ascii=False, default=str) + "\n")


def _write_parquet(path: Path, chunks: Chunks, read_again: Callable[[], Iterable[Rows]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    parts = iter(chunks)
    first = next(parts)
    size = first[1].shape[1]
    columns = _column_types(read_again())
    schema = columns.append(pa.field(COLUMN, pa.list_(pa.float32(), size)))
    with pq.ParquetWriter(path, schema) as writer:
        for rows, vectors in _all_of(first, parts):
            flat = pa.array(np.ascontiguousarray(vectors).reshape(-1))
            arrays = [pa.array([row.get(field.name) for row in rows], field.type) for field in columns]
            vector = pa.FixedSizeListArray.from_arrays(flat, size)
            writer.write_table(pa.Table.from_arrays([*arrays, vector], schema=schema))


def _all_of(first: tuple[Rows, Array], rest: Iterator[tuple[Rows, Array]]) -> Iterator[tuple[Rows, Array]]:
    yield first
    yield from rest


def _column_types(chunks: Iterable[Rows]) -> pa.Schema:
    """The type of each column that fits all its values; they are looked at in a pass of their own."""
    import pyarrow as pa

    schema = pa.schema([])
    for rows in chunks:
        names = dict.fromkeys(name for row in rows for name in row)
        for name in names:
            try:
                found = pa.schema([pa.field(name, pa.array([row.get(name) for row in rows]).type)])
                schema = pa.unify_schemas([schema, found], promote_options="permissive")
            except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
                raise DataError(
                    f"the column `{name}` cannot be stored in Parquet: {str(error).splitlines()[0].rstrip('.')}.",
                    remedy="Write a .jsonl file, which keeps values of several kinds in one column.",
                ) from None
    return schema


_WRITERS: dict[str, Callable[[Path, Chunks, Callable[[], Iterable[Rows]]], None]] = {
    ".parquet": _write_parquet,
    ".npy": _write_npy,
    ".jsonl": _write_json_lines,
}
