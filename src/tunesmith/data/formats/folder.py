"""Folders of plain text: one folder a class (`FOLDER/LABEL/ANY.txt`), or else files of running text.

A folder in which every text lies exactly one folder deep has one folder a class: a text file is an example,
its label the folder's name. In any other, every text file is read, however deep it lies, in sections.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from tunesmith.data.formats import Row, SourceFormat
from tunesmith.data.formats._encodings import text_problem
from tunesmith.data.formats._files import DataFile, local_path
from tunesmith.data.formats.text import format as text_format
from tunesmith.errors import DataError


def _folder(source: str) -> Path:
    return local_path(source) or Path(source)


def _rows(source: str, notices: list[str]) -> Iterator[tuple[str, Row]]:
    folder = _folder(source)
    texts = _texts(folder)
    if not texts:
        raise DataError(
            f"the folder `{folder}` holds no `LABEL/*.txt` files, nor files called train.csv or the like.",
            remedy="Give one folder a class with a text file an example, or name the data files.",
        )
    depths = {len(path.relative_to(folder).parts) for path in texts}
    if others := sorted({*_seen_files(folder)} - {*texts}):
        notices.append(
            f"{len(others)} files of the folder `{folder}` are no text files and are not read, "
            f"`{others[0].relative_to(folder)}` among them"
        )
    yield from (_example(path, notices) for path in texts) if depths == {2} else _running_text(texts, notices)


def _texts(folder: Path) -> list[Path]:
    """Every text file, sorted; what is hidden (left by editors and archivers) is none of the data."""
    return [path for path in _seen_files(folder) if DataFile(str(path)).ending in text_format.endings]


def _seen_files(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def _example(path: Path, notices: list[str]) -> tuple[str, Row]:
    try:
        with DataFile(str(path), notices).open_text() as handle:
            text = handle.read()
    except DataError as error:
        return str(path), Row(1, problem=error.rule)
    if problem := text_problem(text):
        return str(path), Row(1, problem=problem)
    return str(path), Row(1, {"text": text, "label": path.parent.name})


def _running_text(texts: list[Path], notices: list[str]) -> Iterator[tuple[str, Row]]:
    for path in texts:
        yield from ((str(path), row) for row in text_format.rows(DataFile(str(path), notices)))


def _parts(source: str) -> list[tuple[str, str]]:
    """The files that lie in the folder itself, by their names up to the first point: `train` of train.csv."""
    files = sorted(path for path in _folder(source).iterdir() if path.is_file())
    return [(path.name.split(".")[0], str(path)) for path in files]


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
    parts=_parts,
    is_general=True,
)
