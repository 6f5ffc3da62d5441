"""Phase 1: rows become splits."""

from __future__ import annotations

from tunesmith.data.preparing import PreparedData, prepare
from tunesmith.pipeline.work import Work


def prepare_data(work: Work) -> PreparedData:
    """Reads the data, reports what the user should know of them, and writes nothing.

    Raises:
        DataError: the rows cannot be used, or do not make a training.
    """
    work.events.stage("read", "Reading the data")
    data = prepare(work.task, work.recipe)
    named = ", ".join(f"{ours} = `{theirs}`" for ours, theirs in data.chosen.items())
    work.events.note(f"columns: {named}")
    work.events.note("rows: " + ", ".join(f"{len(rows):,} {name}" for name, rows in data.splits.items()))
    for notice in [*data.notices, *data.notices_without_check]:
        work.events.warn(notice)
    return data
