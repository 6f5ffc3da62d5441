"""Values of Python objects as the plain values that a JSON file would hold.

Tables in memory hold numbers of numpy, several marks of a missing value, and dates. Tasks read texts, numbers,
lists, objects and None. An object of another type stays as it is, and the task that reads it names its type.
"""

from __future__ import annotations

import datetime
import decimal
import math
import sys
import uuid
from collections.abc import Callable, Mapping

import numpy as np

_PLAIN = (str, bool, int, type(None))
_WRITTEN = (datetime.date, datetime.time, datetime.timedelta, decimal.Decimal, uuid.UUID)


def plain(value: object) -> object:
    """A value without types of other libraries; NaN, NaT and `pandas.NA` become None."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if (
        isinstance(value, dict) and kind is dict
    ):  # answers of a server are many of these, and of lists and floats
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, list) and kind is list:
        return [plain(part) for part in value]
    if _is_missing(value):
        return None
    if kind is float:
        return value
    return next((convert(value) for kinds, convert in _CONVERSIONS if isinstance(value, kinds)), value)


def _is_missing(value: object) -> bool:
    if isinstance(value, float | np.floating):
        return math.isnan(value)
    pandas = sys.modules.get("pandas")  # a value of pandas exists only if pandas is imported
    return pandas is not None and (value is pandas.NA or value is pandas.NaT)


def _in_order(values: object) -> list[object]:
    assert isinstance(values, set | frozenset)
    return sorted((plain(value) for value in values), key=repr)


_CONVERSIONS: tuple[tuple[type | tuple[type, ...], Callable[..., object]], ...] = (
    (np.generic, lambda value: plain(value.item())),
    (np.ndarray, lambda value: [plain(part) for part in value.tolist()]),
    (str, str),
    (bool, bool),
    (int, int),
    (float, float),
    (Mapping, lambda value: {str(name): plain(part) for name, part in value.items()}),
    ((list, tuple), lambda value: [plain(part) for part in value]),
    ((set, frozenset), _in_order),
    (_WRITTEN, str),
)
