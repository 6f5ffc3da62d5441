"""`promote`, `rollback` and `promotions`: which run of a registry is served."""

from __future__ import annotations

import getpass
import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.api.keywords import suggesting
from tunesmith.api.using import Folder, load

if TYPE_CHECKING:
    from tunesmith.run.champion import Promotion
    from tunesmith.types import JsonObject

NO_REASON = "none was given"


@suggesting
def promote(
    run: Folder,
    *,
    registry: Folder,
    reason: str = NO_REASON,
    by: str | None = None,
    evidence: Mapping[str, Any] | Folder | None = None,
) -> Promotion:
    """Makes a run the champion of a registry; servers of the registry switch to it without losing a request.

    The run is loaded, and answers one of its rows, before the pointer moves.

    Args:
        run: the run, or its folder.
        registry: folder of the registry; made if it is not there.
        reason: why, for the history.
        by: who; by default the user and the machine.
        evidence: what it rests on, as plain JSON, or the path of such a file: what `tunesmith compare --json`
            prints. By default the scores of both runs.

    Raises:
        RunError: the run is incomplete, gives no answer, is the champion already, or is for another task.
        RecipeError: the evidence is not plain JSON.
    """
    from tunesmith.run.champion import Registry

    found = Registry(registry)
    folder = Path(os.fspath(run))
    if isinstance(evidence, str | os.PathLike):
        evidence = _read(Path(evidence))
    if evidence is None:
        evidence = _scores(found, folder)
    _try(folder)
    return found.promote(folder, by=by or _who(), reason=reason, evidence=evidence)


@suggesting
def rollback(*, registry: Folder, reason: str = NO_REASON, by: str | None = None) -> Promotion:
    """Makes the champion before the current one the champion again; a second time, the one before that.

    Args:
        registry: folder of the registry.
        reason: why, for the history.
        by: who; by default the user and the machine.

    Raises:
        RunError: there was none before, or its files are gone or have changed.
    """
    from tunesmith.run.champion import Registry

    return Registry(registry).rollback(by=by or _who(), reason=reason)


@suggesting
def promotions(registry: Folder) -> list[Promotion]:
    """The history of a registry, the oldest first; the last one holds.

    Args:
        registry: folder of the registry.

    Raises:
        RunError: there is no registry in the folder.
    """
    from tunesmith.run.champion import Registry

    found = Registry(registry)
    found.current()
    return found.history()


def _who() -> str:
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container without a user
        user = "somebody"
    return f"{user}@{socket.gethostname()}"


def _read(file: Path) -> Mapping[str, Any]:
    from tunesmith.errors import RecipeError

    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecipeError(
            f"the evidence `{file}` cannot be read: {error}.", remedy="Give a JSON file."
        ) from None
    if not isinstance(found, dict):
        raise RecipeError(f"the evidence `{file}` must be a JSON object.", remedy='Example: {"p": 0.01}.')
    return found


def _scores(registry: Any, run: Path) -> JsonObject:
    """The primary scores of the run and of the champion."""
    from tunesmith.run.champion import is_registry
    from tunesmith.run.completeness import complete_run

    found: JsonObject = {"score": complete_run(run).metrics["primary"]}
    if is_registry(registry.folder):
        champion = registry.current()
        found["champion"] = {"promotion": champion.number, "run": str(champion.run)}
        if champion.run.is_dir():
            found["champion"]["score"] = complete_run(champion.run).metrics["primary"]
    return found


def _try(run: Path) -> None:
    """Raises UserError where a run cannot be loaded, or does not answer one of its rows."""
    from tunesmith.run.completeness import complete_run

    predictor = load(complete_run(run).path)
    file = next((run / "predictions").glob("*.jsonl"), None)
    if file is None or predictor.task.generation is not None:
        return
    with file.open(encoding="utf-8") as lines:
        row = json.loads(next(lines, "{}"))
    inputs = {name: row[name] for name in predictor.task.shown if row.get(name)}
    if inputs:
        predictor.predict_rows([inputs])
