"""What the model gives away and what it refuses, before the training and after it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.inference.extraction import MOST_TEXTS, parts_to_write
from tunesmith.inference.harm import Asked, Harm, Told, ask
from tunesmith.pipeline.training_plan import TrainingPlan
from tunesmith.pipeline.work import Work
from tunesmith.run import write_json
from tunesmith.tasks import EncodeOptions
from tunesmith.tasks._values import strings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tunesmith.encoded import Encoded
    from tunesmith.types import Model


def harm_before(work: Work, plan: TrainingPlan) -> None:
    """Asks the base model, if it writes, and keeps its answers."""
    if work.task.generation is None or not work.processes.is_first or _file(work).is_file():
        return
    asked = _asked(work, plan)
    write_json(_file(work), {"asked": asked.name, **_told(work, plan, plan.model, asked).to_json()})


def harm(work: Work, plan: TrainingPlan, model: Model) -> Harm | None:
    """The answers of the base model and of a model after the training; None where it does not write."""
    if work.task.generation is None:
        return None
    asked = _asked(work, plan)
    before = json.loads(_file(work).read_text(encoding="utf-8")) if _file(work).is_file() else None
    if before is not None and before["asked"] != asked.name:
        work.events.warn(
            "the file of evaluate.canaries or evaluate.harmful_prompts has changed: the base model is not compared"
        )
        before = None
    told = _told(work, plan, model, asked)
    return Harm(asked, told, None if before is None else Told.from_json(before))


def training_texts(work: Work, plan: TrainingPlan) -> Iterator[str] | None:
    """Every text of the training rows, read or learned; None where the model does not write."""
    if work.task.generation is None:
        return None
    columns = plan.data.splits["train"].columns
    names = dict.fromkeys([*work.task.inputs, *work.task.outputs])
    return (text for name in names if name in columns for value in columns[name] for text in strings(value))


def _asked(work: Work, plan: TrainingPlan) -> Asked:
    return Asked.of(work.task, plan.recipe.evaluate, _parts(work, plan))


def _parts(work: Work, plan: TrainingPlan) -> Encoded | None:
    train, seed = plan.data.splits["train"], plan.recipe.seed
    rows = np.random.default_rng(seed).permutation(len(train))[: 2 * MOST_TEXTS]
    options = EncodeOptions(plan.encoded.max_length, "score")
    columns = train.take(np.sort(rows)).columns
    return parts_to_write(work.task.encode(columns, plan.tokenizer, options, plan.data.label_schema), seed)


def _told(work: Work, plan: TrainingPlan, model: Model, asked: Asked) -> Told:
    how = (plan.encoded.max_length, plan.data.label_schema, work.events.progress)
    return ask(work.task, model, plan.tokenizer, asked, *how)


def _file(work: Work) -> Path:
    return work.run.checkpoints / "harm.json"
