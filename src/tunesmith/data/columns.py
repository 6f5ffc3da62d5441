"""Which column of the file is which column of the task.

In this order: what the recipe or the user names; what a run was trained with; a column of the task's own name; the
usual names, most usual first; for a required column still missing, the only column of the right kind. What was
chosen is always reported, and two candidates of equal right are an error, not a guess.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tunesmith.errors import DataError, did_you_mean
from tunesmith.segmentation import has_unspaced, words
from tunesmith.tasks import Column, Task

_LONG_TEXT_WORDS = 3.0


@dataclass(frozen=True)
class View:
    """How a row of a file becomes a row of the task.

    Args:
        chosen: the file's column (or columns) for each of the task's, as people read it.
        values: from a row of the file to values by the task's columns.
        named: `data.columns` that would read the same; empty for a format that has no such columns.
    """

    chosen: dict[str, str]
    values: Callable[[Mapping[str, Any]], dict[str, Any]]
    named: dict[str, Any] = field(default_factory=dict)


def choose_view(
    task: Task,
    sample: Sequence[Mapping[str, Any]],
    named: Mapping[str, Any],
    *,
    place: str,
    need_targets: bool = True,
    remembered: Sequence[Mapping[str, Any]] = (),
) -> View:
    """How the rows of a file are read: a format that the task recognises, else column by column.

    Args:
        task: whose columns are wanted.
        sample: some rows of the file.
        named: the recipe's `data.columns`, which wins over what is recognised.
        place: the file, for messages.
        need_targets: false where only predictions are wanted.
        remembered: the columns that a run was trained with, see `recall`.

    Raises:
        DataError: a named column does not exist, or a required one is not to be found.
    """
    header = list(dict.fromkeys(name for row in sample for name in row))
    if remembered:
        named = recall(task, remembered, header, named, place=place, need_targets=need_targets)
    if not named:
        found = task.recognise(header, sample)
        if found is not None:
            return View(
                {"rows": f"{found.name} ({', '.join(found.columns)})"}, found.convert, dict(found.named)
            )
    lists = {ours: theirs for ours, theirs in named.items() if isinstance(theirs, list)}
    for ours, theirs in lists.items():
        for name in theirs:
            _refuse_wrong_names(task, {ours: name}, header, place)
    plain = {ours: theirs for ours, theirs in named.items() if ours not in lists}
    chosen = choose_columns(task, sample, plain, place=place, need_targets=need_targets, given=tuple(lists))

    def values(row: Mapping[str, Any]) -> dict[str, Any]:
        found = {ours: row.get(theirs) for ours, theirs in chosen.items()}
        return found | {ours: {name: row.get(name) for name in names} for ours, names in lists.items()}

    shown = {**chosen, **{ours: ", ".join(names) for ours, names in lists.items()}}
    return View(shown, values, {**chosen, **lists})


def recall(
    task: Task,
    remembered: Sequence[Mapping[str, Any]],
    header: Sequence[str],
    named: Mapping[str, Any],
    *,
    place: str,
    need_targets: bool,
) -> dict[str, Any]:
    """The columns that a run was trained with, as names for another file; what the user names wins.

    Args:
        task: of the run.
        remembered: the columns of each file that the run read, those of the first training file first.
        header: of the file.
        named: by the user.
        place: the file, for messages.
        need_targets: false where only predictions are wanted.

    Raises:
        DataError: the file has none of these sets of columns.
    """
    targets = {column.name for column in task.columns if column.target and not need_targets}
    spare = {column.name for column in task.columns if column.together and not column.required}
    wanted = [
        {
            ours: theirs
            for ours, theirs in columns.items()
            if ours not in targets and not (ours in spare and theirs not in header)
        }
        for columns in remembered
    ]
    for columns in wanted:
        if not _absent({**columns, **named}, header):
            return {**columns, **named}
    absent = _absent({**wanted[0], **named}, header)
    there = {ours: theirs for ours, theirs in {**wanted[0], **named}.items() if ours not in absent}
    if named and has_alternatives(task) and not task.lacks(list(there), need_targets=need_targets):
        return there
    ours, theirs = next(iter(absent.items()))
    if ours in named:
        return dict(named)  # whose reader says what is wrong with it
    raise DataError(
        f"the run was trained with `{ours}` = column `{theirs}`, and there is no column `{theirs}`.",
        remedy=f"Name the column that holds it: `--column {ours}=COLUMN`. The file has: {_listed(header)}.",
        place=place,
    )


def has_alternatives(task: Task) -> bool:
    """Whether some columns of a task can stand for others: words for a text, messages for a prompt."""
    return type(task).lacks is not Task.lacks


def _absent(columns: Mapping[str, Any], header: Sequence[str]) -> dict[str, str]:
    """The task's columns of which the file lacks one, with that one."""
    lists = {ours: names if isinstance(names, list) else [names] for ours, names in columns.items()}
    return {
        ours: next(name for name in names if name not in header)
        for ours, names in lists.items()
        if not set(names) <= set(header)
    }


