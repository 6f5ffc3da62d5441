"""Weights & Biases: offline files in `./wandb`, unless `WANDB_MODE` says otherwise."""

from __future__ import annotations

import os
from pathlib import Path

from tunesmith._telemetry import import_tracker
from tunesmith.trackers import PROJECT, Opened, TrackedRun, Tracker


def _open(run: TrackedRun) -> Opened:
    from accelerate.tracking import WandBTracker

    wandb = import_tracker("wandb")
    tracker = WandBTracker(
        os.environ.get("WANDB_PROJECT", PROJECT),
        name=run.name,
        id=run.run_id,
        resume="allow",
        mode=os.environ.get("WANDB_MODE", "offline"),
        settings=wandb.Settings(silent=True),
    )
    tracker.start()

    def save(path: Path) -> None:
        artefact = wandb.Artifact(f"report-{run.run_id[:12]}", type="report")
        artefact.add_file(str(path))
        tracker.run.log_artifact(artefact)

    def close(is_done: bool) -> None:
        tracker.run.finish(exit_code=0 if is_done else 1)

    return Opened(tracker, {"id": run.run_id}, save=save, close=close)


tracker = Tracker(
    "offline files in ./wandb, or the server where WANDB_MODE is online", _open, ("wandb",), "wandb"
)
