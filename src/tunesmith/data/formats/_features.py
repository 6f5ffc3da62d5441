"""Undoes what `datasets` and Arrow do to values: class labels become numbers, and missing fields become null.

`datasets` writes the names of class labels into the schema, as JSON under the key `huggingface`. An Arrow struct
has the fields of all rows, so the arguments of one tool hold those of every other tool as null. Within a struct, a
null cannot be distinguished from a missing field, so it is left out. (JSON files can distinguish them, and keep
nulls.)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

    from tunesmith.types import JsonObject

Convert = Callable[[object], object]


def row_converter(schema: pa.Schema) -> Callable[[JsonObject], JsonObject]:
    """Function that converts a row of an Arrow table to the values that a JSON file would hold.

    Args:
        schema: schema of the table.
    """
    pruned = [field.name for field in schema if _holds_struct(field.type)]
    named = _named_columns(schema)
    if not pruned and not named:
        return lambda values: values

    def convert(values: JsonObject) -> JsonObject:
        for name, to_names in named.items():
            values[name] = to_names(values[name])
        for name in pruned:
            values[name] = without_nulls(values[name])
        return values

    return convert


def without_nulls(value: object) -> object:
    """A value without the null fields of the structs in it; nulls in lists stay."""
    if isinstance(value, dict):
        return {name: without_nulls(part) for name, part in value.items() if part is not None}
    return [without_nulls(part) for part in value] if isinstance(value, list) else value


def _holds_struct(kind: pa.DataType) -> bool:
    import pyarrow.types as types

    if types.is_struct(kind):
        return True
    is_list = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    return is_list and _holds_struct(kind.value_type)


def _named_columns(schema: pa.Schema) -> dict[str, Convert]:
    features = _features_of(schema.metadata)
    found = {name: _names_in(feature) for name, feature in features.items() if name in schema.names}
    return {name: convert for name, convert in found.items() if convert is not None}


def _features_of(metadata: Mapping[bytes, bytes] | None) -> JsonObject:
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return {}
    return features if isinstance(features, dict) else {}


def _names_in(feature: object) -> Convert | None:
    """Function that replaces numbers by names, if a feature of `datasets` holds class labels."""
    if isinstance(feature, list) and len(feature) == 1:
        return _in_list(_names_in(feature[0]))
    if not isinstance(feature, dict):
        return None
    kind = feature.get("_type")
    if kind == "ClassLabel" and isinstance(feature.get("names"), list):
        return _label(feature["names"])
    if kind in ("Sequence", "List", "LargeList"):
        return _in_list(_names_in(feature.get("feature")))
    return (
        None
        if isinstance(kind, str)
        else _in_struct({name: _names_in(part) for name, part in feature.items()})
    )


def _label(names: list[str]) -> Convert:
    def convert(value: object) -> object:
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(names):
            return names[value]
        return None if value == -1 else value  # `datasets` uses -1 for a missing label

    return convert


def _in_list(convert: Convert | None) -> Convert | None:
    if convert is None:
        return None

    def convert_all(value: object) -> object:
        if isinstance(value, dict):  # a list of structs may be kept as a struct of lists
            return convert(value)
        return [convert(part) for part in value] if isinstance(value, list) else value

    return convert_all


def _in_struct(parts: Mapping[str, Convert | None]) -> Convert | None:
    named = {name: convert for name, convert in parts.items() if convert is not None}
    if not named:
        return None

    def convert_parts(value: object) -> object:
        if not isinstance(value, dict):
            return value
        return {name: _lists(named.get(name))(part) for name, part in value.items()}

    return convert_parts


def _lists(convert: Convert | None) -> Convert:
    """The conversion of a part of a struct, which may be a value or a list of values."""
    if convert is None:
        return lambda value: value
    return lambda value: [convert(part) for part in value] if isinstance(value, list) else convert(value)
