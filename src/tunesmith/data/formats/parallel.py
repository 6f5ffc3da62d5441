"""Parallel text, `parallel:PATH.{en,de}`: files of two or more languages that match line by line."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tunesmith.data.formats import Row, SourceFormat
from tunesmith.data.formats._encodings import text_problem
from tunesmith.data.formats._files import DataFile
from tunesmith.errors import DataError
from tunesmith.masking import shown_url

_PREFIX = "parallel:"
_BRACES = re.compile(r"([^{}]*)\{([^{}]*)\}([^{}]*)")


def _name(source: str) -> str:
    return shown_url(source.removeprefix(_PREFIX))


def _files_by_language(source: str, notices: list[str] | None = None) -> dict[str, DataFile]:
    parts = _BRACES.fullmatch(source.removeprefix(_PREFIX))
    names = [name.strip() for name in parts[2].split(",")] if parts else []
    if parts is None or len(set(names)) < 2 or len(set(names)) < len(names) or not all(names):
        raise DataError(
            f"parallel text needs two or more endings in braces, got `{_name(source)}`.",
            remedy="Write `parallel:train.{en,de}` for train.en and train.de.",
        )
    files = {name: DataFile(f"{parts[1]}{name}{parts[3]}", notices) for name in names}
    for file in files.values():
        file.refuse_missing()
    return files


def _rows(source: str, notices: list[str]) -> Iterator[tuple[str, Row]]:
    files = _files_by_language(source, notices)
    with contextlib.ExitStack() as stack:
        # Lines end only at `\n`: a stray `\r` or U+2028 within a line must not shift all following lines.
        handles = [stack.enter_context(file.open_text(newline="\n")) for file in files.values()]
        for number, lines in enumerate(itertools.zip_longest(*handles), start=1):
            if None in lines:
                raise _different_counts(_line_counts(files, handles, number, lines), _name(source))
            if any(line.strip() for line in lines):
                yield _name(source), _row(number, list(files), lines)


def _row(number: int, languages: list[str], lines: tuple[str, ...]) -> Row:
    if problem := next(filter(None, map(text_problem, lines)), ""):
        return Row(number, problem=problem)
    return Row(number, {name: line.rstrip("\r\n") for name, line in zip(languages, lines, strict=True)})


def _line_counts(
    files: dict[str, DataFile], handles: list[IO[str]], number: int, lines: tuple[str | None, ...]
) -> dict[str, int]:
    """Number of lines of each file, from the line number at which one of them ended."""
    return {
        file.name: number - 1 if line is None else number + sum(1 for _ in handle)
        for file, handle, line in zip(files.values(), handles, lines, strict=True)
    }


def _different_counts(counts: dict[str, int], name: str) -> DataError:
    said = ", ".join(f"`{file}` has {count}" for file, count in counts.items())
    return DataError(
        f"parallel files must have the same number of lines: {said}.",
        remedy="Align them again: a line is missing, or there is one too many.",
        location=name,
    )


def _files(source: str) -> list[Path]:
    return sorted(file.path for file in _files_by_language(source).values() if file.path)


def _fingerprint(source: str) -> bytes:
    return b"".join(file.sha256() for file in _files_by_language(source).values())


format = SourceFormat(
    "text files that match line by line, `parallel:PATH.{en,de}`",
    claims=lambda source: source.startswith(_PREFIX),
    rows=_rows,
    files=_files,
    fingerprint=_fingerprint,
    name=_name,
)
