"""Which task a file is for, where nobody says so: every task is asked whether it can read the file.

Each task that can read the rows, and that they look like (`Task.resembles`), makes a claim on the columns that it
reads. The rules, in this order:

1. A claim on a part of what another claim takes is out: with a label, a text is no plain one.
2. Of several claims on the same columns, the one that knows them best stays: a format that it recognises comes
   before own names of columns, these before usual names, and these before values of the right kind.
3. Columns that are known by their names come before columns that are known by their values alone.

What is then left must be one task. Otherwise the guess would be the toss of a coin, and the user is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunesmith.data.columns import (
    choose_view,
    found_column,
    has_alternatives,
    header_of,
    recognised,
    refuse_wrong_names,
)
from tunesmith.data.preparing import find_splits
from tunesmith.data.read_options import ReadOptions
from tunesmith.data.reading import read_rows, read_sample, source_name
from tunesmith.data.roles import readings_of, refuse_roles
from tunesmith.errors import DataError, UserError
from tunesmith.recipe import DataRecipe, Recipe
from tunesmith.tasks import TASKS, Column, RowError, Task, Values

if TYPE_CHECKING:
    from tunesmith.data.columns import View
    from tunesmith.types import JsonObject

_SAMPLE_ROWS = 500
_READABLE = 0.5
_KIND, _USUAL_NAME, _OWN_NAME, _FORMAT = range(4)
_WHY = {
    _FORMAT: "the format of the rows",
    _OWN_NAME: "the names of the columns",
    _USUAL_NAME: "the names of the columns",
    _KIND: "what the columns hold",
}


@dataclass(frozen=True)
class Claim:
    """A task that can read a file.

    Args:
        task: the task.
        columns: the file's columns that it reads.
        strength: how its columns were found.
        shown: the file's column by column of the task, for people.
        is_typical: whether the values look like those that the task is for.
    """

    task: Task
    columns: frozenset[str]
    strength: int
    shown: Mapping[str, str]
    is_typical: bool

    def __str__(self) -> str:
        return (
            f"`{self.task.name}` ({', '.join(f'{ours} = `{theirs}`' for ours, theirs in self.shown.items())})"
        )


@dataclass(frozen=True)
class Guess:
    """The task of a file.

    Args:
        task: its name.
        why: reason, and the tasks that would read the same columns.
    """

    task: str
    why: str


def guess_task(
    sources: Sequence[str],
    named: Mapping[str, object] | None = None,
    *,
    label: str | None = None,
    text: str | None = None,
) -> Guess | None:
    """The task that a file is for; None where no row can be read, so that the reader names the reason.

    Args:
        sources: the training files; the first one is looked at.
        named: columns that the user named, by column of a task.
        label: the file's column with the label, if it was named.
        text: the file's column with the text, if it was named.

    Raises:
        DataError: no task can read the file, or several can equally well; or a named column is not there.
    """
    source = _first_source(sources)
    _, sample = read_sample(read_rows(source), _SAMPLE_ROWS)
    if not sample:
        return None
    location = source_name(source)
    _refuse_wrong_names(sample, named or {}, (label, text), location)
    readable = [claim for task in _tasks() for claim in _claims(task, sample, named or {}, label, text)]
    claims = [claim for claim in readable if claim.is_typical]
    left = _strongest([claim for claim in claims if not _is_part_of_another(claim, claims)])
    if not left:
        raise _no_task(sample, location)
    if len({claim.task.name for claim in left}) > 1:
        raise _several_tasks(left, location)
    return Guess(left[0].task.name, _reason(left[0], readable))


def columns_of_roles(
    task: Task,
    sources: Sequence[str],
    named: Mapping[str, object],
    *,
    label: str | None = None,
    text: str | None = None,
) -> dict[str, str]:
    """The file's column by column of a task, where a person names the label or the text.

    Args:
        task: task whose columns are meant.
        sources: the training files; the first one is looked at if the label can be one of several columns.
        named: columns that the user named, by column of the task.
        label: the file's column with the label, if it was named.
        text: the file's column with the text, if it was named.

    Raises:
        DataError: the task has no such column.
    """
    refuse_roles(task, label, text)
    ways = list(readings_of(task, label, text))
    if len(ways) == 1:
        return ways[0]
    _, sample = read_sample(read_rows(_first_source(sources)), _SAMPLE_ROWS)
    return next((roles for roles in ways if sample and _claim(task, sample, named, roles)), ways[0])


def _first_source(sources: Sequence[str]) -> str:
    return find_splits(Recipe(data=DataRecipe(train=list(sources)))).data.train[0]


def _tasks() -> list[Task]:
    entries, _ = TASKS.loadable()
    return list(entries.values())


def _claims(
    task: Task, sample: Sequence[Values], named: Mapping[str, object], label: str | None, text: str | None
) -> list[Claim]:
    """The claim of a task, for the first way to read the named columns that it can; none where it cannot."""
    found = (_claim(task, sample, named, roles) for roles in readings_of(task, label, text))
    return [
        claim
        for claim in found
        if claim and (label is None or {claim.shown.get(name) for name in _targets(task)} <= {label, None})
    ][:1]


def _targets(task: Task) -> list[str]:
    return [column.name for column in task.columns if column.target]


def _claim(task: Task, sample: Sequence[Values], named: Values, roles: Values) -> Claim | None:
    try:
        view = choose_view(task, sample, ReadOptions({**named, **roles}), location="")
    except UserError:
        return None
    read = _read(task, sample, view)
    if len(read) < _READABLE * len(sample):
        return None
    is_typical = task.resembles(_by_column(read))
    found = recognised(task, header_of(sample), sample) if "rows" in view.chosen else None
    if found is not None:
        return Claim(task, frozenset(found.columns), _FORMAT, view.chosen, is_typical)
    strengths = _strengths(task, view.chosen, named)
    if not strengths or (has_alternatives(task) and max(strengths) == _KIND):
        return None  # columns that are not required are known by their names alone
    columns = frozenset(name for part in view.chosen.values() for name in part.split(", "))
    return Claim(task, columns, min(strengths), view.chosen, is_typical)


def _read(task: Task, sample: Sequence[Values], view: View) -> list[JsonObject]:
    """The rows that the task can read."""
    read = []
    for row in sample:
        try:
            read.append(task.read(view.values(row)))
        except RowError:
            continue
    return read


def _by_column(rows: Sequence[JsonObject]) -> Values:
    return {name: [row.get(name) for row in rows] for name in dict.fromkeys(n for row in rows for n in row)}


def _strengths(task: Task, chosen: Mapping[str, str], named: Values) -> list[int]:
    """How each column that counts was found; one that the user named for a task is certain."""
    return [
        _OWN_NAME if column.name in named else _strength(column, chosen[column.name])
        for column in task.columns
        if column.name in chosen and (column.required or has_alternatives(task))
    ]


def _strength(column: Column, theirs: str) -> int:
    if _same(theirs, column.name):
        return _OWN_NAME
    return _USUAL_NAME if any(_same(theirs, alias) for alias in column.aliases) else _KIND


def _same(theirs: str, name: str) -> bool:
    return theirs.strip().lower() == name


def _is_part_of_another(claim: Claim, claims: Sequence[Claim]) -> bool:
    return any(claim.columns < other.columns for other in claims)


def _strongest(claims: Sequence[Claim]) -> list[Claim]:
    """The claims that rules 2 and 3 leave."""
    best = {
        columns: max(claim.strength for claim in claims if claim.columns == columns)
        for columns in {claim.columns for claim in claims}
    }
    is_named = any(strength > _KIND for strength in best.values())
    return [
        claim
        for claim in claims
        if claim.strength == best[claim.columns] and (claim.strength > _KIND or not is_named)
    ]


def _reason(claim: Claim, claims: Sequence[Claim]) -> str:
    others = sorted(
        f"`{other.task.name}`"
        for other in claims
        if other.task.name != claim.task.name
        and not other.columns < claim.columns
        and (other.is_typical or other.strength >= _OWN_NAME)
    )
    more = f"; {', '.join(others)} can read it, too (`--task`)" if others else ""
    return f"task: `{claim.task.name}`, guessed from {_WHY[claim.strength]}{more}"


def _several_tasks(claims: Sequence[Claim], location: str) -> DataError:
    listed = "\n".join(f"  - {claim}: {claim.task.summary}" for claim in claims)
    differ = len({claim.columns for claim in claims}) > 1
    by_label = ", or the column of what is learned: `--label COLUMN`" if differ else ""
    return DataError(
        f"several tasks fit the columns equally well:\n{listed}",
        remedy=f"Name the task: `--task {claims[0].task.name}`{by_label}.",
        location=location,
    )


def _no_task(sample: Sequence[Values], location: str) -> DataError:
    names = ", ".join(f"`{name}`" for name in header_of(sample))
    return DataError(
        f"no task recognises the columns: {names}.",
        remedy="Name the task and its columns: `--task text-classification --label COLUMN --text COLUMN`. "
        "`tunesmith list tasks` shows which columns each task reads.",
        location=location,
    )


def _refuse_wrong_names(
    sample: Sequence[Values], named: Mapping[str, object], roles: tuple[str | None, ...], location: str
) -> None:
    """Raises DataError for a named column that the file does not have, or that no task has."""
    known = sorted({column.name for task in _tasks() for column in task.columns})
    refuse_wrong_names(named, known, "", sample, location)
    for role in roles:
        if role is not None:
            found_column(role, sample, location)