def choose_columns(
    task: Task,
    sample: Sequence[Mapping[str, Any]],
    named: Mapping[str, str],
    *,
    place: str,
    need_targets: bool = True,
    given: Sequence[str] = (),
) -> dict[str, str]:
    """The file's column for each column of the task: `{"text": "review", "label": "stars"}`.

    Args:
        task: whose columns are wanted.
        sample: some rows of the file.
        named: the recipe's `data.columns`.
        place: the file, for messages.
        need_targets: false where only predictions are wanted.
        given: the task's columns that are read in another way.

    Raises:
        DataError: a named column does not exist, or a required one is not to be found.
    """
    header = list(dict.fromkeys(name for row in sample for name in row))
    _refuse_wrong_names(task, named, header, place)
    chosen = dict(named)
    for column in task.columns:
        if column.name not in chosen and column.name not in given:
            _choose_by_name(column, header, chosen)
    for column in task.columns:
        if column.name in (*chosen, *given) or not column.required or (column.target and not need_targets):
            continue
        chosen[column.name] = _choose_by_kind(column, header, sample, chosen, place)
    lacking = task.lacks([*chosen, *given], need_targets=need_targets)
    if lacking:
        raise _missing(lacking, (), header, place)
    return {c.name: chosen[c.name] for c in task.columns if c.name in chosen}


def _refuse_wrong_names(task: Task, named: Mapping[str, str], header: list[str], place: str) -> None:
    names = [column.name for column in task.columns]
    for ours, theirs in named.items():
        if ours not in names:
            raise DataError(
                f"`{task.name}` has no column `{ours}`.",
                remedy=f"{did_you_mean(ours, names)} `data.columns` maps the task's columns to the file's.",
                place="data.columns",
            )
        if theirs not in header:
            raise DataError(
                f"there is no column `{theirs}` (for `{ours}`).",
                remedy=f"{did_you_mean(theirs, header)} The file has: {_listed(header)}.",
                place=place,
            )


def _choose_by_name(column: Column, header: list[str], chosen: dict[str, str]) -> None:
    lowered = {name.strip().lower(): name for name in reversed(header)}
    for alias in (column.name, *column.aliases):
        found = lowered.get(alias)
        if found is not None and found not in chosen.values():
            chosen[column.name] = found
            return


def _choose_by_kind(
    column: Column,
    header: list[str],
    sample: Sequence[Mapping[str, Any]],
    chosen: Mapping[str, str],
    place: str,
) -> str:
    free = [name for name in header if name not in chosen.values()]
    fits = _FITS[column.kind]
    candidates = [name for name in free if fits([row.get(name) for row in sample])]
    if len(candidates) == 1:
        return candidates[0]
    raise _missing(column.name, candidates, header, place)


def _missing(name: str, candidates: Sequence[str], header: Sequence[str], place: str) -> DataError:
    found = (
        f"{len(candidates)} columns might be it: {_listed(candidates)}"
        if candidates
        else "none looks like it"
    )
    return DataError(
        f"the task needs a column `{name}`, and {found}.",
        remedy=f"Name it with `--column {name}=COLUMN`. The file has: {_listed(header)}.",
        place=place,
    )


def _is_text(values: Sequence[Any]) -> bool:
    texts = [value for value in values if isinstance(value, str)]
    n_words = sum(len(words(text)) if has_unspaced(text) else len(text.split()) for text in texts)
    return bool(texts) and len(texts) >= 0.5 * len(values) and n_words / len(texts) >= _LONG_TEXT_WORDS


def _is_category(values: Sequence[Any]) -> bool:
    known = [str(value) for value in values if value is not None and not isinstance(value, (list, dict))]
    distinct = len(set(known))
    return 2 <= distinct <= max(2, len(known) // 2)


def _is_number(values: Sequence[Any]) -> bool:
    def number(value: Any) -> bool:
        try:
            float(value)
        except (TypeError, ValueError):
            return False
        return not isinstance(value, bool)

    return len({str(value) for value in values}) > 2 and all(map(number, values))


def _is_list(values: Sequence[Any]) -> bool:
    return all(
        isinstance(value, (list, tuple)) or (isinstance(value, str) and value.startswith("["))
        for value in values
    )


_FITS = {"text": _is_text, "category": _is_category, "number": _is_number, "list": _is_list}


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "nothing"
