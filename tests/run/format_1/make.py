"""Makes the runs of this folder, with the version that wrote format 1: see README.md."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
from pathlib import Path

import tunesmith
from tunesmith import pipeline
from tunesmith.errors import InterruptedRunError
from tunesmith.recipe import Recipe
from tunesmith.testing.tiny import tiny_rows, write_rows, write_tiny_model
from tunesmith.training.loop import Loop

# Paths are relative to the folder that the runs are made in.
FINISHED = {
    "task": "fill-mask",
    "model": "base",
    "output_dir": "finished",
    "data": {"train": ["train.csv"], "test": ["test.csv"]},
    "train": {"num_train_epochs": 2, "learning_rate": 5e-3, "per_device_train_batch_size": 16, "bf16": False},
    "evaluate": {"bootstrap_samples": 100},
}
INTERRUPTED = {
    **FINISHED,
    "task": "text-classification",
    "output_dir": "interrupted",
    "train": {**FINISHED["train"], "num_train_epochs": 6, "eval_steps": 2, "save_steps": 4},
}
STOPPED_AFTER = 7
TEXTS = ["the [MASK] is red", "a big [MASK] near the crow"]


def main() -> None:
    """Writes `base`, the rows, both runs, and what the version made of them."""
    rows = tiny_rows(48)
    write_rows(Path("train.csv"), rows[:32])
    write_rows(Path("test.csv"), rows[32:])
    write_tiny_model(Path("base"), width=8, layers=1)
    pipeline.train(Recipe.model_validate(FINISHED))
    interrupt(INTERRUPTED)
    shutil.copytree("interrupted", "resumed")
    pipeline.train(Recipe.model_validate({**INTERRUPTED, "output_dir": "resumed"}))
    expected = {
        "predictions": tunesmith.predict("finished", TEXTS),
        "evaluation": pipeline.evaluate("finished", ["test.csv"]),
        "resumed": pipeline.evaluate("resumed", ["test.csv"]),
    }
    Path("expected.json").write_text(json.dumps(expected, indent=1) + "\n", encoding="utf-8")
    shutil.copy("resumed/model/model.safetensors", "resumed.safetensors")
    strip()


def interrupt(recipe: dict) -> None:
    """A run that a signal stops."""
    step = Loop._step

    def stopping(loop: Loop) -> None:
        step(loop)
        if loop.state.step == STOPPED_AFTER:
            os.kill(os.getpid(), signal.SIGTERM)

    Loop._step = stopping
    with contextlib.suppress(InterruptedRunError):
        pipeline.train(Recipe.model_validate(recipe))
    Loop._step = step


def strip() -> None:
    """Removes what no test reads."""
    shutil.rmtree("resumed")
    shutil.rmtree("finished/checkpoints")
    Path("finished/report.html").unlink()


if __name__ == "__main__":
    main()
