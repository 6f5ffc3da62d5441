"""Standoff of brat (brat.nlplab.org/standoff.html): a folder of texts, `17.txt`, each with annotations, `17.ann`.

A row is a document with its entities (`T` lines). Other annotations (relations, events, attributes, notes) are
counted and reported. A document with an entity that cannot be used is an invalid row; the problem names the line.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tunesmith.data.formats import Row, SourceFormat
from tunesmith.data.formats._encodings import text_problem
from tunesmith.data.formats._files import DataFile, local_path, refuse_links

_TEXT, _ANNOTATIONS = ".txt", ".ann"
_ENTITY = re.compile(r"T\S*\t(\S+) (\d+) (\d+)((?:;\d+ \d+)*)\t?(.*)")
_OTHERS = {
    "R": "relations", "*": "relations", "E": "events", "A": "attributes", "M": "attributes", "N": "references",
    "#": "notes",
}  # fmt: skip


def _claims(source: str) -> bool:
    folder = local_path(source)
    return folder is not None and os.path.isdir(folder) and any(folder.rglob(f"*{_ANNOTATIONS}"))


def _folder(source: str) -> Path:
    return local_path(source) or Path(source)


def _rows(source: str, notices: list[str]) -> Iterator[tuple[str, Row]]:
    folder = _folder(source)
    left_out: Counter[str] = Counter()
    for stem in sorted({path.with_suffix("") for path in _files(source)}):
        text, annotations = stem.with_name(stem.name + _TEXT), stem.with_name(stem.name + _ANNOTATIONS)
        if missing := next((path for path in (text, annotations) if not path.is_file()), None):
            there = annotations if missing == text else text
            yield str(there), Row(1, problem=f"`{missing.name}` is not beside it.")
        else:
            yield _document(text, annotations, notices, left_out)
    if left_out:
        said = ", ".join(f"{n} {kind}" for kind, n in left_out.items())
        notices.append(f"only entities of the annotations in `{folder}` are read, and not {said}")


def _document(
    text_path: Path, annotation_path: Path, notices: list[str], left_out: Counter[str]
) -> tuple[str, Row]:
    text = _content(text_path, notices)
    n_lines = max(text.count("\n") + (not text.endswith("\n")), 1)
    if problem := text_problem(text):
        return str(text_path), Row(1, problem=problem, n_lines=n_lines)
    entities: list[list[int | str]] = []
    for number, line in enumerate(_content(annotation_path, notices).split("\n"), start=1):
        kind = _OTHERS.get(line[:1], "")
        left_out.update([kind] if kind else [])
        if kind or not line.strip():
            continue
        entity, problem = _entity(line.rstrip("\r"), text)
        if problem:
            return str(annotation_path), Row(number, problem=problem)
        entities.append(entity)
    return str(text_path), Row(1, {"text": text, "entities": entities}, n_lines=n_lines)


def _content(path: Path, notices: list[str]) -> str:
    """The text without any change: brat counts every character, including line ends."""
    with DataFile(str(path), notices).open_text() as handle:
        return handle.read()


def _entity(line: str, text: str) -> tuple[list[int | str], str]:
    """[start, end, label] of a `T` line, or the problem with it."""
    found = _ENTITY.fullmatch(line)
    if text_problem(line) or found is None:
        return (
            [],
            "it is not an annotation of brat: an entity is `T1`, a tab, `LABEL START END`, a tab and its text.",
        )
    label, start, end, more, covered = found[1], int(found[2]), int(found[3]), found[4], found[5]
    if more:
        return (
            [],
            f"the entity `{covered[:40]}` is in several pieces, and an entity is one run of characters.",
        )
    if " ".join(text[start:end].split()) != " ".join(covered.split()):
        return (
            [],
            f"the entity {start} to {end} is `{text[start:end][:40]}` in the text, and not `{covered[:40]}`.",
        )
    return [start, end, label], ""


def _files(source: str) -> list[Path]:
    folder = _folder(source)
    found = folder.rglob("*")
    files = sorted(path for path in found if path.suffix in (_TEXT, _ANNOTATIONS) and path.is_file())
    refuse_links(folder, files)
    return files


def _fingerprint(source: str) -> bytes:
    return b"".join(DataFile(str(path)).sha256() for path in _files(source))


format = SourceFormat(
    "a folder of texts with brat's annotations (`.txt` and `.ann`)",
    claims=_claims,
    rows=_rows,
    files=_files,
    fingerprint=_fingerprint,
    name=lambda source: str(_folder(source)),
)
