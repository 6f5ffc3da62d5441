"""What rows shall teach, in a form that can be compared: labels, numbers, texts."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tunesmith.checks import CheckedData
from tunesmith.data.examples import Examples
from tunesmith.data.splits import normalised
from tunesmith.tasks import Task

if TYPE_CHECKING:
    from tunesmith.tasks import Column


def target_of(task: Task, examples: Examples, row: int) -> str:
    """What a row teaches; equal texts for equal targets. Empty for a task without target columns."""
    values = {name: examples.columns[name][row] for name in task.outputs if name in examples.columns}
    return json.dumps(values, sort_keys=True, ensure_ascii=False, default=str) if values else ""


def shown_target(task: Task, examples: Examples, row: int) -> str:
    """The target of a row for people."""
    values = [examples.columns[name][row] for name in task.outputs if name in examples.columns]
    text = ", ".join(_shown(value) for value in values if value is not None)
    return text if len(text) <= 80 else f"{text[:80]}…"


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " ".join(_shown(item) for item in value) or "nothing"
    if isinstance(value, dict):
        return _shown(value.get("text", list(value.values())))
    return str(value)


def label_columns(data: CheckedData) -> list[Column]:
    """The target columns whose values are labels: one, several, or those of entities."""
    known = set(data.label_schema.get("labels", ()))
    if not known:
        return []
    columns = data.splits["train"].columns
    names = [name for name in data.task.outputs if name in columns]
    return [column for column in data.task.columns if column.name in names and column.kind != "text"]


def labels_of(data: CheckedData, split: str) -> Iterator[tuple[int, str]]:
    """The labels of the rows of a split, each with the number of its row."""
    for number, gold in enumerate(data.task.gold(data.splits[split].columns, data.label_schema)):
        for item in gold if isinstance(gold, list) else [gold]:
            label = item.get("entity_group") if isinstance(item, dict) else item
            if isinstance(label, str):
                yield number, label


def has_labels(data: CheckedData) -> bool:
    """Whether rows teach labels."""
    return bool(data.label_schema.get("labels")) and any(
        column.target and column.kind in ("category", "list") for column in data.task.columns
    )


def same_target(task: Task, examples: Examples, one: int, other: int) -> bool:
    """Whether two rows teach the same; texts are compared without case and white space."""
    a, b = (normalised(target_of(task, examples, row)) for row in (one, other))
    return a == b


def label_command(data: CheckedData) -> str:
    """What picks the rows that are worth labelling next, for the remedy of a finding; empty for other tasks."""
    if data.task.uncertainty is None:
        return ""
    task = "" if data.run else f" --task {data.task.name}"
    command = f"tunesmith label {shlex.quote(data.run or data.recipe.model)} --data POOL.csv --n 50{task}"
    return f"from rows without a label, `{command}` picks those that are worth most"
