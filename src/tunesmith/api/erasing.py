"""`forget`: a person's rows are found by id and removed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.api.keywords import suggesting
from tunesmith.api.using import Folder, open_door

if TYPE_CHECKING:
    from tunesmith.erasure import Erasure
    from tunesmith.run import Run


@suggesting
def forget(
    runs: Folder | Sequence[Folder] = (),
    *,
    row_id: str | Sequence[str] = (),
    where: Mapping[str, str] | None = None,
    text: str | Sequence[str] = (),
    id: str | Sequence[str] = (),
    log: Folder | Sequence[Folder] = (),
    registry: Folder | None = None,
    exclude: Folder = "forgotten.txt",
    dry_run: bool = False,
) -> Erasure:
    """Removes a person's rows from runs, logs and caches, and says which models have learned from them.

    Args:
        runs: runs, or folders of runs.
        row_id: ids of rows, as the files of a run name them: `train.csv:17`.
        where: values of columns, such as `{"customer": "17"}`; rows with any of them are meant.
        text: texts themselves.
        id: ids of answers in a log, or of requests: the header `x-tunesmith-log-id`.
        log: folders or URLs of prediction logs.
        registry: folder of a registry, whose runs are searched, too, and its log beside it.
        exclude: file to which fingerprints of the rows are added, for `data.exclude` of the next training.
        dry_run: only look.

    Returns:
        What was found: `runs`, `logs`, `cache`, and `trained_on`, the runs that have learned from the rows.

    Raises:
        UserError: nothing was asked for, a place is missing, or ids of rows could mean several rows.
    """
    from tunesmith.erasure import Asked, erase

    open_door()
    logs = [os.fspath(one) for one in _listed(log)]
    found = {run.path.resolve(): run for folder in _listed(runs) for run in _runs_in(Path(os.fspath(folder)))}
    if registry is not None:
        found |= {run.path.resolve(): run for run in _runs_of(Path(os.fspath(registry)))}
        beside = f"{Path(os.fspath(registry)).resolve()}-log"
        logs += [beside] if os.path.isdir(beside) and beside not in logs else []
    asked = Asked(_texts(row_id), {k: str(v) for k, v in (where or {}).items()}, _texts(text), _texts(id))
    return erase(asked, runs=list(found.values()), logs=logs, exclude=Path(exclude), dry_run=dry_run)


def _listed(given: Folder | Sequence[Folder]) -> list[Folder]:
    return [given] if isinstance(given, str | os.PathLike) else list(given)


def _texts(given: str | Sequence[str]) -> list[str]:
    return [given] if isinstance(given, str) else list(given)


def _runs_in(folder: Path) -> list[Run]:
    """A run, or the finished runs of a folder."""
    from tunesmith.run import Run
    from tunesmith.run.history import runs_in

    if (folder / "manifest.json").is_file() or not folder.is_dir():
        return [Run.open(folder)]
    return [Run(entry.path) for entry in runs_in(folder) if entry.state == "finished"]


def _runs_of(registry: Path) -> list[Run]:
    """The runs that are or were the champion, where they are still there."""
    from tunesmith.api.promoting import promotions
    from tunesmith.run import Run

    return [Run(one.run) for one in promotions(registry) if (one.run / "manifest.json").is_file()]
