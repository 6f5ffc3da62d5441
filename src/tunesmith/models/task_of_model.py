"""The object that stands for a task with one model: writing tasks differ for a decoder alone."""

from __future__ import annotations

import json
from pathlib import Path

from tunesmith.models.resolve import config_file
from tunesmith.tasks import Task


def task_of_model(task: Task, folder: Path) -> Task:
    """The task as a model learns it: the same object, or the one for decoders.

    Args:
        task: task by its name.
        folder: folder with the config of the model.
    """
    if task.decoders is None:
        return task
    return task_of_family(task, json.loads(config_file(folder).read_text(encoding="utf-8")).get("model_type"))


def task_of_family(task: Task, kind: str | None) -> Task:
    """The task as models of a family learn it.

    Args:
        task: task by its name.
        kind: `model_type` of the config.
    """
    if task.decoders is None:
        return task
    from transformers.models.auto import modeling_auto

    if kind in modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES:
        return task
    is_decoder = kind in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    decoder: Task = task.decoders.task()
    return decoder if is_decoder else task
