"""Data sets of the Hub, `hub:NAME[:SPLIT]`; class labels are read by their names.

`datasets` tries to reach the Hub for half a minute. So one short request asks whether it is there, unless the data
set is in the local cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tunesmith._telemetry import import_datasets, import_huggingface_hub
from tunesmith.data.formats import Row, SourceFormat
from tunesmith.data.formats._features import row_converter
from tunesmith.errors import DataError
from tunesmith.process import is_offline

_PREFIX = "hub:"
_REMEDY = (
    "Give a local file, or load the data set once where the network is, without HF_HUB_OFFLINE, and copy the "
    "folder that `save_to_disk` writes."
)
_PATIENCE_S = 5.0


def _rows(source: str, notices: list[str]) -> Iterator[tuple[str, Row]]:
    repository, _, split = source.removeprefix(_PREFIX).partition(":")
    datasets = import_datasets()
    if not _is_cached(repository, datasets):
        _refuse_unreachable(repository)
    try:
        rows = datasets.load_dataset(repository, split=split or "train", streaming=False)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise DataError(
            f"the Hub data set `{repository}` cannot be loaded: {str(error).rstrip('.')}.",
            remedy="Check the name and the network, or give a local file.",
        ) from None
    convert = row_converter(rows.features.arrow_schema)
    for number, values in enumerate(rows, start=1):
        yield source, Row(number, convert(dict(values)), unit="row")


def _is_cached(repository: str, datasets: Any) -> bool:
    return (Path(datasets.config.HF_DATASETS_CACHE) / repository.replace("/", "___")).is_dir()


def _refuse_unreachable(repository: str) -> None:
    """Raises DataError where the Hub is ruled out, or does not answer."""
    if is_offline():
        why = "the Hub is switched off by HF_HUB_OFFLINE"
    elif not _answers():
        why = "the Hub cannot be reached"
    else:
        return
    raise DataError(f"the Hub data set `{repository}` is not in the local cache, and {why}.", remedy=_REMEDY)


def _answers() -> bool:
    """Whether the Hub sends any answer within a few seconds."""
    huggingface_hub = import_huggingface_hub()
    try:
        huggingface_hub.utils.get_session().head(huggingface_hub.constants.ENDPOINT, timeout=_PATIENCE_S)
    except Exception:  # whatever the HTTP library in use raises
        return False
    return True


format = SourceFormat(
    "a data set of the Hub, `hub:NAME[:SPLIT]`",
    claims=lambda source: source.startswith(_PREFIX),
    rows=_rows,
    files=lambda source: [],
    fingerprint=str.encode,
)
