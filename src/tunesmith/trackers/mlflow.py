"""MLflow: files in `./mlruns`, or wherever `MLFLOW_TRACKING_URI` says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tunesmith._telemetry import import_tracker
from tunesmith.trackers import PROJECT, Opened, TrackedRun, Tracker


def _open(run: TrackedRun) -> Opened:
    from accelerate.tracking import MLflowTracker

    mlflow = import_tracker("mlflow")
    uri = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else _files()
    before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
    mlflow.set_tracking_uri(uri)
    tracker = MLflowTracker(
        PROJECT,
        run_id=run.known.get("run_id"),
        run_name=run.name,
        tags={"tunesmith.run_id": run.run_id},
        nested_run=mlflow.active_run() is not None,
    )
    tracker.start()
    run_id = tracker.tracker.info.run_id

    def close(is_done: bool) -> None:
        mlflow.end_run("FINISHED" if is_done else "KILLED")
        mlflow.set_tracking_uri(before)

    return Opened(
        tracker,
        {"run_id": run_id, "tracking_uri": uri},
        has_recipe=bool(run.known),
        last_step=_last_step(mlflow, run_id) if run.known else 0,
        save=lambda path: mlflow.log_artifact(str(path)),
        close=close,
    )


def _files() -> str:
    # Without this, mlflow 3.17 demands a database for what it can still write to files.
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    return Path("mlruns").resolve().as_uri()


def _last_step(mlflow: Any, run_id: str) -> int:
    history = mlflow.MlflowClient().get_metric_history(run_id, "train/loss")
    return max((int(entry.step) for entry in history), default=0)


tracker = Tracker("files in ./mlruns, or the server of MLFLOW_TRACKING_URI", _open, ("mlflow",), "mlflow")
