"""Cells of a table that hold lists or objects: JSON, Python's notation, or names with separators."""

from __future__ import annotations

import ast
import io
import itertools
import json
import tokenize
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any

from tunesmith.tasks import RowError

SEPARATORS = (";", "|", ",")
"""Separators between labels in one cell; the one that is least likely within a label is first."""


def parsed_cell(value: object, column: str) -> Any:
    """The list or object that a text holds as JSON or in Python's notation; any other value unchanged.

    Raises:
        RowError: it begins like a list or an object, and is neither JSON nor Python.
    """
    if not isinstance(value, str) or value.lstrip()[:1] not in ("[", "{"):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        pass
    try:
        found = ast.literal_eval(value.strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        hint = ", but an array printed by numpy" if "array(" in value else ""
        raise RowError(
            f"{column} is neither JSON nor a Python list{hint}: `{value[:60]}`.",
            hint="Save such columns as JSON lines or Parquet, or write the cells as JSON.",
        ) from None
    if _joins_texts(value):
        raise RowError(
            f"{column} has texts without a comma between them: `{value[:60]}`.",
            hint="numpy prints arrays so. Save such columns as JSON lines or Parquet, or write the cells as JSON.",
        )
    return found


def _joins_texts(value: str) -> bool:
    """Whether two texts follow each other without a comma, which Python reads as one."""
    try:
        kinds = [token.type for token in tokenize.generate_tokens(io.StringIO(value.strip()).readline)]
    except (tokenize.TokenError, IndentationError, SyntaxError):
        return False
    # An array may be printed over several lines.
    kinds = [kind for kind in kinds if kind not in (tokenize.NL, tokenize.NEWLINE)]
    return any(a == b == tokenize.STRING for a, b in itertools.pairwise(kinds))


def label_splitter(values: Sequence[object], known: Collection[str] | None) -> Callable[[object], object]:
    """The function that splits the cells of a column into labels, by one separator for the whole column.

    Args:
        values: some cells of the column, from which the separator is found.
        known: labels of the training rows; None for the training rows themselves.

    Returns:
        A function from a cell to its labels; a value that is not a plain text is unchanged.
    """
    texts = [value for value in values if isinstance(value, str) and value.strip() and not _is_list(value)]
    separator = _separator_of(texts, known)
    surer = SEPARATORS[: SEPARATORS.index(separator)] if separator else ()

    def split(value: object) -> object:
        if not isinstance(value, str):
            return value
        if _is_list(value):
            return parsed_cell(value, "labels")
        unseen = next((mark for mark in surer if mark in value), None)
        if unseen and value not in (known or ()):
            raise RowError(
                f"labels in this column are separated by `{separator}`, and one has `{unseen}`: `{value[:60]}`."
            )
        parts = value.split(separator) if separator else [value]
        return [part.strip() for part in parts if part.strip()]

    return split


def have_several(cells: Sequence[str]) -> bool:
    """Whether cells hold several labels: a separator is in some, and their parts occur again and again."""
    separator = _separator_of(cells, None)
    with_it = [cell for cell in cells if separator in cell]
    parts = [part.strip() for cell in cells for part in cell.split(separator)]
    distinct_cells, distinct_parts = len(set(cells)), len(set(parts))
    return bool(with_it) and distinct_parts < distinct_cells and distinct_parts <= len(parts) / 2


def _separator_of(texts: Sequence[str], known: Collection[str] | None) -> str:
    if known:
        return max(("", *SEPARATORS), key=lambda mark: _share_known(texts, mark, known))
    present = [mark for mark in SEPARATORS if any(mark in text for text in texts)]
    return next((mark for mark in present if mark != ","), ",")


def _share_known(texts: Sequence[str], separator: str, known: Collection[str]) -> float:
    parts = Counter(
        part.strip() for text in texts for part in (text.split(separator) if separator else [text])
    )
    return sum(n for part, n in parts.items() if part in known) / max(parts.total(), 1)


def _is_list(value: str) -> bool:
    return value.lstrip().startswith("[")
