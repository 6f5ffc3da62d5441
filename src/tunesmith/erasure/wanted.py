"""Whose rows are meant: ids of rows, a value in a column, or texts become rows, texts and fingerprints of a run.

The rows are read from the data of the run, as its training read them. Where a file is gone, what the run folder
has of its scored rows is used, and the file is named.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tunesmith.data.examples import Examples, distinct_names, read_examples
from tunesmith.data.excluding import fingerprints_of
from tunesmith.data.preparing import sources_of
from tunesmith.data.read_options import ReadOptions
from tunesmith.data.train_texts import read_train_texts
from tunesmith.errors import RunError, TunesmithError, UserError, first_line
from tunesmith.tasks import TASKS, Task

if TYPE_CHECKING:
    from tunesmith.run import Run
    from tunesmith.types import JsonObject

_TARGETS_WITH_TEXT = ("text", "list")
LEAST_PIECE = 16
"""Characters of a part of a text that is looked for; a shorter one could be anybody's."""


@dataclass(frozen=True)
class Asked:
    """What a user asks for.

    Args:
        row_ids: rows of the data, as the files of a run name them: `train.csv:17`.
        where: values of columns, such as that of a customer's number; rows with any of them are meant.
        texts: texts themselves.
        answers: ids of answers in a log, or of requests.
    """

    row_ids: Sequence[str] = ()
    where: Mapping[str, str] = field(default_factory=dict)
    texts: Sequence[str] = ()
    answers: Sequence[str] = ()


@dataclass(frozen=True)
class Wanted:
    """What is looked for in a run.

    Args:
        rows: ids of rows.
        texts: what these rows say.
        fingerprints: fingerprints of their inputs.
        unread: files that could not be read, and why.
    """

    rows: frozenset[str] = frozenset()
    texts: frozenset[str] = frozenset()
    fingerprints: frozenset[int] = frozenset()
    unread: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunRows:
    """The rows of a run, and those that are wanted.

    Args:
        run: the run.
        ids: [rows], id of each row.
        hashes: [rows], its fingerprint.
        texts: [rows], what it says.
        wanted: what was asked for, in this run.
    """

    run: Run
    ids: Sequence[str]
    hashes: Sequence[int]
    texts: Sequence[Sequence[str]]
    wanted: Wanted

    def with_copies(self, fingerprints: frozenset[int], texts: frozenset[str]) -> Wanted:
        """What is wanted, and the rows that say the same as others that are wanted."""
        same = [i for i, number in enumerate(self.hashes) if number in fingerprints]
        return replace(
            self.wanted,
            rows=self.wanted.rows | {self.ids[i] for i in same},
            texts=self.wanted.texts | texts | {text for i in same for text in self.texts[i]},
            fingerprints=self.wanted.fingerprints | fingerprints,
        )

    def trained_on(self, fingerprints: frozenset[int]) -> int:
        """The number of texts that the model was trained on, by their fingerprints."""
        known = read_train_texts(self.run.data)
        if known is None:
            return 0
        return int(np.isin(np.array(sorted(fingerprints), dtype=np.uint64), known.exact).sum())


def rows_of(run: Run, asked: Asked) -> RunRows:
    """The rows of a run with what is wanted of them.

    Args:
        run: a finished run.
        asked: what the user asks for.
    """
    task = TASKS.get(run.recipe().task)
    readings, unread = _read(run, task, asked)
    names = distinct_names(file for examples in readings for file in examples.files)
    ids, hashes, texts, chosen = [], [], [], []
    for examples in readings:
        named = replace(examples, names=tuple(names[file] for file in examples.files))
        for i, row_id in enumerate(named.row_ids()):
            chosen.append(_is_chosen(examples, i, row_id, asked))
            ids.append(row_id)
            texts.append(_texts_of(task, examples, i) if chosen[-1] else ())
        hashes += fingerprints_of(examples)
    here = [i for i, is_meant in enumerate(chosen) if is_meant]
    scored = list(_scored_rows(run, asked, {ids[i] for i in here})) if unread else []
    return RunRows(run, ids, hashes, texts, Wanted(
        frozenset([*(ids[i] for i in here), *(str(line["row"]) for line in scored)]),
        frozenset([*asked.texts, *(text for i in here for text in texts[i]),
                   *(text for line in scored for text in texts_in({n: line.get(n) for n in task.shown}))]),
        frozenset([*(hashes[i] for i in here), *_hashes_of_texts(task, asked.texts)]),
        tuple(unread),
    ))  # fmt: skip


