"""`--label` and `--text`: which of a task's columns a person means who names the label or the text of a file."""

from __future__ import annotations

from collections.abc import Iterator

from tunesmith.errors import DataError
from tunesmith.tasks import Task


def readings_of(task: Task, label: str | None, text: str | None) -> Iterator[dict[str, str]]:
    """The ways to read a named label and a named text as columns of a task, the likeliest first.

    Args:
        task: task whose columns are meant.
        label: the file's column with what is learned; None where it is not named.
        text: the file's column with the text; None where it is not named.

    Yields:
        The file's column by column of the task; nothing where the task has no such column, or several.
    """
    labels, texts = label_columns(task), text_columns(task)
    if (label is not None and not labels) or (text is not None and not texts):
        return
    named = {} if text is None else {texts[0]: text}
    if label is None:
        yield named
    else:
        yield from ({**named, column: label} for column in labels)


def label_columns(task: Task) -> list[str]:
    """The columns of a task that one named label can be; none where it learns from several at once."""
    targets = [column for column in task.columns if column.target]
    required = [column.name for column in targets if column.required]
    return [column.name for column in targets] if not required else required if len(required) == 1 else []


def text_columns(task: Task) -> list[str]:
    """The column of a task that one named text is; none where it needs several texts."""
    texts = [column for column in task.columns if column.kind == "text" and not column.target]
    required = [column.name for column in texts if column.required]
    return [column.name for column in texts][:1] if not required else required if len(required) == 1 else []


def refuse_roles(task: Task, label: str | None, text: str | None) -> None:
    """Raises DataError where a label or a text is named, and the task has no such column."""
    for option, given, there in (("label", label, label_columns(task)), ("text", text, text_columns(task))):
        if given is not None and not there:
            columns = [column.name for column in task.columns if column.target == (option == "label")]
            raise DataError(
                f"one {option} is not enough for `{task.name}`"
                + (
                    f", which has the columns {_listed(columns)}."
                    if columns
                    else ", which learns from texts alone."
                ),
                remedy=f"Name them: `--column {columns[0]}=COLUMN`."
                if columns
                else f"Leave `--{option}` out.",
                location=f"`--{option} {given}`",
            )


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
