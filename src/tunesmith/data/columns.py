"""Which column of the file is which column of the task.

Columns are chosen in this order: the columns that the recipe or the user names; the columns of the training;
columns with the task's own names; columns with the usual names, the most usual first; for a required column that
is still missing, the only column of the right kind. The choice is always reported. Two candidates that fit equally
well are an error, not a guess. A field within an object is named with dots (`meta.topic`), and is used only if it
is named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tunesmith.data.read_options import PLAIN_READING, ReadOptions
from tunesmith.errors import DataError, did_you_mean
from tunesmith.segmentation import has_unspaced, words
from tunesmith.tasks import Column, LabelSchema, Recognised, Task, Values

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

Getter = Callable[[Values], object]
"""Function that returns a column's value from a row of the file."""

_DEEPEST = 4
_MOST_NESTED = 20
_INVISIBLE = dict.fromkeys(map(ord, "\ufeff\u200b\u200c\u200d\u2060"))

_LONG_TEXT_WORDS = 3.0


@dataclass(frozen=True)
class View:
    """How a row of a file becomes a row of the task.

    Args:
        chosen: the file's column (or columns) for each column of the task, for people to read.
        values: function from a row of the file to values by the task's columns.
        named: `data.columns` that would read the same; empty for a format without such columns.
    """

    chosen: dict[str, str]
    values: Callable[[Values], JsonObject]
    named: JsonObject = field(default_factory=dict)


def choose_view(
    task: Task,
    sample: Sequence[Values],
    options: ReadOptions = PLAIN_READING,
    *,
    location: str,
    need_targets: bool = True,
    label_schema: LabelSchema | None = None,
) -> View:
    """How the rows of a file are read: as a format that the task recognises, else column by column.

    Args:
        task: task whose columns are read.
        sample: some rows of the file.
        options: the columns that are named, and those that a run was trained with.
        location: the file, for messages.
        need_targets: false where only predictions are wanted.
        label_schema: what was learned, where these are not the training rows.

    Raises:
        DataError: a named column does not exist, or a required one is not found.
    """
    header, named = header_of(sample), options.columns
    if options.remembered:
        there = [*header, *nested_columns(sample)]
        named = recall(task, options, there, location=location, need_targets=need_targets)
    if not named and (found := recognised(task, header, sample)) is not None:
        convert = found.convert if need_targets else found.read_inputs or found.convert
        return View({"rows": f"{found.name} ({', '.join(found.columns)})"}, convert, dict(found.named))
    return _view_of_columns(task, sample, named, location, need_targets, label_schema)


def recognised(task: Task, header: Sequence[str], sample: Sequence[Values]) -> Recognised | None:
    """The format of whole rows that a task finds in a file; None where it finds none, or knows none."""
    recognise = task.layouts.recognise if task.layouts is not None else None
    return recognise(header, sample) if recognise is not None else None


def _view_of_columns(
    task: Task,
    sample: Sequence[Values],
    named: Values,
    location: str,
    need_targets: bool,
    label_schema: LabelSchema | None,
) -> View:
    """Each of the task's columns from the columns of the file, named or found."""
    lists = {ours: theirs for ours, theirs in named.items() if isinstance(theirs, list)}
    for ours, theirs in lists.items():
        for name in theirs:
            _refuse_names(task, {ours: name}, sample, location)
    plain = {ours: theirs for ours, theirs in named.items() if ours not in lists}
    chosen = choose_columns(
        task, sample, plain, location=location, need_targets=need_targets, given=tuple(lists)
    )
    getters = {ours: column_of(theirs, sample, location) for ours, theirs in chosen.items()}
    seen = {ours: [getter(row) for row in sample] for ours, getter in getters.items()}
    layouts = task.layouts
    converters = layouts.converters(seen, label_schema) if layouts and layouts.converters else {}

    def values(row: Values) -> JsonObject:
        found = {ours: getter(row) for ours, getter in getters.items()}
        found |= {ours: convert(found[ours]) for ours, convert in converters.items()}
        return found | {ours: {name: row.get(name) for name in names} for ours, names in lists.items()}

    shown = {**chosen, **{ours: ", ".join(names) for ours, names in lists.items()}}
    return View(shown, values, {**chosen, **lists})


