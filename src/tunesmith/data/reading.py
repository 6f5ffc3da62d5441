"""Rows of a source, one at a time, each with the line it stands on.

CSV, TSV, JSON, JSON lines, Parquet and Arrow files, gzip of these, a folder with one folder a class, and Hub
data sets. The text formats are read with the standard library, not through `datasets`: its CSV and JSON
readers do not tell on which line a row stands, fill missing fields with nulls and stop at the first wrong
row, and a user with one bad row in a million needs its line. Nothing is guessed about values: all of CSV is
text, and what is missing stays missing for the task to judge.
"""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

from tunesmith.errors import DataError

_HUB = "hub:"
_DELIMITERS = ",;\t|"


@dataclass(frozen=True)
class Row:
    """One row of a file: its values by column, or why it has none.

    Args:
        line: the line (text formats) or the row (binary formats) it starts on, from 1.
        values: what stands in it, by column name.
        fault: why the row cannot be read; empty when it can.
    """

    line: int
    values: dict[str, Any] = field(default_factory=dict)
    fault: str = ""


def read_rows(source: str) -> Iterator[tuple[str, Row]]:
    """Every row of a source, with the name of the file it stands in.

    Args:
        source: a file, a folder with one folder a class, or `hub:NAME[:SPLIT]`.

    Raises:
        DataError: there is no such source, or it is not what its name says.
    """
    if source.startswith(_HUB):
        yield from ((source, row) for row in _hub_rows(source.removeprefix(_HUB)))
        return
    path = Path(source)
    if path.is_dir():
        yield from _class_folder_rows(path)
        return
    _refuse_missing(path)
    try:
        yield from ((str(path), row) for row in _reader(path)(path))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:  # wherever in the file the damage is met
        raise DataError(
            f"`{path}` is a damaged gzip file: {error}.", remedy="Compress or copy it again."
        ) from None


def source_files(source: str) -> list[Path]:
    """The files behind a source, sorted; none for a Hub data set."""
    path = Path(source)
    if source.startswith(_HUB):
        return []
    if path.is_dir():
        return sorted(p for p in path.rglob("*") if p.is_file())
    _refuse_missing(path)
    return [path]


def _refuse_missing(path: Path) -> None:
    if not path.is_file():
        looks_like_hub = path.suffix == "" and not path.is_absolute()
        hint = f" For a data set of the Hub, write `hub:{path}`." if looks_like_hub else ""
        raise DataError(f"no such file: `{path}`.", remedy="Mend the path of the data." + hint)
    if path.stat().st_size == 0:
        raise DataError(f"`{path}` is empty.", remedy="Give a file with a header and rows.")


def _reader(path: Path) -> Callable[[Path], Iterator[Row]]:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    kind = suffixes[-2] if suffixes[-1:] == [".gz"] and len(suffixes) > 1 else "".join(suffixes[-1:])
    if kind not in _READERS:
        known = ", ".join(sorted(_READERS))
        raise DataError(
            f"`{path}` ends in `{kind or 'nothing'}`, which is no known format.",
            remedy=f"Known endings: {known}, each also with .gz.",
        )
    return _READERS[kind]


def _open_text(path: Path) -> IO[str]:
    """Opens a text file; bytes that are not UTF-8 become surrogates, to be found row by row."""
    opener: Any = gzip.open if path.suffix.lower() == ".gz" else open
    try:
        with opener(path, "rb") as handle:
            head = handle.read(8192)
    except PermissionError as error:
        raise DataError(f"`{path}` cannot be read: {error.strerror}.", remedy="Mend its rights.") from None
    if b"\0" in head:
        raise DataError(
            f"`{path}` is a binary file, not text.",
            remedy="Save it as UTF-8 text, or give it the ending of its true format.",
        )
    handle = opener(path, "rt", encoding="utf-8-sig", errors="surrogateescape", newline="")
    return cast("IO[str]", handle)


def _not_utf8(text: str) -> bool:
    return any("\udc80" <= character <= "\udcff" for character in text) if not text.isascii() else False


def _csv_rows(path: Path) -> Iterator[Row]:
    csv.field_size_limit(2**31 - 1)
    with _open_text(path) as handle:
        first = handle.readline()
        handle.seek(0)
        delimiter = "\t" if ".tsv" in path.suffixes else max(_DELIMITERS, key=first.count)
        reader = csv.reader(handle, delimiter=delimiter, strict=True)
        try:
            header = next(reader, [])
        except csv.Error as error:
            raise DataError(
                f"the header is not CSV: {error}.",
                place=f"{path}, line 1",
                remedy="Mend the header's quotes.",
            ) from None
        _refuse_header(header, path)
        yield from _csv_body(reader, header)


def _csv_body(reader: Any, header: list[str]) -> Iterator[Row]:
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Row(line, fault=f"not CSV: {error}.")
            continue
        if not fields:
            continue
        if len(fields) != len(header):
            yield Row(line, fault=f"{len(fields)} fields, the header has {len(header)}.")
        elif any(map(_not_utf8, fields)):
            yield Row(line, fault="not UTF-8.")
        else:
            yield Row(line, dict(zip(header, fields, strict=True)))


