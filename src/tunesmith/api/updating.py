"""`update`: a challenger for a champion, promoted only if it is better."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.api.keywords import suggesting
from tunesmith.api.recipes import as_sources
from tunesmith.api.using import draft_of, open_door, showing

if TYPE_CHECKING:
    from tunesmith.events import Listener
    from tunesmith.lifecycle.updating import Asked

File = str | os.PathLike[str]


class Update(dict[str, Any]):
    """What an update decided, as a mapping: the content of `update.json`, and `folder`."""

    @property
    def page(self) -> Path:
        """The report, `update.html`."""
        return Path(self["folder"]) / "update.html"

    def __repr__(self) -> str:
        from tunesmith.reports.update import update_lines

        return "\n".join(update_lines(self))


@suggesting
def update(
    run: File,
    data: Any = None,
    *,
    log: File | None = None,
    registry: File | None = None,
    start: str = "both",
    merge: str = "all",
    rows: int | None = None,
    holdout: float = 0.3,
    margin: float = 0.02,
    risk: float = 0.05,
    level: float = 0.05,
    slices: Sequence[str] = (),
    columns: Mapping[str, str | list[str]] | None = None,
    output_dir: File | None = None,
    should_stop: Callable[[], bool] | None = None,
    progress: bool = True,
    listeners: Iterable[Listener] = (),
) -> Update:
    """Trains a challenger on new rows, compares it with the champion, and promotes it only if it is better.

    Args:
        run: the champion, or the folder of a registry.
        data: new rows: a file, several, or rows in memory.
        log: a prediction log, whose rows with feedback are new rows.
        registry: a registry, in which a better challenger is promoted; without it, it is only proposed.
        start: what challengers begin from: `champion`, `base` or `both`.
        merge: which old rows are learned again: `all`, `window` or `replay`.
        rows: rows of the window, or old rows that are replayed.
        holdout: share of the new rows that both models are compared on.
        margin: largest loss on the old rows that is accepted, 0.02 for two points.
        risk: chance that a loss of the margin on the old rows is overlooked; with few old rows, a greater one is
            needed to promote anything.
        level: level of the tests.
        slices: columns by whose values nothing may get worse, besides those of the champion's recipe.
        columns: the data's column for each of the task's; those of the champion when None.
        output_dir: the folder of the update; a new one beside the champion when None.
        should_stop: asked after every step of a training; when it gives True, everything is saved and the update
            ends with InterruptedRunError.
        progress: whether to show what happens.
        listeners: called with every event (`tunesmith.events`).

    Raises:
        UserError: the run, the registry or the rows cannot be used.
        InterruptedRunError: a signal or `should_stop` stopped a training; the same call goes on.
    """
    from tunesmith.events import Events
    from tunesmith.lifecycle.updating import update as run_update
    from tunesmith.training.loop import never

    open_door()
    given: dict[str, Any] = {
        "log": log, "registry": registry, "start": start, "merge": merge, "rows": rows, "holdout": holdout,
        "margin": margin, "risk": risk, "level": level, "slices": slices, "columns": columns,
        "output_dir": output_dir,
    }  # fmt: skip
    champion = asked_of(run, ["-"], **given).champion(Events())
    sources, _held = ([], []) if data is None else as_sources(draft_of(champion), data, "")
    asked = asked_of(run, sources, **given)
    with showing(progress, listeners) as shown:
        return Update(run_update(asked, listeners=shown, should_stop=should_stop or never))


def asked_of(
    run: File,
    sources: Sequence[str],
    *,
    log: File | None,
    registry: File | None,
    start: str,
    merge: str,
    rows: int | None,
    holdout: float,
    margin: float,
    risk: float,
    level: float,
    slices: Sequence[str],
    columns: Mapping[str, str | list[str]] | None,
    output_dir: File | None,
) -> Asked:
    """What is asked of an update; the arguments are those of `update`."""
    from tunesmith.evaluation.promotion import Rule
    from tunesmith.lifecycle.merging import Merge
    from tunesmith.lifecycle.updating import Asked

    return Asked(
        run, tuple(sources), columns or {}, "" if log is None else os.fspath(log),
        None if registry is None else Path(registry), start, Merge(merge, rows), holdout,
        Rule(level, margin, risk), tuple(slices), None if output_dir is None else Path(output_dir),
    )  # fmt: skip