def refuse_ambiguous(runs: Sequence[Run], asked: Asked) -> None:
    """Raises RunError for ids of rows with runs of several data: a line of one file is another one elsewhere."""
    if asked.row_ids and len({run.manifest()["data"]["fingerprint"] for run in runs}) > 1:
        raise RunError(
            "ids of rows belong to one set of data, and the runs were trained on several.",
            remedy="Give the runs of one set, or say whose rows are meant: --where COLUMN=VALUE, or --text.",
        )


def _read(run: Run, task: Task, asked: Asked) -> tuple[list[Examples], list[str]]:
    """The rows of every source that can be read, and the sources that cannot."""
    data, found, unread = run.recipe().data, [], []
    options = ReadOptions(data.columns, optional=tuple(asked.where), align=data.align_answers)
    for sources in sources_of(data).values():
        for source in sources:
            try:
                found.append(read_examples(task, [source], options).examples)
            except (UserError, OSError) as error:
                unread.append(f"{source}: {first_line(error)}")
    return found, unread


def _is_chosen(examples: Examples, row: int, row_id: str, asked: Asked) -> bool:
    return row_id in asked.row_ids or any(
        str(examples.extra[name][row]) == value
        for name, value in asked.where.items()
        if name in examples.extra and examples.extra[name][row] is not None
    )


def _texts_of(task: Task, examples: Examples, row: int) -> list[str]:
    """What a row says: its inputs, and what is to be written; labels are nobody's."""
    labels = {
        column.name for column in task.columns if column.target and column.kind not in _TARGETS_WITH_TEXT
    }
    return texts_in({name: value for name, value in examples.row(row).items() if name not in labels})


def texts_in(values: Mapping[str, Any]) -> list[str]:
    """The texts in the values of columns; of what is within a value, only long ones: a role is no text."""
    found = [value for value in values.values() if isinstance(value, str)]
    nested = [value for value in values.values() if not isinstance(value, str)]
    found += [text for value in nested for text in _strings(value) if len(text) >= LEAST_PIECE]
    return [text for text in found if text.strip()]


def _strings(value: Any) -> Iterator[str]:
    """Every text in a value; a list of words is one text, too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list | tuple):
        if value and all(isinstance(item, str) for item in value):
            yield " ".join(value)
        for item in value:
            yield from _strings(item)


def _scored_rows(run: Run, asked: Asked, known: set[str]) -> Iterator[JsonObject]:
    """Lines of the predictions that are meant and whose data are gone."""
    for file in sorted(run.predictions.glob("*.jsonl")):
        with file.open(encoding="utf-8") as lines:
            for line in map(json.loads, lines):
                is_meant = line["row"] in asked.row_ids or any(
                    str(line.get(name)) == value for name, value in asked.where.items() if name in line
                )
                if is_meant and line["row"] not in known:
                    yield line


def _hashes_of_texts(task: Task, texts: Iterable[str]) -> list[int]:
    """The fingerprints of texts, for a task that reads one text."""
    texts = list(texts)
    if not texts or not task.text_column:
        return []
    n = len(texts)
    examples = Examples(
        {task.text_column: texts}, ("",), np.zeros(n, dtype=np.int32), np.arange(n, dtype=np.int64),
        inputs=(task.text_column,),
    )  # fmt: skip
    try:
        return fingerprints_of(examples)
    except TunesmithError:
        return []
