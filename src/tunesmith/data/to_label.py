"""Files of rows that a person fills in: the rows of a pool as they stand there, with an empty column for labels.

`train` reads such a file when it is filled in. A row that was left open must not be learned as something: a blank
says so where the task refuses a blank, and `UNFILLED` elsewhere (a blank cell can mean "none of the labels").
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.data.reading import is_in_memory
from tunesmith.data.row_files import refuse_ending, write_rows
from tunesmith.errors import RecipeError
from tunesmith.tasks import RowError, Task
from tunesmith.tasks._values import UNFILLED, is_missing

if TYPE_CHECKING:
    from tunesmith.tasks import Values
    from tunesmith.types import JsonObject

_TABLES = (".csv", ".tsv")

Targets = Mapping[str, str | list[str]]
"""The file's column, or columns, for each of the task's columns that are labelled."""


def columns_in(targets: Targets) -> list[str]:
    """The file's columns that are filled in."""
    return [name for theirs in targets.values() for name in ([theirs] if isinstance(theirs, str) else theirs)]


def is_filled(value: object) -> bool:
    """Whether a person has given a value."""
    return not is_missing(value) and str(value).strip() not in ("", UNFILLED)


def default_file(task: Task, source: str) -> Path:
    """The name of the file where none is given: the pool's, with its ending if labels fit in a cell."""
    if is_in_memory(source):
        return Path("pool-to-label.jsonl")
    pool = Path(source.partition("#")[0])
    ending = (
        pool.suffix.lower() if pool.suffix.lower() in _TABLES and not task.outputs_per_token else ".jsonl"
    )
    return Path(f"{pool.stem or 'pool'}-to-label{ending}")


def refuse_file(path: Path, *, force: bool) -> None:
    """Raises RecipeError for a file that exists, or whose ending no writer has."""
    refuse_ending(path)
    if path.exists() and not force:
        raise RecipeError(f"`{path}` already exists.", remedy="Give another name, or `--force`.")


def write_to_label(
    path: Path, task: Task, rows: Sequence[Values], read: JsonObject, targets: Targets
) -> None:
    """Writes rows with nothing in the columns that are labelled.

    Args:
        path: file to write.
        task: task that will read it.
        rows: values of each row as they stand in the pool.
        read: values of one of them by the task's columns.
        targets: columns that are labelled.
    """
    is_table = path.suffix.lower() in _TABLES
    blanks = _blanks(task, read, targets, is_table=is_table)

    def lines() -> Iterator[Mapping[str, Any]]:
        for values in rows:
            yield {**{name: value for name, value in values.items() if name not in blanks}, **blanks}

    write_rows(path, lines)


def _blanks(task: Task, read: JsonObject, targets: Targets, *, is_table: bool) -> JsonObject:
    """What stands in each column that is labelled, until it is: a value that the task refuses."""
    blank = "" if is_table else None
    found: JsonObject = {}
    for ours, theirs in targets.items():
        names = [theirs] if isinstance(theirs, str) else theirs
        value = blank if _refuses(task, read, ours, theirs, blank) else UNFILLED
        found |= dict.fromkeys(names, value)
    return found


def _refuses(task: Task, read: JsonObject, ours: str, theirs: str | list[str], blank: object) -> bool:
    """Whether a row with a blank is one that cannot be used."""
    given = blank if isinstance(theirs, str) else dict.fromkeys(theirs, blank)
    try:
        task.read({**read, ours: given})
    except RowError:
        return True
    return False
