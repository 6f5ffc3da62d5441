"""Trainings of half a second that go through every kind of state: the subjects of the fault tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tunesmith.testing.tiny import tiny_task_rows, write_rows, write_tiny_model

_FAST = {"bootstrap_samples": 100, "baselines": False}

RECIPES: dict[str, dict[str, Any]] = {
    "full": {"train": {"head_start": False}},
    "probe + full": {"train": {"early_stopping_patience": 2}, "evaluate": {"baselines": True}},
    "LoRA": {"train": {"method": "lora", "lora_dropout": 0.1}},
    "frozen layers": {"train": {"freeze_layers": 1, "cache_frozen_layers": True}},
    "accumulation": {
        "train": {"gradient_accumulation_steps": 3, "per_device_train_batch_size": 4, "head_start": False}
    },
    "average": {"train": {"average_last": 0.5, "r_drop_alpha": 1.0, "head_start": False}},
    "masked LM": {"task": "fill-mask"},
    "packed LM": {"task": "text-generation", "data": {"packing": True}},
    "DPO": {"task": "preference"},
    "contrastive": {"train": {"method": "contrastive"}},
    "entities": {"task": "token-classification"},
    "translation": {"task": "translation"},
    "two processes": {
        "processes": 2,
        "train": {"gradient_accumulation_steps": 2, "per_device_train_batch_size": 4},
    },
    "tune": {
        "command": "tune",
        "train": {"max_steps": 8, "learning_rate": 1e-6, "head_start": False},
        "tune": {
            "trials": 3,
            "finalists": 1,
            "seeds": 1,
            "space": {"train.learning_rate": {"low": 3e-3, "high": 3e-2, "log": True}},
        },
    },
}
"""By name, what a recipe has beyond the usual; `command` is the verb if not `train`, `processes` their number."""

_FAMILIES = {"text-generation": "llama", "preference": "llama", "chat": "llama", "translation": "bart"}
_N_ROWS = {"train": 48, "validation": 12, "test": 12}


def write_recipe(name: str, base: Path) -> Path:
    """Writes a recipe with its data and its tiny model; returns its file.

    Args:
        name: name in `RECIPES`.
        base: folder for models and data, which several recipes share.
    """
    own = RECIPES[name]
    base.mkdir(parents=True, exist_ok=True)
    task = own.get("task", "text-classification")
    family = _FAMILIES.get(task, "bert")
    if not (base / family).is_dir():
        write_tiny_model(base / family, family=family)
    tree = {
        "task": task, "model": str(base / family), "output_dir": "run",
        "data": {**_data(task, base), **own.get("data", {})},
        "train": {
            "max_steps": 12, "eval_steps": 4, "save_steps": 2, "logging_steps": 1, "learning_rate": 5e-3,
            "per_device_train_batch_size": 8, **own.get("train", {}),
        },
        "evaluate": {**_FAST, **own.get("evaluate", {})},
        **({"tune": own["tune"]} if "tune" in own else {}),
    }  # fmt: skip
    file = base / f"{name.replace(' ', '-')}.yaml"
    file.write_text(yaml.safe_dump(tree))
    return file


def command_of(name: str, file: Path) -> list[str]:
    """The arguments of `tunesmith` for a recipe, whose run or search is then in the folder `run`."""
    verb = RECIPES[name].get("command", "train")
    return [verb, str(file), "--json", *(["--output-dir", "run"] if verb != "train" else [])]


def processes_of(name: str) -> int:
    """The number of processes that train a recipe together."""
    return int(RECIPES[name].get("processes", 1))


def _data(task: str, base: Path) -> dict[str, list[str]]:
    rows, found, start = tiny_task_rows(task, sum(_N_ROWS.values())), {}, 0
    for split, n in _N_ROWS.items():
        file = base / f"{task}-{split}.jsonl"
        if not file.exists():
            write_rows(file, rows[start : start + n])
        found[split], start = [str(file)], start + n
    return found