def recall(
    task: Task,
    options: ReadOptions,
    header: Sequence[str],
    *,
    location: str,
    need_targets: bool,
) -> JsonObject:
    """The columns that a run was trained with, for another file; columns that the user names override them.

    Args:
        task: of the run.
        options: the columns of each file that the run read, those of the first training file first; and those
            that the user names.
        header: of the file.
        location: the file, for messages.
        need_targets: false where only predictions are wanted.

    Raises:
        DataError: the file has none of these sets of columns.
    """
    named = options.columns
    wanted = _needed_columns(task, options.remembered, header, need_targets=need_targets)
    for columns in wanted:
        if not _absent({**columns, **named}, header):
            return {**columns, **named}
    absent = _absent({**wanted[0], **named}, header)
    there = {ours: theirs for ours, theirs in {**wanted[0], **named}.items() if ours not in absent}
    if named and has_alternatives(task) and not _lacking(task, list(there), need_targets=need_targets):
        return there
    ours, theirs = next(iter(absent.items()))
    if ours in named:
        return dict(named)  # the reader of the named columns raises the error
    raise DataError(
        f"the run was trained with `{ours}` = column `{theirs}`, and there is no column `{theirs}`.",
        remedy=f"Name the column that holds it: `--column {ours}=COLUMN`. The file has: {_listed(header)}.",
        location=location,
    )


def _needed_columns(
    task: Task, remembered: Sequence[Values], header: Sequence[str], *, need_targets: bool
) -> list[JsonObject]:
    """The columns of each file of the training, without those that another file may lack."""
    not_needed = {column.name for column in task.columns if column.target and not need_targets}
    spare = {column.name for column in task.columns if column.together and not column.required}
    return [
        {
            ours: theirs
            for ours, theirs in columns.items()
            if ours not in not_needed and not (ours in spare and theirs not in header)
        }
        for columns in remembered
    ]


def has_alternatives(task: Task) -> bool:
    """Whether some columns of a task can stand for others: words for a text, messages for a prompt."""
    return task.layouts is not None and task.layouts.lacks is not None


def _lacking(task: Task, chosen: Sequence[str], *, need_targets: bool) -> str:
    """A column that must be there besides the required ones; empty when nothing is missing."""
    lacks = task.layouts.lacks if task.layouts is not None else None
    return lacks(chosen, need_targets) if lacks is not None else ""


def _absent(columns: Values, header: Sequence[str]) -> dict[str, str]:
    """The task's columns for which the file lacks a column, with that column."""
    lists = {ours: names if isinstance(names, list) else [names] for ours, names in columns.items()}
    return {
        ours: next(name for name in names if name not in header)
        for ours, names in lists.items()
        if not set(names) <= set(header)
    }


def header_of(sample: Sequence[Values]) -> list[str]:
    """The columns of some rows, in the order in which they first occur."""
    return list(dict.fromkeys(name for row in sample for name in row))


def value_of(name: str) -> Getter:
    """Function that returns a column's value from a row, or None if the row lacks the column."""
    return lambda row: row.get(name)


def column_of(name: str, sample: Sequence[Values], location: str) -> Getter:
    """Function that returns a named column's value from a row: that of a column, else of a field within objects.

    Args:
        name: name of the column, see `found_column`.
        sample: some rows of the file.
        location: name of the file, for messages.

    Raises:
        DataError: there is no such column.
    """
    found = found_column(name, sample, location)
    if found in header_of(sample):
        return value_of(found)
    path = found.split(".")
    return lambda row: _value_at(row, path)


def found_column(name: str, sample: Sequence[Values], location: str) -> str:
    """A column name in the file's spelling; spaces around it and invisible characters are ignored.

    Raises:
        DataError: there is no such column.
    """
    header, nested = header_of(sample), nested_columns(sample)
    if name in header or name in nested:
        return name
    found = next((column for column in header if _bare(column) == _bare(name)), None)
    if found is not None:
        return found
    known = [*header, *nested]
    raise DataError(
        f"there is no column `{name}`.",
        remedy=f"{did_you_mean(name, known)} The file has: {_listed(known)}.",
        location=location,
    )


def nested_columns(sample: Sequence[Values]) -> list[str]:
    """The fields within objects, named with dots."""
    found = dict.fromkeys(path for row in sample for path in _paths(row, "", _DEEPEST))
    return list(found)[:_MOST_NESTED]


def _paths(value: Values, prefix: str, depth: int) -> Iterator[str]:
    for name, part in value.items():
        if prefix:
            yield f"{prefix}{name}"
        if isinstance(part, dict) and depth:
            yield from _paths(part, f"{prefix}{name}.", depth - 1)


def _value_at(row: object, path: Sequence[str]) -> object:
    for name in path:
        row = row.get(name) if isinstance(row, Mapping) else None
    return row


def _bare(name: str) -> str:
    return name.translate(_INVISIBLE).strip()


