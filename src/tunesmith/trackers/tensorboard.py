"""TensorBoard: files in the run folder."""

from __future__ import annotations

import time
from pathlib import Path

from tunesmith.trackers import Opened, TrackedRun, Tracker


def _open(run: TrackedRun) -> Opened:
    from accelerate.tracking import TensorBoardTracker

    # What an earlier process wrote after the step that is resumed from is hidden.
    purge = {"purge_step": run.step + 1} if run.known else {}
    _wait_for_a_later_name(run.folder)
    tracker = TensorBoardTracker("", str(run.folder), **purge)
    tracker.start()
    return Opened(tracker, {"folder": run.folder.name}, has_recipe=bool(run.known))


def _wait_for_a_later_name(folder: Path) -> None:
    """TensorBoard reads files in the order of their names, which begin with the second of their start."""
    seconds = (int(file.name.split(".")[3]) for file in folder.glob("events.out.tfevents.*"))
    away = max(seconds, default=0) + 1 - time.time()
    if 0 < away <= 1:
        time.sleep(away)


tracker = Tracker("files in RUN/trackers/tensorboard", _open, ("tensorboard",), "tensorboard")
