"""`monitor`: what has changed since the training of a run."""

from __future__ import annotations

import html
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.api.keywords import suggesting
from tunesmith.api.recipes import as_sources
from tunesmith.api.using import draft_of, open_door, showing

if TYPE_CHECKING:
    from tunesmith.events import Listener
    from tunesmith.types import JsonObject


class MonitorResult(dict[str, Any]):
    """What `tunesmith monitor --json` prints, as a mapping."""

    @property
    def windows(self) -> list[JsonObject]:
        """The windows, the oldest first: `window`, `rows`, and `statistics` by name."""
        return list(self["windows"])

    @property
    def alarms(self) -> list[JsonObject]:
        """The alarms: `window`, `statistic`, `p`, `text`, and `evidence`."""
        return list(self["alarms"])

    @property
    def ok(self) -> bool:
        """Whether there is no alarm."""
        return bool(self["ok"])

    def write(self, path: str | os.PathLike[str]) -> None:
        """Writes the page `monitor.html`, with a time line of every statistic."""
        from tunesmith.reports import monitor_page
        from tunesmith.run import write_atomically

        write_atomically(Path(path), monitor_page(self))

    def __repr__(self) -> str:
        from tunesmith.reports import monitor_lines

        return "\n".join(monitor_lines(self))

    def _repr_html_(self) -> str:
        from tunesmith.reports import monitor_lines

        return "".join(f"<p>{html.escape(line)}</p>" for line in monitor_lines(self))


@suggesting
def monitor(
    run: str | os.PathLike[str],
    data: Any = None,
    *,
    log: str | os.PathLike[str] | None = None,
    columns: Mapping[str, str | list[str]] | None = None,
    window: int = 500,
    last: int | None = None,
    served_as: str | None = None,
    alpha: float = 0.05,
    progress: bool = True,
    listeners: Iterable[Listener] = (),
) -> MonitorResult:
    """What has changed since the training of a run, in windows of rows: `monitor("runs/reviews", "new.csv")`.

    Args:
        run: the run, or its folder.
        data: a file, several, or rows in memory, in the order of time; labels are read where there are any.
        log: folder or URL of a prediction log, instead of `data`.
        columns: the data's column for each of the task's; those of the run when None.
        window: rows of a window.
        last: number of the newest windows to measure; all when None.
        served_as: name of the run in the log; that of its folder when None.
        alpha: probability of a false alarm in 30 windows.
        progress: whether to show what happens.
        listeners: called with every event (`tunesmith.events`).

    Raises:
        UserError: the run, the log, the data or an argument cannot be used.
    """
    from tunesmith import pipeline

    open_door()
    sources, _held = ([], []) if data is None else as_sources(draft_of(run), data, "")
    with showing(progress, listeners) as shown:
        found = pipeline.monitor(
            run, data=sources, log=None if log is None else os.fspath(log), columns=columns, window=window,
            last=last, served_as=served_as, alpha=alpha, listeners=shown,
        )  # fmt: skip
    return MonitorResult(found)
