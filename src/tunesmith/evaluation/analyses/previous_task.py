"""Whether a classifier that was continued on another task forgot the one before.

`head` compares the head of the earlier run on its own encoder and on the new one; `probe` compares linear probes
on both. If the head fails and the probe does not, the knowledge is there, and a new head would find it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunesmith.evaluation.analyses import Analysis, Answered
from tunesmith.evaluation.intervals import Method, intervals
from tunesmith.evaluation.paired import Paired, compare_pairs, in_words
from tunesmith.metrics import METRICS

if TYPE_CHECKING:
    from tunesmith.evaluation.baselines import RowStatistics
    from tunesmith.evaluation.previous import Previous
    from tunesmith.types import JsonObject


def _find(answered: Answered) -> JsonObject | None:
    """The entry of metrics.json; None where the base model is no run, or its rows cannot be answered."""
    previous = answered.previous()
    if previous is None:
        return None
    how = answered.how
    method = Method(how.bootstrap_samples, how.confidence, answered.seed)
    pairs = [(after, before) for before, after in (previous.head, previous.probe)]
    head, probe = compare_pairs(pairs, method, groups=None)
    schema = previous.head[0].label_schema
    return {
        "run": previous.run,
        "task": previous.task.name,
        "rows": previous.n_rows,
        "metric": previous.task.primary_for(schema),
        "head": _side(previous.head, head, method),
        "probe": _side(previous.probe, probe, method),
        "outcome": _outcome(head, probe),
        "text": _text(previous, head, probe, how.confidence),
    }


def _side(rows: tuple[RowStatistics, RowStatistics], found: Paired, method: Method) -> JsonObject:
    before, after = (_primary(one, method) for one in rows)
    return {"before": before, "after": after, "change": found.to_json("after", "before")}


def _primary(rows: RowStatistics, method: Method) -> JsonObject:
    task, schema = rows.task, rows.label_schema
    found = intervals(rows.statistics, lambda sums: task.formula(sums, schema), task.shares(schema), method)
    return found[task.primary_for(schema)].to_json()


def _outcome(head: Paired, probe: Paired) -> str:
    """`forgotten`: a new head would not find it either; `head_only`: it would; `kept`; `too_few_rows`."""
    if "too_few_rows" in (head.outcome, probe.outcome):
        return "too_few_rows"
    if probe.outcome == "worse":
        return "forgotten"
    return "head_only" if head.outcome == "worse" else "kept"


def _text(previous: Previous, head: Paired, probe: Paired, confidence: float) -> str:
    metric = METRICS.get(previous.task.primary_for(previous.head[0].label_schema))
    rows = f"of the previous task ({previous.run}, {previous.n_rows:,} rows it was scored on), "
    by_head = in_words(head, metric, "its head on the new encoder", "on its own", confidence)
    by_probe = in_words(probe, metric, "a new linear head on the new encoder", "one on the old", confidence)
    said = {
        "forgotten": "; some of what it knew is gone: an adapter, fewer epochs or a lower learning rate keep more",
        "head_only": "; what it knew is still there, but the old head no longer finds it: fit the head again",
    }
    return f"{rows}{by_head}; {by_probe}{said.get(_outcome(head, probe), '')}"


analysis = Analysis("whether a continued classifier forgot the previous task", _find)
