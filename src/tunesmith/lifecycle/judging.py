"""Both models on the same rows, and the slices on which nothing may get worse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.examples import Examples
from tunesmith.data.preparing import read_checked
from tunesmith.data.read_options import ReadOptions
from tunesmith.data.train_texts import read_train_texts
from tunesmith.evaluation.answered_rows import AnsweredRows
from tunesmith.evaluation.candidate_slices import Slice, candidates
from tunesmith.evaluation.promotion import Decision, Rule, decide
from tunesmith.evaluation.scoring import Scored
from tunesmith.events import Events
from tunesmith.inference.predictor import Predictor
from tunesmith.lifecycle.challenging import MergedFiles, Start
from tunesmith.metrics import METRICS, total
from tunesmith.pipeline.evaluating import answer_rows
from tunesmith.run import Run
from tunesmith.tasks import LabelSchema

_OF_INPUTS = ("length", "script", "column")
_OF_OLD_ROWS, _OF_COLUMNS = "true_label", "column"


@dataclass(frozen=True)
class Judged:
    """What the rule says, and the rows that it looked at.

    Args:
        decision: what the rule says.
        left_out: number of rows that one of the models was trained on, or nearly.
        champion: the rows as the champion answers them.
        challenger: the rows as the challenger answers them.
        is_new: [rows], whether each row is a new one.
    """

    decision: Decision
    left_out: int
    champion: Scored
    challenger: Scored
    is_new: NDArray[np.bool_]


def choose(challengers: Mapping[Start, Run], files: MergedFiles, events: Events) -> dict[Start, float | None]:
    """The validation score of each challenger, the best first; the test rows have no part in it.

    A single one needs no score.
    """
    if len(challengers) == 1:
        return dict.fromkeys(challengers)
    found: dict[Start, float | None] = {}
    ranks: dict[Start, float] = {}
    for start, run in challengers.items():
        predictor = Predictor.from_run(run)
        examples = _rows(run, predictor, [files.validation], files)
        scored, _ = answer_rows(run.recipe(), predictor, examples, events)
        metric = scored.task.primary_for(scored.label_schema)
        value = float(scored.task.formula(total(scored.statistics), scored.label_schema)[metric])
        found[start] = value if np.isfinite(value) else None
        sign = -1 if METRICS.get(metric).greater_is_better else 1
        ranks[start] = sign * value if np.isfinite(value) else np.inf
    # At a tie the first one, which began from the champion.
    return {start: found[start] for start in sorted(ranks, key=lambda start: ranks[start])}


def judge(
    champion: Run, challenger: Run, files: MergedFiles, rule: Rule, slices: Sequence[str], events: Events
) -> Judged:
    """Compares a challenger with the champion on the rows that were held out.

    Args:
        champion: the champion.
        challenger: the challenger.
        files: rows.
        rule: what is asked of the challenger.
        slices: columns by whose values rows are compared too, besides those of the champion's recipe.
        events: listeners.
    """
    theirs = Predictor.from_run(challenger)
    tests = [path for path in (files.old_test, files.new_test) if path.stat().st_size]
    examples = _rows(challenger, theirs, tests, files, slices)
    examples, left_out = _unseen(examples, [champion, challenger])
    if left_out:
        events.warn(
            f"{left_out:,} rows to compare on are left out: one of the models was trained on them, or nearly"
        )
    schema = theirs.label_schema
    one = _answer(champion, Predictor.from_run(champion), examples, events, schema)
    other = _answer(challenger, theirs, examples, events, schema)
    new_file = examples.files.index(str(files.new_test)) if str(files.new_test) in examples.files else -1
    is_new = np.asarray(examples.file_index == new_file)
    evaluate = champion.recipe().evaluate
    named = [*evaluate.slices, *evaluate.groups, *slices]
    every = np.arange(len(examples))
    rows = [AnsweredRows.of(scored, every) for scored in (one, other)]
    decision = decide(rows[0], rows[1], is_new, slices_of(one, is_new, named, rule), rule)
    return Judged(decision, left_out, one, other, is_new)


def slices_of(scored: Scored, is_new: NDArray[np.bool_], named: Sequence[str], rule: Rule) -> list[Slice]:
    """The sets of rows on which nothing may get worse: by length, script and columns; of old rows, by label too.

    Labels of new rows are no slices: where a new domain has other shares of labels, answers must move from one to
    another.

    Args:
        scored: rows with their answers.
        is_new: [rows], whether each row is a new one.
        named: columns by whose values there are slices.
        rule: what is asked of the challenger.
    """
    extra = {name: values for name, values in scored.examples.extra.items() if name in named}
    shown = replace(scored, examples=replace(scored.examples, extra=extra))
    found = candidates(shown, None, least=rule.least_rows, seed=rule.seed)
    of_old = [
        Slice(it.kind, f"{it.name} (old rows)", it.rows & ~is_new) for it in found if it.kind == _OF_OLD_ROWS
    ]
    # New rows of a slice, with labels that say otherwise, must not hide what its old rows lose.
    of_old += [
        Slice(it.kind, f"{it.name} (old rows)", it.rows & ~is_new)
        for it in found
        if it.kind == _OF_COLUMNS and (it.rows & is_new).any() and (it.rows & ~is_new).any()
    ]
    return [*(it for it in found if it.kind in _OF_INPUTS), *of_old]


def _rows(
    run: Run, predictor: Predictor, paths: Sequence[Path], files: MergedFiles, slices: Sequence[str] = ()
) -> Examples:
    recipe = run.recipe()
    group_by = [recipe.data.group_by] if recipe.data.group_by else []
    optional = [*recipe.evaluate.slices, *recipe.evaluate.groups, *slices, *group_by]
    options = ReadOptions(files.columns, (), optional, recipe.data.align_answers)
    reading = read_checked(predictor.task, [str(path) for path in paths], predictor.label_schema, options)
    assert not reading.invalid_rows, "the rows were read before, and the challenger knows their labels"
    return reading.examples


def _unseen(examples: Examples, runs: Sequence[Run]) -> tuple[Examples, int]:
    """The rows that no run was trained on, or nearly, and how many there are of the others."""
    is_seen = np.zeros(len(examples), dtype=bool)
    for run in runs:
        texts = read_train_texts(run.data)
        if texts is not None:
            is_seen |= texts.seen(examples) > 0
    return examples.take(np.flatnonzero(~is_seen)), int(is_seen.sum())


def _answer(
    run: Run, predictor: Predictor, examples: Examples, events: Events, schema: LabelSchema
) -> Scored:
    events.stage("evaluate", f"Answering with {run.path}")
    return answer_rows(run.recipe(), predictor, examples, events, schema)[0]
