"""What a run must have to be served, and the checksums of the files that answer.

A run that came to its end may have lost files since: a copy that broke off, a full disk, a clean-up. So each
file is looked at. Of weights, the head of the file says how long it must be, and no library is needed to read
it.
"""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.errors import RunError
from tunesmith.run.files import sha256_of
from tunesmith.run.folder import Run
from tunesmith.run.json_files import read_json

if TYPE_CHECKING:
    from collections.abc import Mapping

_CONFIGS = ("config.json", "adapted_model_config.json")
_TOKENIZERS = ("tokenizer.json", "tokenizer_config.json")
_INDEX = "model.safetensors.index.json"
_LENGTH = struct.Struct("<Q")
_MOST_NAMED = 5


def complete_run(path: str | os.PathLike[str]) -> Run:
    """A run that has all it needs to be served.

    Raises:
        RunError: it is not finished, or a file is missing or broken off.
    """
    run = Run.open(path)
    run.recipe()
    if "primary" not in run.metrics:
        raise _damaged(run, "`metrics.json` has no primary score")
    for names in (_CONFIGS, _TOKENIZERS):
        if not any((run.model / name).is_file() for name in names):
            raise _damaged(run, f"`model/{names[0]}` is not there")
    for file in run.model.glob("*.json"):
        read_json(file)
    weights = sorted(run.model.rglob("*.safetensors"))
    if not weights:
        raise _damaged(run, "`model` has no weights")
    missing = _shards_in_index(run.model) - {file.name for file in weights}
    if missing:
        raise _damaged(run, f"`model/{min(missing)}` is not there")
    for file in weights:
        if not is_whole(file):
            raise _damaged(run, f"`{file.relative_to(run.path)}` is broken off")
    return run


def answering_files(run: Run) -> dict[str, str]:
    """The SHA-256 of each file on which the answers of a run depend, by its path within the run."""
    wanted = (run.recipe_file, *sorted(run.model.rglob("*")))
    return {
        file.relative_to(run.path).as_posix(): sha256_of(file)
        for file in wanted
        if file.is_file() and file.suffix != ".md"
    }


def refuse_changed(run: Run, known: Mapping[str, str]) -> None:
    """Raises RunError when files of a run are others than those known.

    Args:
        run: run to look at.
        known: SHA-256 of each file, from `answering_files`.
    """
    now = answering_files(run)
    changed = sorted(name for name in {*known, *now} if known.get(name) != now.get(name))
    if changed:
        more = f", and {len(changed) - _MOST_NAMED:,} more" if len(changed) > _MOST_NAMED else ""
        raise RunError(
            f"the run `{run.path}` has changed since it was promoted: "
            f"{', '.join(f'`{name}`' for name in changed[:_MOST_NAMED])}{more}.",
            remedy="Promote it again if the change is wanted: `tunesmith promote`. Else promote another run.",
        )


def is_whole(file: Path) -> bool:
    """Whether a safetensors file is as long as its head says."""
    size = file.stat().st_size
    with file.open("rb") as handle:
        first = handle.read(_LENGTH.size)
        if len(first) < _LENGTH.size:
            return False
        (length,) = _LENGTH.unpack(first)
        if _LENGTH.size + length > size:
            return False
        try:
            head = json.loads(handle.read(length))
            end = max(
                (tensor["data_offsets"][1] for name, tensor in head.items() if name[:2] != "__"), default=0
            )
        except (ValueError, TypeError, KeyError, IndexError, AttributeError):
            return False
    return bool(_LENGTH.size + length + end == size)


def _shards_in_index(model: Path) -> set[str]:
    """The names of the files that hold parts of the weights."""
    if not (model / _INDEX).is_file():
        return set()
    return set(map(str, read_json(model / _INDEX).get("weight_map", {}).values()))


def _damaged(run: Run, what: str) -> RunError:
    return RunError(
        f"`{run.path}` cannot be served: {what}.",
        remedy="Copy the run again, or train it again with `--force`.",
    )
