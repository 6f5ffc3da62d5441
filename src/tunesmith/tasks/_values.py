"""Checks of the values in a row: texts, labels, numbers. A value that cannot be used raises a RowError."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tunesmith.errors import DataError
from tunesmith.tasks import RowError
from tunesmith.tasks._cells import parsed_cell

if TYPE_CHECKING:
    from tunesmith.types import Config, JsonObject


UNFILLED = "(to label)"
"""What stands in place of a label that a person shall give, where a blank would be a valid value."""

_FEW_ROWS = 20
"""With fewer rows, it is not known whether labels repeat."""


def is_missing(value: object) -> bool:
    """Whether a value is None, or the NaN that tables use for a missing value."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def text_of(value: object, column: str) -> str:
    """A text that is not missing.

    Raises:
        RowError: it is missing, empty, not text, or cannot be encoded.
    """
    if is_missing(value):
        raise RowError(f"no {column}.")
    if not isinstance(value, str):
        raise RowError(f"{column} is {type(value).__name__} `{str(value)[:60]}`, not text.")
    if not value.strip():
        raise RowError(f"{column} is empty.")
    refuse_surrogates(value, column)
    if value.strip().lower() == "nan":
        raise RowError(f"{column} is `{value.strip()}`, an exported missing value.")
    return value


def strings(value: Any) -> Iterator[str]:
    """The texts within a value of a row: a text, words, or the contents of messages."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from strings(item)
    elif isinstance(value, dict):
        yield from strings(value.get("content"))


def label_of(value: object) -> str:
    """The name of a label: a text unchanged, a whole number without a point.

    Raises:
        RowError: it is missing, a fraction, or a list.
    """
    if is_missing(value):
        raise RowError("no label.")
    if isinstance(value, float) and not value.is_integer():
        raise RowError(f"label {value} is not a whole number; to predict a quantity use `text-regression`.")
    if isinstance(value, (list, dict)):
        raise RowError(f"label is a {type(value).__name__}; several labels are `multi-label-classification`.")
    name = str(int(value)) if isinstance(value, float) else str(value)
    if name.strip() == UNFILLED:
        raise RowError(f"no label yet (`{UNFILLED}`).")
    if not name.strip() or name.strip().lower() == "nan":
        raise RowError(f"no label (`{name}`)." if name.strip() else "label is empty.")
    refuse_surrogates(name, "label")
    return name


def number_of(value: Any, column: str) -> float:
    """A finite number.

    Raises:
        RowError: it is missing or not a number.
    """
    if is_missing(value) or (isinstance(value, str) and not value.strip()):
        raise RowError(f"no {column}.")
    try:
        number = float(value) if not isinstance(value, (bool, list, dict)) else math.nan
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise RowError(
            f"{column} must be a number, got `{value}`{_comma_in(value)}.",
            hint=_COMMA_HINT if _comma_in(value) else "",
        )
    return number


_COMMA_HINT = "Write a number with a decimal point and without separators of thousands: `1234.5`."
_WITH_COMMA = re.compile(r"\s*[-+]?\d+(?:[.,' \xa0\u202f]\d{3})*[.,]?\d*\s*")


def _comma_in(value: object) -> str:
    """The sign in a number that is not allowed, for a message; empty if the value is not such a number."""
    if not isinstance(value, str) or not _WITH_COMMA.fullmatch(value):
        return ""
    return (
        ", with a decimal comma"
        if value.count(",") == 1 and "." not in value.partition(",")[2]
        else ", with separators of thousands"
    )


_MOST_NUMBERED_LABELS = 20
_MOST_LABEL_WORDS = 5


def are_labels(values: Sequence[str]) -> bool:
    """Whether texts repeat as labels do, are short, and do not measure something."""
    if are_quantities(values):
        return False
    n_words = sum(len(value.split()) for value in values)
    is_short = n_words <= _MOST_LABEL_WORDS * len(values)
    return is_short and (len(values) < _FEW_ROWS or len(set(values)) <= len(values) / 2)


def are_quantities(values: Sequence[str | float]) -> bool:
    """Whether all values are numbers, and too many different ones, or fractions, for labels."""
    try:
        numbers = {float(value) for value in values}
    except ValueError:
        return False
    return len(numbers) > _MOST_NUMBERED_LABELS or not all(number.is_integer() for number in numbers)


def list_of(value: object, column: str) -> list[Any]:
    """A list, which a table may hold as JSON.

    Raises:
        RowError: it is missing or not a list.
    """
    if is_missing(value):
        raise RowError(f"no {column}.")
    value = parsed_cell(value, column)
    if isinstance(value, str):
        raise RowError(f"{column} must be a list, got the text `{value[:60]}`.")
    if not isinstance(value, (list, tuple)):
        raise RowError(f"{column} must be a list, got {type(value).__name__}.")
    return list(value)


def refuse_surrogates(value: str, column: str) -> None:
    """Refuses bytes that are not UTF-8, and lone surrogates of JSON, which no tokenizer and no file accepts."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise RowError(f"{column} is not UTF-8.") from None


_WHOLE_NUMBER = re.compile(r"-?\d+")


def in_label_order(labels: Sequence[str] | Mapping[str, int]) -> list[str]:
    """Label names in numeric order if all are whole numbers, else in alphabetic order; never in row order."""
    if all(_WHOLE_NUMBER.fullmatch(label) for label in labels):
        return sorted(labels, key=lambda label: (int(label), label))
    return sorted(labels)


def label_config(labels: Sequence[str], problem_type: str | None = None) -> JsonObject:
    """Entries of a config for a head with one output per label."""
    config: JsonObject = {
        "num_labels": len(labels),
        "id2label": dict(enumerate(labels)),
        "label2id": {label: i for i, label in enumerate(labels)},
    }
    return {**config, "problem_type": problem_type} if problem_type else config


def labels_in(config: Config) -> list[str]:
    """The label names of a saved model, in order."""
    return [config.id2label[i] for i in range(len(config.id2label))]


def refuse_one_label(counts: Mapping[str, int]) -> None:
    """Refuses data with only one label.

    Raises:
        DataError: all rows have one label.
    """
    if len(counts) == 1:
        raise DataError(
            f"a classifier needs two labels or more, and all {sum(counts.values())} training rows have "
            f"`{next(iter(counts))}`.",
            remedy="Name the right label column (`--column label=COLUMN`), or add rows of other labels.",
        )
