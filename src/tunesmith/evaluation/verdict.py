"""Was it worth it? Paired tests of the model against every baseline, and one sentence about the strongest of them.

The model and the baselines answered the same rows, so a difference has a narrower interval than either score. The
interval decides together with the p-value, corrected for all baselines: better, worse, or not shown
(`evaluation/paired.py`). With fewer than about thirty rows, or groups of rows, nothing says much, and the sentence
says that instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tunesmith.evaluation.baselines import BASELINES, RowStatistics
from tunesmith.evaluation.intervals import Method
from tunesmith.evaluation.paired import (
    FEWEST_ROWS,
    Paired,
    compare_pairs,
    in_words,
    independent_rows,
    p_in_words,
)
from tunesmith.evaluation.scoring import Scored
from tunesmith.metrics import METRICS, Metric
from tunesmith.recipe import EvaluateRecipe

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

_ENDINGS = {
    "better": "{what} was worth it",
    "not_shown": "it is not shown that {what} was worth it",
    "worse": "{what} made it worse than {baseline}",
}


def compare_with_baselines(
    final: Scored, baselines: Mapping[str, RowStatistics], how: EvaluateRecipe, seed: int
) -> dict[str, Paired]:
    """The model against each baseline, by name.

    Args:
        final: the rows that count, as the model answers them.
        baselines: the same rows, as baselines answer them.
        how: number of resamples, and confidence level.
        seed: random seed for resampling.
    """
    method = Method(how.bootstrap_samples, how.confidence, seed)
    found = compare_pairs([(final, rows) for rows in baselines.values()], method, groups=final.groups)
    return dict(zip(baselines, found, strict=True))


def describe_tests(
    final: Scored, tests: Mapping[str, Paired], how: EvaluateRecipe, *, split: str
) -> JsonObject:
    """The entry `paired_tests` of metrics.json.

    Args:
        final: the rows that count, as the model answers them.
        tests: what `compare_with_baselines` gave.
        how: confidence level.
        split: name of the split.
    """
    metric = METRICS.get(final.task.primary_for(final.label_schema))
    return {
        "metric": metric.name,
        "split": split,
        "n": len(final.examples),
        **({} if final.groups is None else {"groups": independent_rows(final)[0]}),
        "confidence": how.confidence,
        "correction": "holm",
        "against": {
            name: {
                **found.to_json(),
                "text": in_words(
                    found, metric, "this model", BASELINES.get(name).name_in_text, how.confidence
                ),
            }
            for name, found in tests.items()
        },
    }


def judge(final: Scored, tests: Mapping[str, Paired], *, split: str, what: str = "fine-tuning") -> JsonObject:
    """The entry `verdict` of metrics.json.

    Args:
        final: the rows that count, as the model answers them.
        tests: what `compare_with_baselines` gave.
        split: name of the split, for the sentence.
        what: what was done, for the sentence.

    Returns:
        `text`, `outcome` (`better`, `not_shown`, `worse`, `too_few_rows`, `nothing_to_compare`), `against` (the
        best baseline), and how much better the model is: `difference`, `low`, `high`, in the unit of the primary
        metric; above 0 is better, whatever the direction of the metric.
    """
    if not tests:
        return _without_interval(
            "nothing_to_compare", "no baseline was scored: there is nothing to compare with"
        )
    name = strongest(tests)
    found = tests[name]
    if found.outcome == "too_few_rows":
        n, of = independent_rows(final)
        text = f"{n} {split} {of} are too few to judge: about {FEWEST_ROWS} are needed"
        return _without_interval("too_few_rows", text, name)
    baseline = BASELINES.get(name).name_in_text
    ending = _ENDINGS[found.outcome].format(what=what, baseline=baseline)
    difference = _difference(METRICS.get(final.task.primary_for(final.label_schema)), found, baseline)
    return {
        "text": f"{difference}: {ending}",
        "outcome": found.outcome,
        "against": name,
        "difference": found.gain.value,
        "low": found.gain.low,
        "high": found.gain.high,
    }


def strongest(tests: Mapping[str, Paired]) -> str:
    """The baseline with the best primary metric; of equal ones the probe, which costs a model too."""
    return min(tests, key=lambda name: (tests[name].gain.value, name != "probe"))


def _without_interval(outcome: str, text: str, against: str | None = None) -> JsonObject:
    nothing = {"difference": None, "low": None, "high": None}
    return {"text": text, "outcome": outcome, "against": against, **nothing}


def _difference(metric: Metric, found: Paired, baseline: str) -> str:
    """`+12.0 points over the probe [5.1, 19.0]`; of what is better when smaller: `0.31 loss below …`.

    Where the interval alone would say more than the test, the p-value is added.
    """
    value, low, high = found.bounds
    contradicts = found.outcome == "not_shown" and not low <= 0 <= high
    doubt = f", but {p_in_words(found)}" if contradicts else ""
    if metric.is_share:
        return f"{100 * value:+.1f} points over {baseline} [{100 * low:.1f}, {100 * high:.1f}]{doubt}"
    if metric.greater_is_better:
        return f"{value:+.3f} {metric.label} over {baseline} [{low:.3f}, {high:.3f}]{doubt}"
    side = "below" if value >= 0 else "above"
    low, high = (low, high) if value >= 0 else (-high, -low)
    return f"{abs(value):.3f} {metric.label} {side} {baseline} [{low:.3f}, {high:.3f}]{doubt}"
