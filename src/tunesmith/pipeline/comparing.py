"""`compare`: finished runs on the same rows.

The rows are those that every run answered at the end of its training, or rows of a file, which every run answers
now. A run of an earlier version kept no statistics of its rows, so its model answers them again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.encoding import options_of
from tunesmith.data.preparing import data_fingerprint_of, prepare
from tunesmith.data.train_texts import read_train_texts
from tunesmith.errors import DataError, RunError, UserError
from tunesmith.evaluation.answered_rows import AnsweredRows, read_answered_rows
from tunesmith.evaluation.comparing import Contest, common_rows, compare_models, primary_by_row
from tunesmith.evaluation.intervals import Interval, Method
from tunesmith.evaluation.paired import in_words, independent_rows
from tunesmith.evaluation.scoring import Scored
from tunesmith.evaluation.seen import rows_that_count
from tunesmith.events import Events, Listener
from tunesmith.inference.predictor import Predictor
from tunesmith.metrics import METRICS
from tunesmith.pipeline.evaluating import answer_rows, read_rows
from tunesmith.run import Run, finite
from tunesmith.run.comparison import differing_values
from tunesmith.tasks import TASKS

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

_SHOWN_ROWS = 20


@dataclass(frozen=True)
class _Answers:
    """The rows of one run.

    Args:
        rows: statistics of the rows.
        lines: gives the lines of `predictions/SPLIT.jsonl` for the rows.
        again: whether the model answered them again.
    """

    rows: AnsweredRows
    lines: Callable[[], Iterator[JsonObject]]
    again: bool = False


def compare(
    paths: Sequence[str | os.PathLike[str]],
    *,
    data: Sequence[str] = (),
    columns: Mapping[str, str | list[str]] | None = None,
    listeners: Iterable[Listener] = (),
) -> JsonObject:
    """Finished runs on the same rows: scores, paired tests, what differs, and rows where they disagree.

    Args:
        paths: run folders, two or more.
        data: files whose rows every run answers; without any, the rows that the runs answered after training.
        columns: the file's column for each of the task's; those of each run when None.
        listeners: called with every event (`tunesmith.events`).

    Raises:
        UserError: the runs have nothing in common that could be compared, or a file cannot be used.
    """
    events = Events(listeners)
    runs = _open(paths)
    answers = {
        name: _answer_file(run, data, columns or {}, events) if data else _answer_own(run, events)
        for name, run in runs.items()
    }
    events.stage("compare", "Comparing")
    chosen, left_out = _same_rows(runs, answers, events)
    _report_other_turns(runs, events)
    recipe = next(iter(runs.values())).recipe()
    how = Method(recipe.evaluate.bootstrap_samples, recipe.evaluate.confidence, recipe.seed)
    models = {name: answers[name].rows.take(rows) for name, rows in chosen.items()}
    contest = compare_models(models, how)
    n, of = independent_rows(next(iter(models.values())))
    return {
        "task": recipe.task,
        "metric": contest.metric,
        "confidence": how.confidence,
        "rows": {"data": list(data), "compared": len(next(iter(chosen.values()))), "left_out": left_out,
                 **({"groups": n} if of != "rows" else {})},
        "best": contest.ranking[0],
        "correction": "holm",
        "runs": _describe(runs, contest, answers),
        "pairs": _pairs(contest, how.confidence),
        "disagreements": _disagreements(contest, answers, chosen),
    }  # fmt: skip


def _open(paths: Sequence[str | os.PathLike[str]]) -> dict[str, Run]:
    """The runs by a short name each: the last part of the folder, or the path if that is not enough."""
    resolved = [Path(path).resolve() for path in paths]
    if len(set(resolved)) < max(len(resolved), 2):
        raise RunError(
            "two or more different runs are needed for a comparison.",
            remedy="Example: `tunesmith compare runs/a runs/b`; `tunesmith list runs` shows what there is.",
        )
    runs = [Run.open(path) for path in paths]
    tasks = {str(run.path): run.recipe().task for run in runs}
    if len(set(tasks.values())) > 1:
        said = ", ".join(f"`{path}` is {task}" for path, task in tasks.items())
        raise RunError(
            f"runs of different tasks cannot be compared: {said}.", remedy="Compare runs of one task."
        )
    short = [path.name for path in resolved]
    are_distinct = len(set(short)) == len(short)
    return {name if are_distinct else str(run.path): run for name, run in zip(short, runs, strict=True)}


def _answer_file(
    run: Run, data: Sequence[str], columns: Mapping[str, str | list[str]], events: Events
) -> _Answers:
    """The rows of a file, as the run answers them."""
    events.stage("evaluate", f"Answering with {run.path}")
    recipe, predictor = run.recipe(), Predictor.from_run(run)
    examples = read_rows(recipe, predictor, data, columns, events).examples
    scored, _ = answer_rows(recipe, predictor, examples, events)
    return _answers_of(run, scored)


def _answers_of(run: Run, scored: Scored, *, again: bool = False) -> _Answers:
    recipe, train_texts = run.recipe(), read_train_texts(run.data)
    counting, _ = rows_that_count(scored, train_texts, recipe.evaluate, recipe.seed)
    return _Answers(AnsweredRows.of(scored, counting), scored.lines, again)


def _answer_own(run: Run, events: Events) -> _Answers:
    """The rows that the run answered after training; those of an older run are answered again."""
    split, task = run.metrics["primary"]["split"], TASKS.get(run.recipe().task)
    kept = read_answered_rows(run.predictions / f"{split}.npz", task)
    if kept is not None:
        path = run.predictions / f"{split}.jsonl"
        return _Answers(kept, lambda: _lines_of(path))
    events.note(f"an earlier version made {run.path}: its model answers the {split} rows again")
    return _answers_of(run, _answer_again(run, split, events), again=True)


def _lines_of(path: Path) -> Iterator[JsonObject]:
    with path.open(encoding="utf-8") as handle:
        yield from map(json.loads, handle)


def _answer_again(run: Run, split: str, events: Events) -> Scored:
    recipe, predictor = run.recipe(), Predictor.from_run(run)
    try:
        is_same = data_fingerprint_of(recipe.data) == run.manifest()["data"]["fingerprint"]
    except (UserError, OSError):
        is_same = False
    if not is_same:
        raise DataError(
            f"an earlier version made `{run.path}`, and its data files have changed or are gone, so its rows "
            "cannot be answered again.",
            remedy="Put the files back, or give rows that every run answers: `--data FILE`.",
        )
    return answer_rows(recipe, predictor, prepare(predictor.task, recipe).splits[split], events)[0]


def _same_rows(
    runs: Mapping[str, Run], answers: Mapping[str, _Answers], events: Events
) -> tuple[dict[str, NDArray[np.int64]], int]:
    """The rows of each run that are compared, and how many are left out: some run was trained on them."""
    found = common_rows([one.rows for one in answers.values()])
    _report_common(runs, answers, len(found[0]), events)
    is_seen = np.any(
        [one.rows.is_seen[rows] for one, rows in zip(answers.values(), found, strict=True)], axis=0
    )
    if n_seen := int(is_seen.sum()):
        events.warn(f"{n_seen:,} rows are left out: some run was trained on their texts, or nearly")
    if is_seen.all():
        raise RunError(
            "each row that the runs have in common is one that some run was trained on.",
            remedy="Give rows that no run was trained on: `--data FILE`.",
        )
    return {name: rows[~is_seen] for name, rows in zip(answers, found, strict=True)}, n_seen


def _report_common(runs: Mapping[str, Run], answers: Mapping[str, _Answers], n: int, events: Events) -> None:
    """Says how many rows are compared, and refuses where there are none, or where all are needed."""
    sizes = {name: len(one.rows) for name, one in answers.items()}
    said = ", ".join(f"`{name}` has {size:,}" for name, size in sizes.items())
    if not n:
        raise RunError(
            f"the runs have no rows in common ({said}); only answers to the same rows can be compared.",
            remedy="Give rows that every run answers: `--data FILE`.",
        )
    if n == max(sizes.values()):
        return
    task = TASKS.get(next(iter(runs.values())).recipe().task)
    if task.compares_rows:
        raise RunError(
            f"only {n:,} rows are common to the runs ({said}), and the scores of {task.name} depend on all rows.",
            remedy="Give rows that every run answers: `--data FILE`.",
        )
    events.warn(f"{n:,} rows are common to all runs and are compared ({said})")


def _report_other_turns(runs: Mapping[str, Run], events: Events) -> None:
    """Says it where the runs score other parts of the same conversations."""
    chat = TASKS.get(next(iter(runs.values())).recipe().task).chat
    if chat is None or not chat.learns_turns:
        return
    scored = {}
    for name, run in runs.items():
        how = options_of(run.recipe().data)
        turns = "the last turn" if how.train_on == "last" else "every turn"
        scored[name] = f"{turns}{', long rows cut' if how.too_long == 'cut' else ''}"
    if len(set(scored.values())) > 1:
        said = "; ".join(f"`{name}`: {what}" for name, what in scored.items())
        events.warn(
            f"the runs score other turns of the assistant ({said}). Only rows that are short and have one turn "
            "without `train: false` give scores that can be compared"
        )


def _describe(runs: Mapping[str, Run], contest: Contest, answers: Mapping[str, _Answers]) -> list[JsonObject]:
    """The facts of each run, the best first; `recipe` has the keys in which the runs differ."""
    manifests = {name: runs[name].manifest() for name in contest.ranking}
    differing = differing_values(list(manifests.values()))
    return [
        {
            "name": name,
            "run": str(runs[name].path),
            "model": manifest["used"]["model"],
            "scores": {metric: _finite(interval) for metric, interval in contest.scores[name].items()},
            "seconds": runs[name].metrics.get("train", {}).get("seconds"),
            "parameters": manifest["model"].get("parameters"),
            "bytes": sum(file.stat().st_size for file in runs[name].model.rglob("*") if file.is_file()),
            "recipe": {key: values[number] for key, values in differing.items()},
            "answered_rows": len(answers[name].rows),
            "answered_again": answers[name].again,
        }
        for number, (name, manifest) in enumerate(manifests.items())
    ]


def _finite(interval: Interval) -> JsonObject:
    return {name: finite(value) for name, value in interval.to_json().items()}


def _pairs(contest: Contest, confidence: float) -> list[JsonObject]:
    metric = METRICS.get(contest.metric)
    return [
        {"first": one, "second": other, **found.to_json("first", "second"),
"text": in_words(found, metric, f"`{one}`", f"`{other}`", confidence)}
        for (one, other), found in contest.pairs.items()
    ]  # fmt: skip


def _disagreements(
    contest: Contest, answers: Mapping[str, _Answers], chosen: Mapping[str, NDArray[np.int64]]
) -> JsonObject:
    """Rows that some runs answer right and others wrong, or whose metric differs most; and how many there are."""
    judged = [_judged(answers[name], chosen[name]) for name in contest.ranking]
    is_right = np.array([[value is True for value in one] for one in judged])
    has_judgement = any(value is not None for one in judged for value in one)
    if has_judgement:
        differ = np.flatnonzero(is_right.any(axis=0) & ~is_right.all(axis=0))
        shown = _of_both_kinds(differ, is_right[0][differ])
    else:
        values = [primary_by_row(answers[name].rows.take(chosen[name])) for name in contest.ranking]
        spread = np.ptp(np.array(values), axis=0)
        differ = np.flatnonzero(spread > 0)
        shown = np.sort(differ[np.argsort(-spread[differ], kind="stable")][:_SHOWN_ROWS])
    lines = {name: _some(answers[name].lines(), chosen[name][shown]) for name in contest.ranking}
    return {
        "rows": len(differ),
        "judged": has_judgement,
        "shown": [{name: lines[name][number] for name in contest.ranking} for number in range(len(shown))],
    }


def _of_both_kinds(differ: NDArray[np.int64], best_is_right: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Some rows that the best run has right, and some that it has wrong."""
    half = _SHOWN_ROWS // 2
    right, wrong = differ[best_is_right], differ[~best_is_right]
    return np.sort(
        np.concatenate(
            [right[: _SHOWN_ROWS - min(len(wrong), half)], wrong[: _SHOWN_ROWS - min(len(right), half)]]
        )
    )


def _judged(answers: _Answers, rows: NDArray[np.int64]) -> list[bool | None]:
    every = [line["correct"] for line in answers.lines()]
    return [every[row] for row in rows]


def _some(lines: Iterator[JsonObject], rows: NDArray[np.int64]) -> list[JsonObject]:
    """Some lines of many, in the order of the numbers."""
    wanted = {int(row) for row in rows}
    found = {
        number: line
        for number, line in enumerate(islice(lines, max(wanted, default=-1) + 1))
        if number in wanted
    }
    return [found[int(row)] for row in rows]
