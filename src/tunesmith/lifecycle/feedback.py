"""Rows of a prediction log whose right label somebody has said, as new rows to learn from.

They need the texts: a log that keeps hashes (`serve --log hashed`) cannot be learned from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.data.row_files import write_rows
from tunesmith.data.task_rows import ORIGIN
from tunesmith.errors import DataError
from tunesmith.events import Events
from tunesmith.monitoring.prediction_log import read_log

if TYPE_CHECKING:
    from tunesmith.tasks import Task
    from tunesmith.types import JsonObject

FEEDBACK_FILE = "feedback.jsonl"


def write_feedback(
    log: str, task: Task, columns: Sequence[JsonObject], folder: Path, events: Events
) -> Path | None:
    """Writes the rows of a log that have feedback; None if there are none.

    Args:
        log: folder or URL of the log.
        task: task that reads the rows.
        columns: `data.columns` of the champion's files: clients may have used these names.
        folder: folder for the file.
        events: listeners.

    Raises:
        DataError: the log has feedback, and keeps no texts.
    """
    counts = {"rows": 0, "without_text": 0}

    def rows() -> Iterator[JsonObject]:
        counts.update(rows=0, without_text=0)
        for answer in read_log(log):
            if "feedback" not in answer:
                continue
            if answer["text"] is None:
                counts["without_text"] += 1
                continue
            counts["rows"] += 1
            yield _row(task, columns, answer)

    path = folder / FEEDBACK_FILE
    write_rows(path, rows)
    if counts["without_text"] and not counts["rows"]:
        raise DataError(
            f"the log `{log}` has feedback on {counts['without_text']:,} answers, and no texts to learn from.",
            remedy="Serve with `--log text`.",
        )
    if counts["without_text"]:
        events.warn(f"{counts['without_text']:,} rows with feedback have no text in the log and are left out")
    if not counts["rows"]:
        path.unlink()
        return None
    return path


def count_feedback(log: str) -> int:
    """The number of rows of a log that have feedback and a text."""
    return sum("feedback" in answer and answer["text"] is not None for answer in read_log(log))


def _row(task: Task, columns: Sequence[JsonObject], answer: JsonObject) -> JsonObject:
    """A row by the task's columns."""
    return {
        **_inputs(task, columns, answer["text"]),
        **_targets(task, answer["feedback"]["label"]),
        ORIGIN: f"log:{answer['id']}",
    }


def _inputs(task: Task, columns: Sequence[JsonObject], asked: Any) -> JsonObject:
    if not isinstance(asked, Mapping):
        return {str(task.text_column or task.inputs[0]): asked}
    own = {column.name for column in task.columns if not column.target}
    if not asked.keys() <= own:
        for named in columns:
            theirs = {name: ours for ours, name in named.items() if isinstance(name, str) and ours in own}
            if asked.keys() & theirs.keys():
                return {str(theirs.get(name, name)): value for name, value in asked.items()}
    return dict(asked)


def _targets(task: Task, label: Any) -> JsonObject:
    """What is right, by the task's columns: the label alone, or a mapping of columns."""
    targets = [column.name for column in task.columns if column.target]
    if isinstance(label, Mapping) and label.keys() & set(targets):
        return dict(label)
    first = next((name for name in task.outputs if name in targets), targets[0])
    return {first: label}
