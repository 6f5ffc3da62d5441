"""What offsets for rare labels gain and cost on the rows that count, against the most probable label."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tunesmith.evaluation.analyses import Analysis, Answered
from tunesmith.evaluation.baselines import RowStatistics
from tunesmith.evaluation.decision_gain import decision_gains
from tunesmith.evaluation.intervals import Method
from tunesmith.tasks import OFFSETS

if TYPE_CHECKING:
    from tunesmith.types import JsonObject


def find(answered: Answered) -> JsonObject | None:
    """The entry `decision` of metrics.json; None where no label is rare."""
    final, fitted = answered.final, answered.run.manifest().get("decision", {})
    if final.task.decision is None or "tried" not in fitted:
        return None
    primary = answered.metrics.get("primary", {})
    split = str(primary.get("split", "test")) if isinstance(primary, dict) else "test"
    entry: JsonObject = {"fitted": fitted, "method": fitted["method"], "split": split}
    if OFFSETS not in final.label_schema:
        return entry
    # In a run without test rows, these are the rows that the offsets were fitted on.
    entry["is_fitted_on_these_rows"] = split == "validation"
    schema = {key: value for key, value in final.label_schema.items() if key != OFFSETS}
    plain = replace(final, label_schema=schema)
    how = answered.how
    rows = [RowStatistics(it.task, it.statistics, it.label_schema) for it in (final, plain)]
    method = Method(how.bootstrap_samples, how.confidence, answered.seed)
    found = decision_gains(rows[:1], rows[1], final.task.decision, method, groups=final.groups)
    return {**entry, "n": len(final.examples), "gain": found[0].to_json()}


analysis = Analysis("what offsets for rare labels gain and cost, against the most probable label", find)