def _refuse_header(header: list[str], path: Path) -> None:
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise DataError(
            f"a column's name must be its own, and `{twice[0]}` stands twice in the header.",
            place=f"{path}, line 1",
            remedy="Rename one of them.",
        )


def _json_lines_rows(path: Path) -> Iterator[Row]:
    with _open_text(path) as handle:
        for number, line in enumerate(handle, start=1):
            if not line.strip():
                continue
            yield _json_row(number, line)


def _json_row(number: int, line: str) -> Row:
    if _not_utf8(line):
        return Row(number, fault="not UTF-8.")
    try:
        value = json.loads(line)
    except ValueError as error:
        return Row(number, fault=f"not JSON: {error}.")
    if not isinstance(value, dict):
        return Row(number, fault=f"a row must be a JSON object, not {type(value).__name__}.")
    return Row(number, value)


def _json_rows(path: Path) -> Iterator[Row]:
    with _open_text(path) as handle:
        try:
            value = json.load(handle)
        except (ValueError, UnicodeError) as error:
            raise DataError(
                f"`{path}` is not JSON: {error}.", remedy="One object a line has the ending .jsonl."
            ) from None
    rows = _rows_in_json(value)
    if rows is None:
        raise DataError(
            f"`{path}` must hold a list of objects, or `data` with one.", remedy="Save it as a list of rows."
        )
    for number, row in enumerate(rows, start=1):
        if isinstance(row, dict):
            yield Row(number, row)
        else:
            yield Row(number, fault=f"a row must be a JSON object, not {type(row).__name__}.")


def _rows_in_json(value: Any) -> list[Any] | None:
    """The rows of a list, of `{"data": [...]}`, or of columns `{"text": [...], "label": [...]}`."""
    if isinstance(value, dict) and isinstance(value.get("data"), list):
        value = value["data"]
    if isinstance(value, list):
        return value
    if not isinstance(value, dict) or not all(isinstance(column, list) for column in value.values()):
        return None
    if len({len(column) for column in value.values()}) != 1:
        return None
    return [dict(zip(value, row, strict=True)) for row in zip(*value.values(), strict=True)]


def _parquet_rows(path: Path) -> Iterator[Row]:
    import pyarrow.parquet as pq

    yield from _arrow_batches(path, lambda handle: pq.ParquetFile(handle).iter_batches(batch_size=4096))


def _arrow_rows(path: Path) -> Iterator[Row]:
    import pyarrow as pa

    def batches(handle: Any) -> Iterator[Any]:
        try:
            reader = pa.ipc.open_file(handle)
        except pa.ArrowInvalid:
            handle.seek(0)
            return iter(pa.ipc.open_stream(handle))
        return (reader.get_batch(i) for i in range(reader.num_record_batches))

    yield from _arrow_batches(path, batches)


def _arrow_batches(path: Path, batches: Callable[[Any], Iterator[Any]]) -> Iterator[Row]:
    import pyarrow as pa

    opener: Any = gzip.open if path.suffix.lower() == ".gz" else open
    number = 0
    with opener(path, "rb") as handle:
        try:
            for batch in batches(handle):
                for values in batch.to_pylist():
                    number += 1
                    yield Row(number, values)
        except (pa.ArrowInvalid, OSError) as error:
            raise DataError(
                f"`{path}` is not what its ending says: {error}.", remedy="Mend the file."
            ) from None


def _class_folder_rows(folder: Path) -> Iterator[tuple[str, Row]]:
    """`FOLDER/LABEL/ANY.txt`: one text a file, its label the folder's name."""
    files = sorted(folder.glob("*/*.txt"))
    if not files:
        raise DataError(
            f"the folder `{folder}` holds no `LABEL/*.txt` files, nor files called train.csv or the like.",
            remedy="Give one folder a class with a text file an example, or name the data files.",
        )
    for path in files:
        text = path.read_bytes().decode("utf-8", errors="surrogateescape")
        values = {"text": text, "label": path.parent.name}
        row = Row(1, fault="not UTF-8.") if _not_utf8(text) else Row(1, values)
        yield str(path), row


def _hub_rows(name: str) -> Iterator[Row]:
    """Rows of a Hub data set, `NAME[:SPLIT]`; class labels come as their names."""
    import datasets

    repository, _, split = name.partition(":")
    try:
        rows = datasets.load_dataset(repository, split=split or "train", streaming=False)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise DataError(
            f"the Hub data set `{repository}` cannot be loaded: {error}.",
            remedy="Check the name and the network, or give a local file.",
        ) from None
    names = {key: f for key, f in rows.features.items() if isinstance(f, datasets.ClassLabel)}
    for number, values in enumerate(rows, start=1):
        for key, feature in names.items():
            values[key] = feature.int2str(values[key]) if values[key] is not None else None
        yield Row(number, values)


_READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".csv": _csv_rows,
    ".tsv": _csv_rows,
    ".jsonl": _json_lines_rows,
    ".ndjson": _json_lines_rows,
    ".json": _json_rows,
    ".parquet": _parquet_rows,
    ".arrow": _arrow_rows,
    ".feather": _arrow_rows,
}
