"""The whole confusion matrix, if it fits on a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunesmith.reports.sections import Section, Source

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

_LARGEST = 24


def _facts(source: Source) -> JsonObject | None:
    table = source.metrics["details"].get("confusion")
    if table is None or len(table["labels"]) > _LARGEST:
        return None
    labels = table["labels"]
    rows = [
        {"label": labels[i], "cells": [(n, n / max(sum(row), 1), i == j) for j, n in enumerate(row)]}
        for i, row in enumerate(table["counts"])
    ]
    return {"labels": labels, "matrix": rows}


section = Section("Confusion matrix", 50, _facts)
