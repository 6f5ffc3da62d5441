"""TensorBoard: files in the run folder."""

from __future__ import annotations

from tunesmith.trackers import Opened, TrackedRun, Tracker


def _open(run: TrackedRun) -> Opened:
    from accelerate.tracking import TensorBoardTracker

    # What an earlier process wrote after the step that is resumed from is hidden.
    purge = {"purge_step": run.step + 1} if run.known else {}
    tracker = TensorBoardTracker("", str(run.folder), **purge)
    tracker.start()
    return Opened(tracker, {"folder": run.folder.name}, has_recipe=bool(run.known))


tracker = Tracker("files in RUN/trackers/tensorboard", _open, ("tensorboard",), "tensorboard")
