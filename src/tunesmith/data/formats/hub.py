"""Data sets of the Hub, `hub:NAME[:SPLIT]`; class labels are read by their names."""

from __future__ import annotations

from collections.abc import Iterator

from tunesmith._telemetry import import_datasets
from tunesmith.data.formats import Row, SourceFormat
from tunesmith.data.formats._features import row_converter
from tunesmith.errors import DataError

_PREFIX = "hub:"


def _rows(source: str, notices: list[str]) -> Iterator[tuple[str, Row]]:
    datasets = import_datasets()
    repository, _, split = source.removeprefix(_PREFIX).partition(":")
    try:
        rows = datasets.load_dataset(repository, split=split or "train", streaming=False)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise DataError(
            f"the Hub data set `{repository}` cannot be loaded: {error}.",
            remedy="Check the name and the network, or give a local file.",
        ) from None
    convert = row_converter(rows.features.arrow_schema)
    for number, values in enumerate(rows, start=1):
        yield source, Row(number, convert(dict(values)), unit="row")


format = SourceFormat(
    "a data set of the Hub, `hub:NAME[:SPLIT]`",
    claims=lambda source: source.startswith(_PREFIX),
    rows=_rows,
    files=lambda source: [],
    fingerprint=str.encode,
)
