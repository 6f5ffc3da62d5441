"""Folders of plain text: one folder a class (`FOLDER/LABEL/ANY.txt`), or else files of running text.

A folder in which every text lies exactly one folder deep has one folder a class: a text file is an example,
its label the folder's name. In any other, every text file is read, however deep it lies, in sections.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from tunesmith.data.formats import Row, SourceFormat
from tunesmith.data.formats._files import DataFile, is_utf8, local_path
from tunesmith.data.formats.text import format as text_format
from tunesmith.errors import DataError


def _folder(source: str) -> Path:
    return local_path(source) or Path(source)


def _rows(source: str) -> Iterator[tuple[str, Row]]:
    folder = _folder(source)
    texts = _texts(folder)
    if not texts:
        raise DataError(
            f"the folder `{folder}` holds no `LABEL/*.txt` files, nor files called train.csv or the like.",
            remedy="Give one folder a class with a text file an example, or name the data files.",
        )
    depths = {len(path.relative_to(folder).parts) for path in texts}
    yield from map(_example, texts) if depths == {2} else _running_text(texts)


def _texts(folder: Path) -> list[Path]:
    """Every text file, sorted; what is hidden (left by editors and archivers) is none of the data."""
    return sorted(
        path
        for path in folder.rglob("*")
        if DataFile(str(path)).ending in text_format.endings
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def _example(path: Path) -> tuple[str, Row]:
    with DataFile(str(path)).open_bytes() as handle:
        text = handle.read().decode("utf-8-sig", errors="surrogateescape")
    values = {"text": text, "label": path.parent.name}
    return str(path), Row(1, values) if is_utf8(text) else Row(1, fault="not UTF-8.")


def _running_text(texts: list[Path]) -> Iterator[tuple[str, Row]]:
    for path in texts:
        yield from ((str(path), row) for row in text_format.rows(DataFile(str(path))))


def _files(source: str) -> list[Path]:
    return sorted(path for path in _folder(source).rglob("*") if path.is_file())


def _fingerprint(source: str) -> bytes:
    """Content and names: in a folder a class, a name is a label."""
    folder = _folder(source)
    return b"".join(
        path.relative_to(folder).as_posix().encode("utf-8", "surrogateescape") + DataFile(str(path)).sha256()
        for path in _files(source)
    )


format = SourceFormat(
    "a folder with one folder a class, or with files of running text",
    claims=lambda source: os.path.isdir(_folder(source)),
    rows=_rows,
    files=_files,
    fingerprint=_fingerprint,
    name=lambda source: str(_folder(source)),
)