def choose_columns(
    task: Task,
    sample: Sequence[Values],
    named: Mapping[str, str],
    *,
    location: str,
    need_targets: bool = True,
    given: Sequence[str] = (),
) -> dict[str, str]:
    """The file's column for each column of the task: `{"text": "review", "label": "stars"}`.

    Args:
        task: task whose columns are read.
        sample: some rows of the file.
        named: the recipe's `data.columns`.
        location: name of the file, for messages.
        need_targets: whether labels are needed; false for predictions.
        given: columns of the task that are read in another way.

    Raises:
        DataError: a named column does not exist, or a required one is not found.
    """
    header = header_of(sample)
    _refuse_names(task, named, sample, location)
    chosen = {ours: found_column(theirs, sample, location) for ours, theirs in named.items()}
    for column in task.columns:
        if column.name not in chosen and column.name not in given:
            _choose_by_name(column, header, chosen)
    for column in task.columns:
        if column.name in (*chosen, *given) or not column.required or (column.target and not need_targets):
            continue
        chosen[column.name] = _choose_by_kind(column, sample, chosen, location)
    lacking = _lacking(task, [*chosen, *given], need_targets=need_targets)
    if lacking:
        raise _missing(lacking, (), [*header, *nested_columns(sample)], location)
    return {c.name: chosen[c.name] for c in task.columns if c.name in chosen}


def _refuse_names(task: Task, named: Mapping[str, object], sample: Sequence[Values], location: str) -> None:
    refuse_wrong_names(named, [column.name for column in task.columns], f"`{task.name}`", sample, location)


def refuse_wrong_names(
    named: Mapping[str, object],
    known: Sequence[str],
    whose: str,
    sample: Sequence[Values],
    location: str,
) -> None:
    """Refuses a named column that the file does not have, or that `whose` task (empty for all) does not read.

    Raises:
        DataError: there is no such column.
    """
    for ours, theirs in named.items():
        if ours not in known:
            raise DataError(
                f"{whose} has no column `{ours}`." if whose else f"no task has a column `{ours}`.",
                remedy=f"{did_you_mean(ours, known)} `data.columns` maps the task's columns to the file's.",
                location="data.columns",
            )
        for name in theirs if isinstance(theirs, list) else [theirs]:
            found_column(str(name), sample, location)


def _choose_by_name(column: Column, header: list[str], chosen: dict[str, str]) -> None:
    lowered = {_bare(name).lower(): name for name in reversed(header)}
    for alias in (column.name, *column.aliases):
        found = lowered.get(alias)
        if found is not None and found not in chosen.values():
            chosen[column.name] = found
            return


def _choose_by_kind(
    column: Column, sample: Sequence[Values], chosen: Mapping[str, str], location: str
) -> str:
    header = header_of(sample)
    free = [name for name in header if name not in chosen.values()]
    fits = _FITS[column.kind]
    candidates = [name for name in free if fits([row.get(name) for row in sample])]
    if len(candidates) == 1:
        return candidates[0]
    raise _missing(column.name, candidates, [*header, *nested_columns(sample)], location)


def _missing(name: str, candidates: Sequence[str], header: Sequence[str], location: str) -> DataError:
    found = (
        f"{len(candidates)} columns could be it: {_listed(candidates)}"
        if candidates
        else "no column looks like it"
    )
    return DataError(
        f"the task needs a column `{name}`, and {found}.",
        remedy=f"Name it with `--column {name}=COLUMN`. The file has: {_listed(header)}.",
        location=location,
    )


def _is_text(values: Sequence[object]) -> bool:
    texts = [value for value in values if isinstance(value, str)]
    n_words = sum(len(words(text)) if has_unspaced(text) else len(text.split()) for text in texts)
    return bool(texts) and len(texts) >= 0.5 * len(values) and n_words / len(texts) >= _LONG_TEXT_WORDS


def _is_category(values: Sequence[object]) -> bool:
    known = [str(value) for value in values if value is not None and not isinstance(value, (list, dict))]
    distinct = len(set(known))
    return 2 <= distinct <= max(2, len(known) // 2)


def _is_number(values: Sequence[object]) -> bool:
    def number(value: Any) -> bool:
        try:
            float(value)
        except (TypeError, ValueError):
            return False
        return not isinstance(value, bool)

    return len({str(value) for value in values}) > 2 and all(map(number, values))


def _is_list(values: Sequence[object]) -> bool:
    return all(
        isinstance(value, (list, tuple)) or (isinstance(value, str) and value.startswith("["))
        for value in values
    )


_FITS = {"text": _is_text, "category": _is_category, "number": _is_number, "list": _is_list}


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "nothing"
