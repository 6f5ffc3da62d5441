"""Folders that `datasets` saved (`save_to_disk`): one data set, or `dataset_dict.json` and a folder per split."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tunesmith.data.formats import Row, SourceFormat
from tunesmith.data.formats._files import DataFile, local_path, refuse_links
from tunesmith.data.formats.arrow import format as arrow_format
from tunesmith.errors import DataError

_STATE, _SPLITS = "state.json", "dataset_dict.json"


def _claims(source: str) -> bool:
    folder = local_path(source)
    return folder is not None and any(os.path.isfile(folder / name) for name in (_STATE, _SPLITS))


def _folder(source: str) -> Path:
    return local_path(source) or Path(source)


def _rows(source: str, notices: list[str]) -> Iterator[tuple[str, Row]]:
    for path in _shards(_folder(source)):
        file = DataFile(str(path), notices)
        file.refuse_missing()
        yield from ((file.name, row) for row in arrow_format.rows(file))


def _shards(folder: Path) -> list[Path]:
    """The Arrow files of a data set, in the order of its rows."""
    if splits := _splits(folder):
        written = ", ".join(f"`{folder / name}`" for name in splits)
        raise DataError(
            f"`{folder}` holds {len(splits)} data sets, and none of them is called `train`."
            if "train" not in splits
            else f"`{folder}` holds {len(splits)} data sets, and a source must be one.",
            remedy=f"Name one: {written}.",
        )
    try:
        shards = [folder / part["filename"] for part in _json(folder / _STATE)["_data_files"]]
    except (KeyError, TypeError):
        raise DataError(
            f"`{folder / _STATE}` does not name the data set's files.",
            remedy=f"Save the data set again, or name its files: {_arrow_files(folder)}.",
        ) from None
    refuse_links(folder, [place for shard in shards for place in (shard, shard.parent)])
    return shards


def _splits(folder: Path) -> list[str]:
    if not (folder / _SPLITS).is_file():
        return []
    names = _json(folder / _SPLITS).get("splits")
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def _json(path: Path) -> Any:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"`{path}` is not JSON: {error}.", remedy="Save the data set again.") from None
    return value if isinstance(value, dict) else {}


def _arrow_files(folder: Path) -> str:
    return ", ".join(f"`{path}`" for path in sorted(folder.glob("*.arrow"))) or "there is no .arrow file"


def _files(source: str) -> list[Path]:
    files = sorted(path for path in _folder(source).rglob("*.arrow") if path.is_file())
    refuse_links(_folder(source), files)
    return files


def _fingerprint(source: str) -> bytes:
    return b"".join(DataFile(str(path)).sha256() for path in _files(source))


def _parts(source: str) -> list[tuple[str, str]]:
    return [(name, str(_folder(source) / name)) for name in _splits(_folder(source))]


format = SourceFormat(
    "a folder that `datasets` saved with `save_to_disk`",
    claims=_claims,
    rows=_rows,
    files=_files,
    fingerprint=_fingerprint,
    name=lambda source: str(_folder(source)),
    parts=_parts,
)
