"""Scores by label, the weakest first; those without a score last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunesmith.reports.sections import Section, Source

if TYPE_CHECKING:
    from tunesmith.types import JsonObject


def _facts(source: Source) -> JsonObject | None:
    table = source.metrics["details"].get("per_class")
    if table is None or not table["labels"]:
        return None
    keys = [key for key in ("f1", "precision", "recall", "support", "train") if key in table]
    values = zip(table["labels"], *(table[key] for key in keys), strict=True)
    rows = [dict(zip(("label", *keys), row, strict=True)) for row in values]
    rows.sort(key=lambda row: (row["f1"] is None, row["f1"] or 0.0))
    return {"rows": rows, "counts": table.get("counts", "rows"), "with_train": "train" in table}


section = Section("Scores by label, the weakest first", 80, _facts)
