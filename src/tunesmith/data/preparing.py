"""From the recipe's data section to splits: read, learn the label schema, check it, hold out, find leaks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.examples import Examples, Moved, Reading, distinct_names, fingerprint, read_examples
from tunesmith.data.excluding import without_excluded
from tunesmith.data.folds import with_fold
from tunesmith.data.grouping import group_columns, notice_of_groups
from tunesmith.data.invalid_rows import InvalidRow, refuse_invalid_rows
from tunesmith.data.read_options import PLAIN_READING, ReadOptions
from tunesmith.data.reading import source_name, source_parts
from tunesmith.data.splits import hold_out, rows_among, text_keys
from tunesmith.errors import DataError, RecipeError
from tunesmith.recipe import DataRecipe, Recipe
from tunesmith.tasks import INSTRUCTION, ORDER, LabelSchema, RowError, Task

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

_SPLIT_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test",),
}
_SHOWN_LABELS = 5
_SET_ASIDE = "Fix them, or set them aside into a file with `data.bad_rows=set_aside`."


@dataclass(frozen=True)
class PreparedData:
    """The data of a run.

    Args:
        splits: `train`, `validation` and perhaps `test`.
        label_schema: the label schema that the task learned from the training rows.
        chosen: the file's column for each column of the task.
        views: `data.columns` that would read each source, those of the first training file first.
        invalid_rows: rows that were set aside.
        notices: notices for the user.
        realigned: answers that were found at another location than their rows give.
        notices_without_check: notices about what the checks of the data say better.
    """

    splits: dict[str, Examples]
    label_schema: LabelSchema
    chosen: Mapping[str, str]
    views: Sequence[JsonObject]
    invalid_rows: Sequence[InvalidRow]
    notices: Sequence[str]
    realigned: Sequence[Moved]
    notices_without_check: Sequence[str] = ()

    def row_ids_as_json(self) -> Iterator[str]:
        """The names of the rows of each split, as the text of a JSON object, piece by piece."""
        before = "{"
        for name, examples in self.splits.items():
            yield f"{before}\n  {json.dumps(name)}: ["
            for number, row_id in enumerate(examples.row_ids()):
                yield f"{',' if number else ''}\n    {json.dumps(row_id, ensure_ascii=False)}"
            yield "\n  ]"
            before = ","
        yield "\n}\n"


def find_splits(recipe: Recipe) -> Recipe:
    """The recipe with the splits of a source that holds several, unless the recipe names others."""
    data = recipe.data
    if len(data.train) != 1:
        return recipe
    parts = source_parts(data.train[0])
    found = {
        split: [source] for split in _SPLIT_NAMES if (source := _split_part(data.train[0], parts, split))
    }
    if "train" not in found:
        return recipe
    named = {
        split: sources
        for split, sources in found.items()
        if split == "train" or split not in data.model_fields_set
    }
    return recipe.replace(data=named)


def _split_part(source: str, parts: Sequence[tuple[str, str]], split: str) -> str:
    found = [(name, part) for name, part in parts if name.lower() in _SPLIT_NAMES[split]]
    if len(found) > 1:
        raise DataError(
            f"`{source_name(source)}` holds {len(found)} {split} parts: {', '.join(part for _, part in found)}.",
            remedy=f"Name one as `data.{split}`.",
        )
    return found[0][1] if found else ""


def all_sources(data: DataRecipe) -> list[str]:
    """Every source that the data section names."""
    return [source for sources in sources_of(data).values() for source in sources]


def data_fingerprint_of(data: DataRecipe) -> str:
    """SHA-256 over the content of all sources, and of the file of rows that are left out."""
    return fingerprint([*all_sources(data), *([] if data.exclude is None else [data.exclude])])


def sources_of(data: DataRecipe) -> dict[str, list[str]]:
    """The sources of each split that has sources of its own."""
    parts = {"train": data.train, "validation": data.validation, "test": data.test}
    return {split: part for split, part in parts.items() if isinstance(part, list)}


def prepare(task: Task, recipe: Recipe) -> PreparedData:
    """The splits of a recipe.

    Args:
        task: task whose columns are read.
        recipe: recipe, of which `data`, `seed`, and the slices and groups of `evaluate` are used.

    Raises:
        DataError: rows cannot be used and the recipe says to stop, or the data are not enough to train on.
    """
    data = recipe.data
    readings, label_schema = _read_splits(task, recipe)
    _refuse_unless_usable(readings, data)
    if data.exclude is not None:
        readings = {split: without_excluded(one, data.exclude) for split, one in readings.items()}
    usable = {split: reading.examples for split, reading in readings.items()}
    splits, notices, missing = _held_out(task, usable, data, recipe.seed, label_schema)
    if data.fold is not None:
        splits = with_fold(task, splits, data, recipe.seed)
    splits = _with_distinct_names(splits)
    invalid_rows = [problem for reading in readings.values() for problem in reading.invalid_rows]
    realigned = [moved for reading in readings.values() for moved in reading.realigned]
    views = [view for reading in readings.values() for view in reading.views]
    return PreparedData(
        splits,
        label_schema,
        readings["train"].chosen,
        [view for number, view in enumerate(views) if view not in views[:number]],
        invalid_rows,
        [
            *_notices_of(readings),
            *(notice for reading in readings.values() for notice in _misplaced(task, reading.examples)),
            *task.notices(splits["train"].columns, label_schema),
            *notices,
            *_notices(realigned, invalid_rows),
            *_notices_of_groups(splits, data.group_by),
        ],
        realigned,
        [*missing, *_shared_texts(splits)] if data.check == "off" else [],
    )


def _read_splits(task: Task, recipe: Recipe) -> tuple[dict[str, Reading], LabelSchema]:
    """The rows of every split that has sources, and what the task learned from the training rows."""
    data = recipe.data
    for_scores = [*recipe.evaluate.slices, *recipe.evaluate.groups]
    options = ReadOptions(
        data.columns, _train_extra(data, for_scores), align=data.align_answers, with_metadata=True
    )
    train = read_examples(task, data.train, options)
    if not len(train.examples):
        refuse_invalid_rows(train.invalid_rows, 0, remedy=_SET_ASIDE, notices=train.notices)
    learned = task.learn_label_schema(train.examples.columns)
    label_schema = {
        **learned,
        **_instruction(task, data.instruction, train.chosen),
        **_order(task, data.label_order, learned),
    }
    options = replace(options, extra=for_scores, optional=group_columns(data.group_by))
    readings = {"train": train}
    for split in ("validation", "test"):
        sources = getattr(data, split)
        if isinstance(sources, list):
            readings[split] = read_checked(task, sources, label_schema, options)
    return readings, label_schema


def _instruction(task: Task, asked: str, chosen: Mapping[str, str]) -> LabelSchema:
    """The entry of the label schema that says what a prompt asks for, where the task has prompts."""
    if task.instruction is None:
        return {}
    return {INSTRUCTION: task.instruction.default(chosen) if asked == "auto" else asked.strip()}


def _order(task: Task, asked: str | list[str], label_schema: LabelSchema) -> LabelSchema:
    """The entry of the label schema with the position of each label, where labels have an order.

    Raises:
        RecipeError: the order that is given does not hold each label once.
    """
    if task.ordered is None or asked == "none":
        return {}
    labels = label_schema["labels"]
    if not isinstance(asked, list):
        found = task.ordered.recognise(labels)
        return {} if found is None else {ORDER: found}
    if sorted(asked) != sorted(labels):
        raise RecipeError(
            f"an order must hold each label once, and has {', '.join(asked)}.",
            remedy=f"The labels are {', '.join(labels)}.",
            location="data.label_order",
        )
    return {ORDER: [asked.index(label) for label in labels]}


def _refuse_unless_usable(readings: Mapping[str, Reading], data: DataRecipe) -> None:
    """Raises DataError for invalid rows where the recipe says to stop, or where a split has no other rows."""
    sizes = [len(reading.examples) for reading in readings.values()]
    if data.bad_rows == "stop" or not min(sizes):
        invalid_rows = [problem for reading in readings.values() for problem in reading.invalid_rows]
        n_usable = sum(sizes) if min(sizes) else 0
        refuse_invalid_rows(invalid_rows, n_usable, remedy=_SET_ASIDE, notices=_notices_of(readings))


def _notices_of(readings: Mapping[str, Reading]) -> list[str]:
    return list(dict.fromkeys(notice for reading in readings.values() for notice in reading.notices))


def _notices_of_groups(splits: Mapping[str, Examples], group_by: str | None) -> list[str]:
    found = (notice_of_groups(examples, group_by) for examples in splits.values())
    return [notice for notice in found if notice]


def read_checked(
    task: Task,
    sources: Sequence[str],
    label_schema: LabelSchema,
    options: ReadOptions = PLAIN_READING,
) -> Reading:
    """The rows of the sources whose labels are in the label schema; all others are invalid rows.

    Raises:
        DataError: a source or a column is missing.
    """
    reading = read_examples(task, sources, options, label_schema=label_schema)
    return _checked(task, reading, label_schema)


def _train_extra(data: DataRecipe, for_scores: Sequence[str]) -> list[str]:
    needs_scores = not isinstance(data.validation, list) or not isinstance(data.test, list | None)
    extra = list(for_scores) if needs_scores else []
    return list(dict.fromkeys([*extra, *([data.group_by] if data.group_by else [])]))


def _checked(task: Task, reading: Reading, label_schema: LabelSchema) -> Reading:
    """Moves rows with a label that does not occur in the training rows to the invalid rows."""
    examples, invalid_rows = reading.examples, list(reading.invalid_rows)
    is_known = np.ones(len(examples), dtype=bool)
    for number, row in enumerate(examples.rows()):
        try:
            task.check_targets(row, label_schema)
        except RowError as error:
            is_known[number] = False
            invalid_rows.append(_fault(examples, number, error, row))
    if is_known.all():
        return replace(reading, invalid_rows=invalid_rows)
    return replace(reading, examples=examples.take(np.flatnonzero(is_known)), invalid_rows=invalid_rows)


def _fault(examples: Examples, number: int, error: RowError, row: JsonObject) -> InvalidRow:
    file = examples.file_index[number]
    line, unit = int(examples.lines[number]), examples.units[min(file, len(examples.units) - 1)]
    return InvalidRow(examples.files[file], line, str(error), row, unit, hint=error.hint)


def _held_out(
    task: Task, usable: dict[str, Examples], data: DataRecipe, seed: int, label_schema: LabelSchema
) -> tuple[dict[str, Examples], list[str], list[str]]:
    """Every split, with shares held out; notices for the user, and notices about labels without a row."""
    notices: list[str] = []
    missing: list[str] = []
    splits = dict(usable)
    for split in ("test", "validation"):
        share: Any = getattr(data, split)
        if isinstance(share, float):
            rest, held, notice = _deal(task, splits["train"], share, data.group_by, seed, split)
            splits[split] = splits["train"].take(held)
            splits["train"] = splits["train"].take(rest)
            notices += [notice] if notice else []
    for split in ("test", "validation"):
        if isinstance(getattr(data, split), float):
            missing += _missing_labels(task, splits["train"], splits[split], split, label_schema)
    names = [name for name in ("train", "validation", "test") if name in splits]
    return {name: splits[name] for name in names}, notices, missing


def _deal(
    task: Task, examples: Examples, share: float, group_by: str | None, seed: int, purpose: str
) -> tuple[NDArray[np.int64], NDArray[np.int64], str]:
    """Rows to keep, rows to hold out, and a notice if documents had to be split."""
    strata = [c.name for c in task.columns if c.target and c.kind == "category"]
    together = [c for c in task.columns if c.together and c.name in examples.columns]
    names = [column.name for column in together]
    how: JsonObject = {"strata": strata, "group_by": group_by, "seed": seed, "purpose": purpose}
    try:
        return *hold_out(examples, share, together=names, **how), ""
    except DataError:
        needed = [column.name for column in together if column.required]
        if needed == names:
            raise
    n = len({value for name in names if name not in needed for value in examples.columns[name]})
    notice = (
        f"train and {purpose} share rows of one document, since there are too few documents ({n}) to hold out "
        f"{share:.0%} of the rows: the {purpose} scores may be too good"
    )
    return *hold_out(examples, share, together=needed, **how), notice


def _missing_labels(
    task: Task, train: Examples, held: Examples, purpose: str, label_schema: LabelSchema
) -> list[str]:
    """Notices about labels without a row on one side."""
    names = set(label_schema.get("labels", ()))
    known, seen = (_labels_in(task, examples, names) for examples in (train, held))
    notices = []
    if unseen := sorted(known - seen):
        notices.append(f"{_counted(unseen)} no {purpose} row, so their scores are not known")
    if unlearned := sorted(seen - known):
        notices.append(f"{_counted(unlearned)} no training row, and cannot be learned")
    return notices


def _labels_in(task: Task, examples: Examples, names: set[str]) -> set[str]:
    """The labels of the rows, from columns of labels and from lists."""
    found: set[str] = set()
    for column in task.columns:
        if column.target and column.kind in ("category", "list") and column.name in examples.columns:
            for value in examples.columns[column.name]:
                labels = value if isinstance(value, (list, tuple)) else [value]
                found.update(label for label in labels if isinstance(label, str) and label in names)
    return found


def _counted(labels: Sequence[str]) -> str:
    if len(labels) == 1:
        return f"the label `{labels[0]}` has"
    shown = ", ".join(f"`{label}`" for label in labels[:_SHOWN_LABELS])
    more = f" and {len(labels) - _SHOWN_LABELS} more" if len(labels) > _SHOWN_LABELS else ""
    return f"{len(labels)} labels ({shown}{more}) have"


def _with_distinct_names(splits: dict[str, Examples]) -> dict[str, Examples]:
    """The splits, with file names that are unique across all splits."""
    names = distinct_names(file for examples in splits.values() for file in examples.files)
    return {
        split: replace(examples, names=tuple(names[file] for file in examples.files))
        for split, examples in splits.items()
    }


def _misplaced(task: Task, examples: Examples) -> list[str]:
    """What is wrong with the places in rows, file by file: each may come from another tool."""
    notices: list[str] = []
    if task.offsets is None:
        return notices
    for number, file in enumerate(examples.files):
        rows = np.flatnonzero(examples.file_index == number)
        of_file = examples if len(rows) == len(examples) else examples.take(rows)
        notices += [f"{Path(file).name}: {notice}" for notice in task.offsets.notices(of_file.columns)]
    return notices


def _notices(realigned: Sequence[Moved], invalid_rows: Sequence[InvalidRow]) -> list[str]:
    notices = []
    if realigned:
        differ = sum(moved.answer.text != moved.answer.found for moved in realigned)
        notices.append(
            f"{len(realigned)} answers were found at another location than their rows give, {differ} of "
            "them in another spelling; all are listed in data/realigned_answers.jsonl"
        )
    if invalid_rows:
        notices.append(f"{len(invalid_rows)} rows that cannot be used are set aside in data/bad_rows.jsonl")
    return notices


def _shared_texts(splits: Mapping[str, Examples]) -> list[str]:
    """What is said of rows that are scored and also trained on, where the data are not checked."""
    notices = []
    known = text_keys(splits["train"])
    for name, examples in splits.items():
        shared = 0 if name == "train" else len(rows_among(examples, known))
        if shared:
            notices.append(
                f"{shared} of {len(examples)} {name} rows have the same text as a training row: "
                f"they make the {name} scores too good"
            )
    return notices
