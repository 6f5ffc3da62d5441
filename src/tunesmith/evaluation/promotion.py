"""Whether a challenger takes the place of the champion: a rule, as a pure function of rows and answers.

    promote  =  better on the new rows                        (paired test, one-sided, level 0.05)
            and not worse on the old rows by the margin       (the lower bound of the interval is above −margin)
            and not significantly worse on any slice          (paired tests, Holm's correction over all slices)

The first condition makes it rare that noise is promoted: a challenger that is as good as the champion is better
"significantly" in at most 5 % of updates. The second is a test of non-inferiority (Blackwelder 1982): it does not
ask whether a loss is shown, but whether a loss of the margin is excluded. Few old rows exclude little, and then
the answer is no, with the reason; a greater `risk` asks for less. The third protects what an average hides.

McNemar's test is valid for any number of rows. Metrics that are not shares of right rows need 30 rows, or groups.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from tunesmith.evaluation.intervals import Interval, Method
from tunesmith.evaluation.paired import FEWEST_ROWS, Paired, discordant, gain, in_words, paired_test
from tunesmith.evaluation.significance import Significance, holm
from tunesmith.metrics import METRICS, Metric, total

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tunesmith.evaluation.answered_rows import AnsweredRows
    from tunesmith.evaluation.candidate_slices import Slice
    from tunesmith.types import JsonObject

CHALLENGER, CHAMPION = "the challenger", "the champion"
_CORRELATION = "correlation"

Condition = Literal["new_rows", "old_rows", "slices"]


@dataclass(frozen=True)
class Rule:
    """What is asked of a challenger.

    Args:
        level: chance that a challenger which is as good as the champion counts as better on the new rows, and as
            worse on any slice.
        risk: chance that a loss of the margin on the old rows is overlooked, at most one half.
        margin: largest loss on the old rows that is accepted: of a share or a correlation as it is, of any other
            metric as a share of the champion's value.
        least_rows: smallest number of rows of a slice that is tested.
        samples: number of resamples for intervals of metrics that are not shares.
        seed: random seed of resamples and permutations.
    """

    level: float = 0.05
    margin: float = 0.02
    risk: float = 0.05
    least_rows: int = 20
    samples: int = 1000
    seed: int = 42

    @property
    def method(self) -> Method:
        """How intervals of differences are computed."""
        return Method(self.samples, 1 - self.level, self.seed)

    def to_json(self) -> JsonObject:
        """What the rule asks for, as plain JSON."""
        return {
            "level": self.level, "margin": self.margin, "risk": self.risk, "least_rows": self.least_rows,
        }  # fmt: skip


@dataclass(frozen=True)
class Compared:
    """Both models on some of the rows.

    Args:
        name: which rows, for people.
        kind: `new`, `old`, or the kind of a slice.
        rows: number of rows.
        champion: value of the champion.
        challenger: value of the challenger.
        paired: the challenger against the champion.
    """

    name: str
    kind: str
    rows: int
    champion: float
    challenger: float
    paired: Paired

    def to_json(self) -> JsonObject:
        """The comparison as plain JSON."""
        values = {"champion": _finite(self.champion), "challenger": _finite(self.challenger)}
        tested = self.paired.to_json("challenger", "champion")
        return {"name": self.name, "kind": self.kind, "rows": self.rows, **values, **tested}


@dataclass(frozen=True)
class Decision:
    """What the rule says of a challenger.

    Args:
        promote: whether all conditions hold.
        failed: conditions that do not hold.
        reasons: why, as sentences.
        metric: primary metric.
        new: both models on the new rows; None if there are none.
        old: both models on the old rows; None if there are none.
        slices: both models on each slice, the worst first.
        rule: what was asked.
    """

    promote: bool
    failed: tuple[Condition, ...]
    reasons: tuple[str, ...]
    metric: str
    new: Compared | None
    old: Compared | None
    slices: tuple[Compared, ...]
    rule: Rule

    def to_json(self) -> JsonObject:
        """The decision as plain JSON."""
        return {
            "promote": self.promote,
            "failed": list(self.failed),
            "reasons": list(self.reasons),
            "metric": self.metric,
            "rule": self.rule.to_json(),
            "tests": {
                "new": None if self.new is None else self.new.to_json(),
                "old": None if self.old is None else self.old.to_json(),
                "slices": [found.to_json() for found in self.slices],
            },
        }


def decide(
    champion: AnsweredRows,
    challenger: AnsweredRows,
    is_new: NDArray[np.bool_],
    slices: Sequence[Slice] = (),
    rule: Rule | None = None,
) -> Decision:
    """Whether a challenger takes the place of the champion.

    Args:
        champion: rows as the champion answers them.
        challenger: the same rows, as the challenger answers them.
        is_new: [rows], whether each row is a new one.
        slices: sets of rows on which nothing may get worse.
        rule: what is asked; the usual rule when None.
    """
    rule = rule or Rule()
    challenger = replace(challenger, groups=champion.groups)
    metric = METRICS.get(champion.task.primary_for(champion.label_schema))
    both = _Both(champion, challenger, rule)
    # Only one side counts of both: an interval with two tails of the level has a lower bound with one.
    new = both.compare("the new rows", "new", is_new, 2 * rule.level)
    old = both.compare("the old rows", "old", ~is_new, 2 * min(rule.risk, 0.499))
    tested = both.compare_slices(slices)
    conditions = {
        "new_rows": _of_new_rows(new, metric, rule),
        "old_rows": _of_old_rows(old, metric, rule),
        "slices": _of_slices(tested, metric, rule),
    }
    failed = tuple(name for name, (holds, _) in conditions.items() if not holds)
    reasons = [said for name, (_, said) in conditions.items() if not failed or name in failed]
    return Decision(not failed, failed, tuple(reasons), metric.name, new, old, tested, rule)  # type: ignore[arg-type]


@dataclass(frozen=True)
class _Both:
    """Both models on the same rows."""

    champion: AnsweredRows
    challenger: AnsweredRows
    rule: Rule

    def compare(self, name: str, kind: str, rows: NDArray[np.bool_], level: float) -> Compared | None:
        """Both models on some rows; None if there are no such rows.

        Args:
            name: which rows, for people.
            kind: kind of the rows.
            rows: [rows], whether each row is one of them.
            level: level of the interval, two-sided.
        """
        if not rows.any():
            return None
        champion, challenger, test = self._tested(rows)
        p = test.p / 2 if kind == "new" else test.p  # one side, that of the difference
        return _compared(name, kind, champion, challenger, test, p, self.rule, level)

    def compare_slices(self, slices: Sequence[Slice]) -> tuple[Compared, ...]:
        """Both models on each slice that has enough rows; p-values are corrected for all of them."""
        chosen = [one for one in slices if one.rows.sum() >= self.rule.least_rows]
        tested = [self._tested(one.rows) for one in chosen]
        corrected = holm([test.p for _, _, test in tested])
        found = [
            _compared(one.name, one.kind, *models, p_holm, self.rule, self.rule.level)
            for one, models, p_holm in zip(chosen, tested, corrected, strict=True)
        ]
        return tuple(sorted(found, key=lambda it: (it.paired.gain.value >= 0, it.paired.p_holm, it.name)))

    def _tested(self, rows: NDArray[np.bool_]) -> tuple[AnsweredRows, AnsweredRows, Significance]:
        numbers = np.flatnonzero(rows)
        champion, challenger = self.champion.take(numbers), self.challenger.take(numbers)
        test = paired_test(challenger, champion, groups=champion.groups, seed=self.rule.seed)
        return champion, challenger, test


def _compared(
    name: str,
    kind: str,
    champion: AnsweredRows,
    challenger: AnsweredRows,
    test: Significance,
    p_holm: float,
    rule: Rule,
    level: float,
) -> Compared:
    method = replace(rule.method, confidence=1 - level)
    gained = gain(challenger, champion, method, groups=champion.groups)
    outcome = _outcome(gained, test, p_holm, rule.level, _units(champion))
    paired = Paired(
        gained, test.test, test.p, p_holm, outcome, *(discordant(challenger, champion) or (None, None))
    )
    values = (_value(champion), _value(challenger))
    return Compared(name, kind, len(champion), *values, paired)


def _outcome(
    gained: Interval, test: Significance, p: float, level: float, n: int
) -> Literal["better", "not_shown", "worse", "too_few_rows"]:
    if test.test != "mcnemar" and n < FEWEST_ROWS:
        return "too_few_rows"
    if p > level + 1e-12 or gained.low <= 0 <= gained.high:
        return "not_shown"
    return "better" if gained.low > 0 else "worse"


def _units(rows: AnsweredRows) -> int:
    return len(rows) if rows.groups is None else len(np.unique(rows.groups))


def _value(rows: AnsweredRows) -> float:
    """The primary metric."""
    found = rows.task.formula(total(rows.statistics), rows.label_schema)
    return float(found[rows.task.primary_for(rows.label_schema)])


def _of_new_rows(new: Compared | None, metric: Metric, rule: Rule) -> tuple[bool, str]:
    """Whether the challenger is better on the new rows, and the sentence that says so."""
    if new is None:
        return False, "there are no new rows to compare on"
    said = in_words(new.paired, metric, CHALLENGER, CHAMPION, 1 - 2 * rule.level)
    return new.paired.outcome == "better", f"on the {new.rows:,} new rows, {said}"


def _of_old_rows(old: Compared | None, metric: Metric, rule: Rule) -> tuple[bool, str]:
    """Whether a loss of the margin is excluded on the old rows, and the sentence that says so."""
    if old is None:
        return False, "there are no old rows to compare on, so nobody knows what would be lost"
    margin = margin_of(metric, old.champion, rule.margin)
    holds = old.paired.outcome not in ("too_few_rows", "worse") and old.paired.gain.low > -margin
    shown = _shown(metric, margin)
    does = f"is not worse by {shown}" if holds else f"may be worse by more than {shown}"
    if not holds and old.paired.gain.low > -margin and old.paired.outcome == "worse":
        does = f"is worse, though not by {shown}"  # a loss that is shown is no accident, however small
    low, high = sorted(old.paired.bounds[1:])
    unit = " points" if metric.is_share else ""
    said = (
        f"{_signed(metric, old.paired.gain.value)}{unit}, {100 - 200 * min(rule.risk, 0.499):.3g} % interval "
    )
    said += f"{_signed(metric, low)} to {_signed(metric, high)}"
    few = "; more test rows, or a larger margin, would tell" if not holds and high > 0 else ""
    return holds, f"on the {old.rows:,} old rows, {CHALLENGER} {does} ({said}){few}"


def _of_slices(slices: Sequence[Compared], metric: Metric, rule: Rule) -> tuple[bool, str]:
    """Whether no slice gets worse, and the sentence that says so."""
    worse = [it for it in slices if it.paired.outcome == "worse"]
    if not slices:
        return True, f"no slice has {rule.least_rows} rows, so none was tested"
    if not worse:
        return True, f"none of {len(slices)} slices gets significantly worse"
    first = worse[0]
    more = f", and {len(worse) - 1} more slices get worse" if len(worse) > 1 else ""
    said = in_words(first.paired, metric, CHALLENGER, CHAMPION, 1 - rule.level)
    return False, f"on the {first.rows:,} rows {first.name}, {said}{more}"


def margin_of(metric: Metric, value: float, margin: float) -> float:
    """The margin in the unit of the metric.

    Args:
        metric: primary metric.
        value: value of the champion.
        margin: as in `Rule`.
    """
    return margin if metric.is_share or metric.unit == _CORRELATION else margin * abs(value)


def _signed(metric: Metric, gained: float) -> str:
    """How much better, for people: `+1.2`."""
    return f"{100 * gained:+.1f}" if metric.is_share else f"{gained:+.3f}"


def _shown(metric: Metric, margin: float) -> str:
    if not metric.is_share:
        return f"{margin:.3g} ({metric.label})"
    return "1 point" if math.isclose(margin, 0.01) else f"{100 * margin:.3g} points"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
