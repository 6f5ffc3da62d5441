"""One training of the ablation, in a process of its own: seconds of a step, of the run, and of a prediction.

What is left out is a trick of `tunesmith.acceleration`, an option of the process, or everything
(`train.acceleration: false`).
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

EVERYTHING = "acceleration"
"""The switch that users have."""
PROCESS = {
    "kept_memory": {},
    "few_spins": {"GOMP_SPINCOUNT": "300000"},
    "few_kernels": {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "1024", "LRU_CACHE_CAPACITY": "1024"},
}
"""Options of the process, and the variables that undo them: what the libraries do by themselves."""

_WARM_SHARE = 0.25
"""Of the steps, whose kernels are made first."""


def prepare_process(left_out: str) -> None:
    """Sets what the command line sets, before torch is imported, but for what is left out."""
    from tunesmith import process

    os.environ.update(PROCESS.get(left_out, {}))
    if left_out == "kept_memory":
        process._keep_freed_memory = lambda: None
    process.set_process_options()


def measured(spec: dict[str, Any]) -> dict[str, float]:
    """Trains and predicts.

    Args:
        spec: `model`, `train`, `test`, `folder`, `steps`, `batch`, `frozen` (layers), and `left_out` (a name, or
            nothing).
    """
    import tunesmith
    from tunesmith.acceleration import TRICKS, without
    from tunesmith.events import Event, Step

    ends: list[float] = []

    def listener(event: Event) -> None:
        if isinstance(event, Step):
            ends.append(time.perf_counter())

    left_out = spec["left_out"]
    recipe = {
        "train.acceleration": left_out != EVERYTHING,
        "train.max_steps": spec["steps"],
        "train.per_device_train_batch_size": spec["batch"],
        "train.freeze_layers": spec["frozen"],
        "train.eval_steps": spec["steps"],
        "train.learning_rate": 1e-4,
        "evaluate.baselines": False,
    }
    with without(*({left_out} & set(TRICKS))):
        run = tunesmith.train(
            model=spec["model"], data=spec["train"], test=spec["test"], output_dir=spec["folder"],
            overrides=recipe, listeners=[listener],
        )  # fmt: skip
        warm = max(1, round(_WARM_SHARE * len(ends)))
        step_s = (ends[-1] - ends[warm - 1]) / max(1, len(ends) - warm)
        stages = json.loads((run.path / "manifest.json").read_text(encoding="utf-8"))["stages_s"]
        texts_per_s = _texts_per_s(tunesmith.load(run.path), spec["test"])
    return {"step_s": step_s, "run_s": sum(stages.values()), "text_s": 1 / texts_per_s}


def _texts_per_s(predictor: Any, file: str) -> float:
    import csv

    with Path(file).open(encoding="utf-8", newline="") as handle:
        texts = [row["text"] for row in csv.DictReader(handle)]
    predictor(texts[:32])
    began = time.perf_counter()
    predictor(texts)
    return len(texts) / (time.perf_counter() - began)


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    prepare_process(given["left_out"])
    print(json.dumps(measured(given)))
