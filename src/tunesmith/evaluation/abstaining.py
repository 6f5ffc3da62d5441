"""Abstaining with a promise: of the answers that are given, at most `max_error` are wrong.

An answer is given if its confidence reaches a threshold, chosen on rows that the model was not trained on. At each of some coverages, fixed beforehand, the most confident answers are tested against the hypothesis that more
than `max_error` of all answers like them are wrong, with the exact binomial test (the upper bound of Clopper and
Pearson 1934). The tests go from few answers to many, in a fixed sequence that ends where one fails, with a second
start further up (the fallback procedure of Wiens 2003), so that the chance of a false promise, over all tests
together, is at most `DELTA`. This is learn-then-test (Angelopoulos et al. 2021, arXiv 2110.01052) for the selective risk
(Geifman and El-Yaniv 2017).

Given the confidence of the answer after them, the m most confident answers are a sample of all that are more
confident, so each test is exact. The sequence needs that errors become no rarer below the point where the promise
breaks. A single start at the first coverage that can be tested, where no error is allowed, gave far fewer answers.

Rows of one group are not independent, and nor are the answers in one row: then one answer of each group is drawn,
and the promise is for an answer of a group drawn at random.

`benchmarks/trust-abstention.md` has how often the promise was kept, on simulated and on real answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.evaluation.clusters import one_of_each

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tunesmith.evaluation.scoring import Scored
    from tunesmith.types import JsonObject

DELTA = 0.05
"""Most often that a promise may be broken: in one of twenty data sets."""

USUAL_ERRORS = (0.01, 0.02, 0.05, 0.1)
"""Promises whose coverage is reported whether they were asked for or not."""

_COVERAGES = np.arange(1, 41) / 40
_STARTS = ((1 / 3, 0.7), (0.1, 0.3))
"""Where a sequence of tests starts, as a share of the coverages that can be tested, and its share of `DELTA`."""

_CURVE_POINTS = 50
_MOST_ROWS = 1_000_000


@dataclass(frozen=True)
class JudgedAnswers:
    """Answers to rows with known truth.

    Args:
        confidence: [answers], by which the model abstains.
        is_right: [answers], whether each answer is right.
        group: [answers], number of the group of dependent answers; None if all are independent.
    """

    confidence: NDArray[np.float64]
    is_right: NDArray[np.bool_]
    group: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.confidence)

    def one_a_group(self, seed: int) -> JudgedAnswers:
        """One answer of each group, drawn by the seed."""
        if self.group is None:
            return self
        drawn = one_of_each(self.group, seed)
        return JudgedAnswers(self.confidence[drawn], self.is_right[drawn])

    def given(self, threshold: float | None) -> JudgedAnswers:
        """The answers that reach a threshold; none without a threshold."""
        kept = self.confidence >= (np.inf if threshold is None else threshold)
        group = None if self.group is None else self.group[kept]
        return JudgedAnswers(self.confidence[kept], self.is_right[kept], group)


@dataclass(frozen=True)
class Promise:
    """A threshold, and the test that it passed.

    Args:
        max_error: most wrong answers of those given, as a share.
        threshold: least confidence of an answer that is given; 0 where all are given, None where none is.
        answers: answers that were tested, given or not.
        given: answers that reach the threshold.
        wrong: those of them that are wrong.
    """

    max_error: float
    threshold: float | None
    answers: int
    given: int = 0
    wrong: int = 0


def judged_answers(scored: Scored) -> JudgedAnswers:
    """The answers of a task that can abstain, with their confidence, and whether they are right."""
    task, schema = scored.task, scored.label_schema
    how = task.confidence
    assert how is not None, "only of tasks that can abstain"
    predictions = task.decode(scored.evaluated, schema)
    gold = task.gold(scored.examples.columns, schema)
    if how.is_right is None:
        right = [bool(task.is_correct(*pair)) for pair in zip(predictions, gold, strict=True)]
        confidence = [how.of(prediction, schema) for prediction in predictions]
        return JudgedAnswers(
            np.array(confidence, dtype=np.float64), np.array(right, dtype=bool), scored.groups
        )
    found = [
        (how.of(entry, schema), how.is_right(entry, truth), row)
        for row, (prediction, truth) in enumerate(zip(predictions, gold, strict=True))
        for entry in prediction[how.key]
    ]
    columns = np.array(found, dtype=np.float64).reshape(-1, 3).T
    rows = columns[2].astype(np.int64)
    groups = rows if scored.groups is None else scored.groups[rows]
    return JudgedAnswers(columns[0], columns[1] > 0, groups)


def keep_promise(answers: JudgedAnswers, max_error: float, *, delta: float = DELTA) -> Promise:
    """The lowest threshold for which the promise holds with a probability of at least 1 - delta.

    Args:
        answers: independent answers to rows that the model was not trained on.
        max_error: most wrong answers of those given, as a share.
        delta: most often that the promise may be broken.
    """
    order = np.argsort(-answers.confidence, kind="stable")
    confidence, wrong = answers.confidence[order], np.cumsum(~answers.is_right[order], dtype=np.int64)
    sizes = _sizes(confidence, max_error, delta)
    best = _largest_accepted(sizes, wrong[sizes - 1], max_error, delta)
    if best is None:
        return Promise(max_error, None, len(answers))
    threshold = 0.0 if best == len(answers) else float((confidence[best - 1] + confidence[best]) / 2)
    return Promise(max_error, threshold, len(answers), int(best), int(wrong[best - 1]))


def _sizes(confidence: NDArray[np.float64], max_error: float, delta: float) -> NDArray[np.int64]:
    """How many answers each test has, ascending; answers of equal confidence are given together."""
    n = len(confidence)
    wanted = np.ceil(n * _COVERAGES - 1e-9).astype(np.int64)
    wanted = wanted[wanted >= _fewest(max_error, delta)]
    ends = np.searchsorted(-confidence, -confidence[wanted - 1], side="right")
    return np.unique(ends)


def _fewest(max_error: float, delta: float) -> int:
    """Answers that must all be right for a test to pass."""
    return max(int(np.ceil(np.log(delta) / np.log1p(-max_error) - 1e-9)), 1)


def _largest_accepted(
    sizes: NDArray[np.int64], wrong: NDArray[np.integer], max_error: float, delta: float
) -> int | None:
    """The largest number of answers that passes its test, at the level that reaches it along the sequence."""
    from scipy.stats import binom

    levels = np.zeros(len(sizes))
    for start, share in _STARTS:
        if len(sizes):
            levels[int(start * len(sizes))] += share * delta
    chances = binom.cdf(wrong, sizes, max_error)
    best, reached = None, 0.0
    for size, own, chance in zip(sizes, levels, chances, strict=True):
        passes = chance <= own + reached
        reached = own + reached if passes else 0.0
        best = int(size) if passes else best
    return best


def error_bound(wrong: int, given: int, *, delta: float = DELTA) -> float:
    """The upper bound of Clopper and Pearson (1934) of the share of wrong answers, at the confidence 1 - delta."""
    from scipy.stats import beta

    return 1.0 if wrong >= given else float(beta.ppf(1 - delta, wrong + 1, given - wrong))


def answers_needed(answers: JudgedAnswers, max_error: float, *, delta: float = DELTA) -> int | None:
    """About how many answers would do, if more of them were like these; None where no number would.

    Args:
        answers: independent answers, with which the promise cannot be made.
        max_error: as in `keep_promise`.
        delta: as in `keep_promise`.
    """
    n, factor = len(answers), 1.1
    while n < _MOST_ROWS:
        n = int(n * factor) + 1
        repeats = n / max(len(answers), 1)
        if _would_do(answers, max_error, delta, repeats):
            return n
    return None


def _would_do(answers: JudgedAnswers, max_error: float, delta: float, repeats: float) -> bool:
    order = np.argsort(-answers.confidence, kind="stable")
    sizes = np.ceil(len(answers) * _COVERAGES - 1e-9).astype(np.int64)
    sizes = np.unique(sizes[sizes > 0])
    if not len(sizes):
        return False
    wrong = np.cumsum(~answers.is_right[order])[sizes - 1]
    many = np.round(sizes * repeats).astype(np.int64)
    testable = many >= _fewest(max_error, delta)
    some = np.ceil(wrong * repeats).astype(np.int64)[testable]
    return _largest_accepted(many[testable], some, max_error, delta) is not None


def curve(answers: JudgedAnswers) -> list[JsonObject]:
    """The share of wrong answers among those given, for coverages up to 1."""
    order = np.argsort(-answers.confidence, kind="stable")
    confidence, wrong = answers.confidence[order], np.cumsum(~answers.is_right[order], dtype=np.int64)
    n = len(answers)
    wanted = np.unique(np.linspace(1, n, min(n, _CURVE_POINTS)).round().astype(np.int64))
    ends = np.unique(np.searchsorted(-confidence, -confidence[wanted - 1], side="right"))
    return [{"coverage": size / n, "error": float(wrong[size - 1] / size)} for size in ends.tolist()]
