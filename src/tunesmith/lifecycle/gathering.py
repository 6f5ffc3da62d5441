"""The champion's rows, and what becomes of each new row: known, leaking, learned, or held out to compare on.

A new row that is among the old ones already says nothing new. One whose text, or nearly, is a test or validation
row of the champion would make the scores of a challenger too good: it is never learned. One that the champion was
trained on, or nearly, would make the champion look too good: it is not compared on. Of the rest, a share is held
out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.examples import Examples, Reading, fingerprint, read_examples
from tunesmith.data.grouping import group_columns
from tunesmith.data.invalid_rows import refuse_invalid_rows
from tunesmith.data.preparing import all_sources, prepare, sources_of
from tunesmith.data.read_options import ReadOptions
from tunesmith.data.splits import hold_out
from tunesmith.data.task_rows import TakenRows, own_columns, write_task_rows
from tunesmith.data.train_texts import TrainTexts, read_train_texts
from tunesmith.errors import DataError, UserError
from tunesmith.evaluation.answered_rows import row_keys
from tunesmith.evaluation.candidate_slices import labels_of
from tunesmith.evaluation.result import final_split
from tunesmith.events import Events
from tunesmith.recipe import Recipe
from tunesmith.run import Run
from tunesmith.tasks import LabelSchema, Task

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

NEW_FILE, REST_FILE = "new.jsonl", "not_learned_again.jsonl"


@dataclass(frozen=True)
class OldRows:
    """The champion's rows.

    Args:
        task: its task.
        recipe: its recipe.
        splits: its rows by split, as it was trained.
        label_schema: what the task learned from its training rows.
        rest: rows that champions before it learned, and it did not; None for none.
        rest_file: file of these rows.
    """

    task: Task
    recipe: Recipe
    splits: Mapping[str, Examples]
    label_schema: LabelSchema
    rest: Examples | None = None
    rest_file: Path = Path()

    @property
    def label_names(self) -> set[str]:
        """The names of its labels, of entities those of their kinds; none for a task without labels."""
        labels = {str(label) for label in self.label_schema.get("labels", ())}
        return labels | {label[2:] for label in labels if label[:2] in ("B-", "I-")}

    @property
    def pool(self) -> list[Examples]:
        """All rows that can be learned again, the oldest first."""
        return [*([] if self.rest is None else [self.rest]), self.splits["train"]]

    def take_of_pool(self, rows: NDArray[np.int64]) -> list[TakenRows]:
        """Rows of the pool, numbered through, to be written."""
        if self.rest is None:
            return [self.take("train", rows)]
        n = len(self.rest)
        options = ReadOptions(own_columns(self.task, [self.rest_file]))
        rest = TakenRows([str(self.rest_file)], options, self.rest, rows[rows < n])
        return [rest, self.take("train", rows[rows >= n] - n)]

    @property
    def final(self) -> str:
        """The split that its score is from."""
        return final_split(self.splits)

    def take(self, split: str, rows: NDArray[np.int64] | None = None) -> TakenRows:
        """Rows of a split, to be written; all of them when None."""
        data, examples = self.recipe.data, self.splits[split]
        own = sources_of(data)
        rows = np.arange(len(examples)) if rows is None else rows
        options = ReadOptions(data.columns, align=data.align_answers)
        schema = self.label_schema if split in own and split != "train" else None
        return TakenRows(own.get(split, own["train"]), options, examples, rows, schema)


@dataclass(frozen=True)
class NewRows:
    """The new rows, and what becomes of each.

    Args:
        examples: every usable row.
        source: file that holds them.
        train: numbers of the rows that are learned.
        held: numbers of the rows that both models are compared on.
        counts: number of rows by what became of them.
        new_labels: number of rows of each label that the champion does not know.
        notices: notices for the user.
    """

    examples: Examples
    source: Path
    train: NDArray[np.int64]
    held: NDArray[np.int64]
    counts: Mapping[str, int]
    new_labels: Mapping[str, int] = field(default_factory=dict)
    notices: Sequence[str] = ()

    def take(self, task: Task, rows: NDArray[np.int64]) -> TakenRows:
        """Some of the rows, to be written."""
        columns = own_columns(task, [self.source])
        return TakenRows([str(self.source)], ReadOptions(columns), self.examples, rows)


def read_old_rows(run: Run, task: Task) -> OldRows:
    """The rows that a run was trained and scored with.

    Raises:
        DataError: its data files have changed or are gone.
    """
    recipe = run.recipe()
    try:
        is_same = fingerprint(all_sources(recipe.data)) == run.manifest()["data"]["fingerprint"]
    except (UserError, OSError):
        is_same = False
    if not is_same:
        raise DataError(
            f"the data files of `{run.path}` have changed or are gone, so nobody knows what an update would lose.",
            remedy="Put the files back as they were; recipe.yaml of the run names them.",
        )
    data, file = prepare(task, recipe), rest_file_of(run)
    old = OldRows(task, recipe, data.splits, data.label_schema)
    if not file.is_file() or not file.stat().st_size:
        return old
    rest = _read(old, [str(file)], _options(old, own_columns(task, [file])))
    return replace(old, rest=rest.examples, rest_file=file)


def rest_file_of(run: Run) -> Path:
    """The file of rows that champions before a run learned, and it did not; it may not be there."""
    train = run.recipe().data.train
    return Path(train[0]).with_name(REST_FILE) if len(train) == 1 else Path(REST_FILE)


def gather(
    run: Run,
    old: OldRows,
    sources: Sequence[str],
    columns: Mapping[str, str | list[str]],
    feedback: Path | None,
    folder: Path,
    holdout: float,
    events: Events,
) -> NewRows:
    """Reads the new rows, writes them to one file, and says what becomes of each.

    Args:
        run: the champion.
        old: its rows.
        sources: files, folders or Hub names of new rows.
        columns: the file's column for each of the task's; those of the champion when empty.
        feedback: file of rows with feedback; None for none.
        folder: folder for the file.
        holdout: share of the new rows that both models are compared on.
        events: listeners.

    Raises:
        DataError: a source or a row cannot be used, or there are too few rows to hold some out.
    """
    source, set_aside, notices = _write_new_rows(run, old, sources, columns, feedback, folder, events)
    if source is None:
        nothing = old.splits["train"].take(np.arange(0))
        none = np.arange(0)
        return NewRows(
            nothing, folder / NEW_FILE, none, none, {"read": 0, "set_aside": set_aside}, {}, notices
        )
    reading = _read(old, [str(source)], _options(old, own_columns(old.task, [source])))
    examples = reading.examples
    state = _states(run, old, examples)
    train, held = _held_out(old, examples, state, holdout)
    counts = {
        "read": len(examples) + set_aside,
        "set_aside": set_aside,
        **{name: int(np.sum(mask)) for name, mask in state.counted().items()},
        "learned": len(train),
        "compared": len(held),
    }
    return NewRows(examples, source, train, held, counts, _new_labels(old, examples), notices)


def _write_new_rows(
    run: Run,
    old: OldRows,
    sources: Sequence[str],
    columns: Mapping[str, str | list[str]],
    feedback: Path | None,
    folder: Path,
    events: Events,
) -> tuple[Path | None, int, list[str]]:
    """The file of all new rows, None if there are none; how many rows were set aside; and notices."""
    parts, set_aside, notices = [], 0, []
    if sources:
        options = _options(old, columns, remembered=run.read_as())
        reading = _read(old, sources, options)
        notices += reading.notices
        if old.recipe.data.bad_rows == "stop":
            refuse_invalid_rows(reading.invalid_rows, len(reading.examples), remedy=_FIX)
        parts.append(_whole(sources, options, reading))
        set_aside += len(reading.invalid_rows)
    if feedback is not None:
        options = _options(old, own_columns(old.task, [feedback]))
        reading = _read(old, [str(feedback)], options)
        # Nobody can fix a log: what clients sent as feedback and is no label stays out.
        if reading.invalid_rows:
            notices.append(
                f"{len(reading.invalid_rows):,} rows with feedback cannot be used and are left out"
            )
        parts.append(_whole([str(feedback)], options, reading))
        set_aside += len(reading.invalid_rows)
    for notice in notices:
        events.warn(notice)
    if not any(len(part.rows) for part in parts):
        return None, set_aside, notices
    write_task_rows(folder / NEW_FILE, old.task, parts)
    return folder / NEW_FILE, set_aside, notices


_FIX = "Fix them, take them out of the file, or train with `data.bad_rows=set_aside`."


def _options(
    old: OldRows, columns: Mapping[str, str | list[str]], remembered: Sequence[JsonObject] = ()
) -> ReadOptions:
    evaluate, data = old.recipe.evaluate, old.recipe.data
    optional = [*evaluate.slices, *evaluate.groups, *group_columns(data.group_by)]
    return ReadOptions(columns, (), optional, data.align_answers, remembered, with_metadata=True)


def _read(old: OldRows, sources: Sequence[str], options: ReadOptions) -> Reading:
    return read_examples(old.task, sources, options)


def _whole(sources: Sequence[str], options: ReadOptions, reading: Reading) -> TakenRows:
    return TakenRows(sources, options, reading.examples, np.arange(len(reading.examples)))


@dataclass(frozen=True)
class _States:
    """[rows] each: what is known of the new rows.

    Args:
        known: the same row, with the same answer, is an old one or an earlier new one.
        leaks: the text, or nearly, is a row that the champion is scored on.
        of_held_group: its group has rows that the champion is scored on.
        seen: the champion was trained on its text, or nearly, or on its group.
    """

    known: NDArray[np.bool_]
    leaks: NDArray[np.bool_]
    of_held_group: NDArray[np.bool_]
    seen: NDArray[np.bool_]

    def counted(self) -> dict[str, NDArray[np.bool_]]:
        """Rows that are not used, by the reason."""
        usable = ~self.known & ~self.leaks
        return {
            "known": self.known,
            "leaking": self.leaks & ~self.known,
            "between_groups": usable & self.seen & self.of_held_group,
        }


def _states(run: Run, old: OldRows, examples: Examples) -> _States:
    scored = [rows for split, rows in old.splits.items() if split != "train"]
    leaks = np.zeros(len(examples), dtype=bool)
    for rows in scored:
        leaks |= TrainTexts.of(rows).seen(examples) > 0
    texts = read_train_texts(run.data)
    if texts is None:
        texts = TrainTexts.of(old.splits["train"])
    seen = texts.seen(examples) > 0
    group_by = old.recipe.data.group_by
    seen |= _in_groups(examples, [old.splits["train"]], group_by)
    return _States(_known(old, examples), leaks, _in_groups(examples, scored, group_by), seen)


def _known(old: OldRows, examples: Examples) -> NDArray[np.bool_]:
    """[rows], whether the same row is an old one, or an earlier one of these."""
    keys = row_keys(old.task, examples)
    _, first = np.unique(keys, return_index=True)
    is_first = np.zeros(len(keys), dtype=bool)
    is_first[first] = True
    there = np.concatenate([row_keys(old.task, rows) for rows in (*old.splits.values(), *old.pool[:-1])])
    return np.isin(keys, there) | ~is_first


def _in_groups(examples: Examples, others: Sequence[Examples], group_by: str | None) -> NDArray[np.bool_]:
    """[rows], whether other rows have the same value of `group_by`."""
    if group_by is None:
        return np.zeros(len(examples), dtype=bool)
    groups = {value for rows in others for value in rows.extra.get(group_by, ())} - {None, ""}
    return np.array([value in groups for value in examples.extra[group_by]], dtype=bool)


def _held_out(
    old: OldRows, examples: Examples, state: _States, share: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows to learn, and those to compare on."""
    usable = ~state.known & ~state.leaks
    held = np.flatnonzero(usable & state.of_held_group & ~state.seen)
    learned = np.flatnonzero(usable & state.seen & ~state.of_held_group)
    free = np.flatnonzero(usable & ~state.seen & ~state.of_held_group)
    if not len(free):
        return learned, held
    task, data = old.task, old.recipe.data
    try:
        kept, out = hold_out(
            examples.take(free),
            share,
            strata=[column.name for column in task.columns if column.target and column.kind == "category"],
            group_by=data.group_by,
            seed=old.recipe.seed,
            purpose="update",
            together=[c.name for c in task.columns if c.together and c.name in examples.columns],
        )
    except DataError as error:
        raise DataError(
            f"of {len(free):,} new rows, {share:.0%} cannot be held out to compare on: {error.rule}",
            remedy="Wait for more rows, or choose another share with `--holdout`.",
        ) from None
    return np.sort(np.concatenate([learned, free[kept]])), np.sort(np.concatenate([held, free[out]]))


def _new_labels(old: OldRows, examples: Examples) -> dict[str, int]:
    """The labels that the champion does not know, with the number of their rows."""
    known = old.label_names
    if not known:
        return {}
    gold = old.task.gold(examples.columns, old.label_schema)
    counts = Counter(label for value in gold for label in set(labels_of(value)))
    return {label: n for label, n in sorted(counts.items()) if label not in known}
