"""Abstaining with a promise: of the answers that are given, at most `max_error` are wrong.

An answer is given if its confidence reaches a threshold, chosen on rows that the model was not trained on. At
each of some coverages, fixed beforehand, the most confident answers are tested against the hypothesis that more
than `max_error` of all answers like them are wrong, with the exact binomial test (the upper bound of Clopper and
Pearson 1934). The tests go from few answers to many and end with the first that fails, so that the chance of a
false promise is at most `DELTA` over all of them (fixed sequence). This is learn-then-test (Angelopoulos et al.
2021, arXiv 2110.01052) for the selective risk (Geifman and El-Yaniv 2017).

The sequence starts in the middle of the coverages at which the test would pass if each confidence were the
probability that its answer is right. The truth has no part in this choice, and given the confidences, wrong
answers are independent with different probabilities, for which the binomial test holds, too (Hoeffding 1956). A
start at the first coverage that can be tested, where no error is allowed, gave far fewer answers.

The same rows have chosen the best step before, which makes errors on them a little too rare. In the worst case
that was simulated, the best of eight equally good models, promises at a level of 5 % were broken in 6.3 % of the
data sets. So the tests use `_SHARE_OF_TESTS` of `DELTA`, and promises were kept as said.

Rows of one group are not independent, and nor are the answers in one row: then one answer of each group is drawn,
and the promise is for an answer of a group drawn at random.

`benchmarks/trust-abstention.md` has how often the promise was kept, on simulated and on real answers.
"""

from __future__ import annotations

from collections.abc import Callable
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

_SHARE_OF_TESTS = 0.6
"""Of `DELTA`, that the tests may use up; the rest is left for the best step, chosen on the same rows."""

_COVERAGES = np.arange(1, 41) / 40
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


Together = tuple[Callable[["NDArray[np.int64]"], tuple["NDArray[np.int64]", "NDArray[np.int64]"]], float]
"""From the numbers of answers that are given, to answers of all models and those that are wrong; most errors."""


@dataclass(frozen=True)
class _Tests:
    """Tests of the most confident answers, from few answers to many.

    Args:
        sizes: [tests], answers that are tested.
        wrong: [tests], those of them that are wrong.
        expected: [tests], how many would be wrong if confidences were probabilities.
    """

    sizes: NDArray[np.int64]
    wrong: NDArray[np.int64]
    expected: NDArray[np.float64]

    @classmethod
    def of(cls, answers: JudgedAnswers, order: NDArray[np.int64]) -> _Tests:
        """One test for each coverage; answers of equal confidence are given together.

        Args:
            answers: independent answers.
            order: the most confident first.
        """
        confidence, n = answers.confidence[order], len(answers)
        wanted = np.unique(np.ceil(n * _COVERAGES - 1e-9).astype(np.int64))
        sizes = np.unique(np.searchsorted(-confidence, -confidence[wanted[wanted > 0] - 1], side="right"))
        wrong = np.cumsum(~answers.is_right[order], dtype=np.int64)
        return cls(sizes, wrong[sizes - 1], np.cumsum(1 - confidence)[sizes - 1])

    def repeated(self, times: float) -> _Tests:
        """The tests that so many times as many answers like these would give."""
        sizes, wrong = np.round(self.sizes * times), np.ceil(self.wrong * times)
        return _Tests(sizes.astype(np.int64), wrong.astype(np.int64), self.expected * times)

    def largest_passed(self, max_error: float, delta: float, together: Together | None = None) -> int | None:
        """The position of the last test that passes in the sequence; None where the first one fails."""
        from scipy.stats import beta, binom

        testable = np.flatnonzero(self.sizes >= _fewest(max_error, delta))
        if not len(testable):
            return None
        sizes, expected = self.sizes[testable], self.expected[testable]
        # The distribution function of the binomial, for numbers between whole ones.
        foreseen = beta.sf(max_error, expected + 1, np.maximum(sizes - expected, 1e-9))
        likely = np.flatnonzero(foreseen <= delta)
        start = int(likely[len(likely) // 2]) if len(likely) else int(foreseen.argmin())
        passes = binom.cdf(self.wrong[testable], sizes, max_error)[start:] <= delta
        if together is not None:
            given, wrong = together[0](sizes[start:])
            passes &= binom.cdf(wrong, given, together[1]) <= delta
        n_passed = len(passes) if passes.all() else int(passes.argmin())
        return int(testable[start + n_passed - 1]) if n_passed else None


def keep_promise(
    answers: JudgedAnswers, max_error: float, *, delta: float = DELTA, together: Together | None = None
) -> Promise:
    """The lowest threshold for which the promise holds with a probability of at least 1 - delta.

    Args:
        answers: independent answers to rows that the model was not trained on.
        max_error: most wrong answers of those given, as a share.
        delta: most often that the promise may be broken.
        together: what another model's answers are held to, beside these: a test passes only if both do.
    """
    order, n = np.argsort(-answers.confidence, kind="stable"), len(answers)
    tests = _Tests.of(answers, order)
    last = tests.largest_passed(max_error, _SHARE_OF_TESTS * delta, together)
    if last is None:
        return Promise(max_error, None, n)
    size, confidence = int(tests.sizes[last]), answers.confidence[order]
    threshold = 0.0 if size == n else float((confidence[size - 1] + confidence[size]) / 2)
    return Promise(max_error, threshold, n, size, int(tests.wrong[last]))


def _fewest(max_error: float, delta: float) -> int:
    """Answers that must all be right for a test to pass."""
    return max(int(np.ceil(np.log(delta) / np.log1p(-max_error) - 1e-9)), 1)


def error_bound(wrong: int, given: int, *, delta: float = DELTA) -> float:
    """The upper bound of Clopper and Pearson (1934) of the share of wrong answers, at the confidence 1 - delta."""
    from scipy.stats import beta

    return 1.0 if wrong >= given else float(beta.ppf(1 - delta, wrong + 1, given - wrong))


def least_error(wrong: int, given: int, *, delta: float = DELTA) -> float:
    """The lower bound of Clopper and Pearson of the share of wrong answers, at the confidence 1 - delta."""
    from scipy.stats import beta

    return 0.0 if not wrong else float(beta.ppf(delta, wrong, given - wrong + 1))


def answers_needed(answers: JudgedAnswers, max_error: float, *, delta: float = DELTA) -> int | None:
    """About how many answers would do, if more of them were like these; None where no number would.

    Args:
        answers: independent answers, with which the promise cannot be made.
        max_error: as in `keep_promise`.
        delta: as in `keep_promise`.
    """
    tests = _Tests.of(answers, np.argsort(-answers.confidence, kind="stable"))
    n = len(answers)
    while 0 < n < _MOST_ROWS:
        n += n // 10 + 1
        if tests.repeated(n / len(answers)).largest_passed(max_error, _SHARE_OF_TESTS * delta) is not None:
            return n
    return None


def curve(answers: JudgedAnswers) -> list[JsonObject]:
    """The share of wrong answers among those given, for coverages up to 1."""
    order = np.argsort(-answers.confidence, kind="stable")
    confidence, wrong = answers.confidence[order], np.cumsum(~answers.is_right[order], dtype=np.int64)
    n = len(answers)
    wanted = np.unique(np.linspace(1, n, min(n, _CURVE_POINTS)).round().astype(np.int64))
    ends = np.unique(np.searchsorted(-confidence, -confidence[wanted - 1], side="right"))
    return [{"coverage": size / n, "error": float(wrong[size - 1] / size)} for size in ends.tolist()]
