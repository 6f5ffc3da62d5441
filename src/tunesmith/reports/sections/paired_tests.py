"""The model against every baseline on the same rows: differences, discordant rows, p-values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunesmith.evaluation.baselines import BASELINES
from tunesmith.reports.sections import Section, Source

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

_OUTCOMES = {
    "better": "the model is better",
    "worse": "the model is worse",
    "not_shown": "no difference is shown",
    "too_few_rows": "too few rows to judge",
}
_TESTS = {
    "mcnemar": "McNemar's test counts the rows that only one of both has right",
    "permutation": "the permutation test swaps their answers at random",
}


def _facts(source: Source) -> JsonObject | None:
    found = source.metrics.get("paired_tests")
    if not found:
        return None
    against = found["against"]
    return {
        **found,
        "rows": [
            {
                "name": BASELINES.get(name).label,
                "in_words": _OUTCOMES[one["outcome"]],
                # A permutation test counts no rows.
                "only_this_right": None,
                "only_other_right": None,
                **one,
            }
            for name, one in against.items()
        ],
        "counts": any("only_this_right" in one for one in against.values()),
        "explained": "; ".join(
            _TESTS[name] for name in dict.fromkeys(one["test"] for one in against.values())
        ),
    }


section = Section("Against simpler models, on the same rows", 12, _facts)
