"""Folders of plain text: one folder for each class (`FOLDER/LABEL/ANY.txt`), or else files of running text.

If every text lies exactly one folder deep, there is one folder for each class: a text file is an example, and its
label is the name of its folder. In other folders, every text file is read in sections, at any depth.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from tunesmith.data.formats import Row, SourceFormat
from tunesmith.data.formats._encodings import text_problem
from tunesmith.data.formats._files import DataFile, local_path, refuse_links
from tunesmith.data.formats.text import format as text_format
from tunesmith.errors import DataError


def _folder(source: str) -> Path:
    return local_path(source) or Path(source)


def _rows(source: str, notices: list[str]) -> Iterator[tuple[str, Row]]:
    folder = _folder(source)
    texts = _texts(folder)
    if not texts:
        raise DataError(
            f"the folder `{folder}` holds no `LABEL/*.txt` files, and no files such as train.csv.",
            remedy="Give one folder for each class, with one text file for each example, or name the data files.",
        )
    depths = {len(path.relative_to(folder).parts) for path in texts}
    if others := sorted({*_seen_files(folder)} - {*texts}):
        notices.append(
            f"{len(others)} files of the folder `{folder}` are not text files and are not read, "
            f"for example `{others[0].relative_to(folder)}`"
        )
    yield from (_example(path, notices) for path in texts) if depths == {2} else _running_text(texts, notices)


def _texts(folder: Path) -> list[Path]:
    """Every text file, sorted; hidden files (of editors and archivers) are left out."""
    return [path for path in _seen_files(folder) if DataFile(str(path)).ending in text_format.endings]


def _seen_files(folder: Path) -> list[Path]:
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    refuse_links(folder, found)
    return found


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
    """The files in the folder itself, by their names up to the first dot: `train` of train.csv."""
    files = sorted(path for path in _folder(source).iterdir() if path.is_file())
    refuse_links(_folder(source), (path for path in files if not path.name.startswith(".")))
    return [(path.name.split(".")[0], str(path)) for path in files]


def _files(source: str) -> list[Path]:
    return sorted(path for path in _folder(source).rglob("*") if path.is_file())


def _fingerprint(source: str) -> bytes:
    """Digest of content and names: the name of a folder may be a label."""
    folder = _folder(source)
    return b"".join(
        path.relative_to(folder).as_posix().encode("utf-8", "surrogateescape") + DataFile(str(path)).sha256()
        for path in _files(source)
    )


format = SourceFormat(
    "a folder with one folder for each class, or with files of running text",
    claims=lambda source: os.path.isdir(_folder(source)),
    rows=_rows,
    files=_files,
    fingerprint=_fingerprint,
    name=lambda source: str(_folder(source)),
    parts=_parts,
    is_general=True,
)
