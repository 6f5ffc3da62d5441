"""Trackio: its database on this machine, or wherever `TRACKIO_SPACE_ID` or `TRACKIO_SERVER_URL` say."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tunesmith._telemetry import import_tracker
from tunesmith.trackers import PROJECT, Opened, TrackedRun, Tracker

_REMOTE = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL")


def _open(run: TrackedRun) -> Opened:
    from accelerate.tracking import TrackioTracker

    trackio = import_tracker("trackio")
    project = str(run.known.get("project") or os.environ.get("TRACKIO_PROJECT") or PROJECT)
    tracker = TrackioTracker(
        project,
        name=run.name,
        # Without an earlier start of this run, a run of the same name is another one.
        resume="allow" if run.known else "never",
        embed=False,
        auto_log_cpu=False,
        auto_log_gpu=False,
    )
    with _silent(), _nobody_asked(trackio):
        tracker.start()
    storage = trackio.run.SQLiteStorage
    last = storage.get_last_step(project, run.name, run_id=tracker.run.id) if run.known else None

    def save(path: Path) -> None:
        with _silent():
            trackio.log_artifact(path, name=f"{run.run_id[:12]}-{path.stem}", type="report")

    def close(is_done: bool) -> None:
        with _silent():
            trackio.finish()

    record = {"project": project, "name": run.name, "id": tracker.run.id}
    return Opened(tracker, record, last_step=int(last or 0), save=save, close=close)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Standard output belongs to the program, and trackio prints there."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


@contextlib.contextmanager
def _nobody_asked(trackio: Any) -> Iterator[None]:
    """On this machine alone, a run does not need the name of the user, which trackio asks the Hub for."""
    if any(os.environ.get(name) for name in _REMOTE):
        yield
        return
    module, ask = trackio.run, trackio.run._get_default_namespace
    module._get_default_namespace = lambda: None
    try:
        yield
    finally:
        module._get_default_namespace = ask


tracker = Tracker("trackio's database on this machine, or a Space", _open, ("trackio",), "trackio")
