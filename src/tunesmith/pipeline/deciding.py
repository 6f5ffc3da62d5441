"""Whether offsets favour rare labels when an answer is chosen, and which: decided on rows that were held out.

Macro F1 must gain beyond chance: by an interval and a permutation test, corrected for the ways that are tried
(`evaluation/paired.py`), on answers of offsets that were fitted without the row. And the accuracy may not fall by
more than the macro F1 rises. Else the most probable label is answered. The simpler way is taken, unless the other
is better beyond chance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.evaluation.baselines import RowStatistics
from tunesmith.evaluation.decision_gain import DecisionGain, decision_gains
from tunesmith.evaluation.intervals import Method
from tunesmith.evaluation.paired import compare_pairs
from tunesmith.evaluation.scoring import Scored
from tunesmith.pipeline.training_plan import TrainingPlan
from tunesmith.pipeline.work import Work
from tunesmith.tasks import OFFSETS, LabelSchema
from tunesmith.training.decision import LEAST_ROWS, RARE, Way, fit_ways, rarest

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

_AS_IT_IS = "the most probable label is answered"


def decide(work: Work, plan: TrainingPlan, scored: Scored) -> LabelSchema:
    """The label schema, with offsets where they are worth it; says so, and writes it into the manifest.

    Args:
        work: what is to be done.
        plan: data and sequences.
        scored: validation rows as the calibrated model answers them.
    """
    decision, schema, asked = scored.task.decision, scored.label_schema, work.recipe.evaluate.decision
    if decision is None:
        return schema
    if asked == "none":
        return _kept(work, schema, "asked for")
    train = plan.encoded.labels_of(plan.data.splits["train"])
    counts = np.bincount(train, minlength=len(schema["labels"]))
    facts = _facts(schema, counts, len(scored.examples))
    if (reason := _why_not(asked, facts)) is not None:
        return _kept(work, schema, reason, facts)
    ways = fit_ways(
        scored.evaluated.outputs,
        decision.labels(scored.evaluated),
        counts,
        groups=scored.groups,
        seed=plan.recipe.seed,
    )
    if ways is None:
        return _kept(work, schema, "all validation rows are of one group", facts)
    held_out = {name: _answered(scored, way) for name, way in ways.items()}
    method = Method(plan.recipe.evaluate.bootstrap_samples, plan.recipe.evaluate.confidence, plan.recipe.seed)
    found = decision_gains(list(held_out.values()), _answered(scored), decision, method, groups=scored.groups)
    gains = dict(zip(ways, found, strict=True))
    facts["tried"] = {name: gain.to_json() for name, gain in gains.items()}
    chosen, reason = _choose(asked, gains, held_out, scored, method)
    if chosen is None:
        return _kept(work, schema, reason, facts)
    offsets = [float(value) for value in ways[chosen].offsets]
    named = dict(zip(schema["labels"], offsets, strict=True))
    work.run.update_manifest(decision={"method": chosen, "reason": reason, "offsets": named, **facts})
    work.events.note(_said(gains[chosen], method))
    return {**schema, OFFSETS: offsets}


def _facts(schema: LabelSchema, counts: np.ndarray, n: int) -> JsonObject:
    label, share = rarest(counts)
    named = {"label": schema["labels"][label], "rows": int(counts[label]), "share_of_even": share}
    return {"n": n, "rarest": named}


def _why_not(asked: str, facts: JsonObject) -> str | None:
    """Why nothing is fitted; None where it is."""
    if asked == "auto" and facts["rarest"]["share_of_even"] >= RARE:
        return "no label is rare"
    if facts["n"] < LEAST_ROWS:
        return f"{facts['n']:,} validation rows are too few to fit offsets on ({LEAST_ROWS} are needed)"
    return None


def _choose(
    asked: str,
    gains: Mapping[str, DecisionGain],
    held_out: Mapping[str, RowStatistics],
    scored: Scored,
    method: Method,
) -> tuple[str | None, str]:
    """The way that is taken, if any, and why."""
    best = max(gains, key=lambda name: gains[name].gain.gain.value)
    if asked == "offsets":
        return best, "asked for"
    passing = [name for name, found in gains.items() if found.is_worth_it]
    if not passing:
        return None, _why_none(gains[best], method)
    chosen = passing[0]
    for other in passing[1:]:
        pair = (held_out[other], held_out[chosen])
        metric = gains[other].decision.metric
        found = compare_pairs([pair], method, groups=scored.groups, metric=metric)
        chosen = other if found[0].outcome == "better" else chosen
    return chosen, "macro F1 is better on rows that were held out"


def _answered(scored: Scored, way: Way | None = None) -> RowStatistics:
    """The rows, each answered with offsets that were fitted without it; with the most probable label when None."""
    evaluated = scored.evaluated
    if way is not None:
        evaluated = replace(
            evaluated, outputs=np.asarray(evaluated.outputs) + way.held_out.astype(np.float32)
        )
    return RowStatistics.of(scored.task, evaluated, scored.label_schema)


def _why_none(best: DecisionGain, method: Method) -> str:
    """Why none is taken, by the best of them."""
    if best.gain.outcome == "better":
        return (
            f"offsets cost more accuracy ({100 * best.cost.gain.value:+.1f} points) than they gain in macro F1 "
            f"({100 * best.gain.gain.value:+.1f})"
        )
    return f"offsets do not raise the macro F1 beyond chance ({_interval(best, method)}, by cross-validation)"


def _interval(found: DecisionGain, method: Method) -> str:
    value, low, high = (100 * bound for bound in found.gain.bounds)
    return f"{value:+.1f} points, {100 * method.confidence:.3g} % interval {low:.1f} to {high:.1f}"


def _said(found: DecisionGain, method: Method) -> str:
    metric, cost = found.decision.metric, found.decision.cost
    return (
        f"rare labels are favoured when an answer is chosen: macro F1 {found.before[metric]:.3f} to "
        f"{found.after[metric]:.3f} ({_interval(found, method)}), accuracy {found.before[cost]:.3f} to "
        f"{found.after[cost]:.3f}, by cross-validation; the probabilities stay as they are (docs/methods.md)"
    )


def _kept(work: Work, schema: LabelSchema, reason: str, facts: JsonObject | None = None) -> LabelSchema:
    """Leaves the answers as they are; says so where something was tried, or asked for."""
    work.run.update_manifest(decision={"method": "none", "reason": reason, **(facts or {})})
    if work.recipe.evaluate.decision == "offsets":
        work.events.warn(f"no offsets for rare labels: {reason}; {_AS_IT_IS}")
    elif facts is not None and "tried" in facts:
        work.events.note(f"rare labels: {reason}; {_AS_IT_IS}")
    return schema
