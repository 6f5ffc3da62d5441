"""What more labelled rows would change, from the learning curve of the rows that a run has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunesmith.checks.learning_curve import Expected, expected
from tunesmith.data.examples import fingerprint
from tunesmith.data.preparing import all_sources, find_splits
from tunesmith.errors import UserError
from tunesmith.pipeline.checking import reading_for_checks

if TYPE_CHECKING:
    from tunesmith.events import Events
    from tunesmith.run import Run
    from tunesmith.types import JsonObject

_MOST_ROWS = 5_000
"""With more training rows, the curve takes minutes, and single rows change little."""


def expected_gain(run: Run, more: int, events: Events) -> JsonObject | None:
    """What so many more rows would change, were they drawn at random; None where that cannot be said.

    Args:
        run: run whose data are read again, if they are as they were.
        more: number of rows.
        events: listeners; a note says why nothing is said.
    """
    n_rows = run.manifest()["data"]["rows"]["train"]
    if n_rows > _MOST_ROWS:
        events.note(f"what more rows would bring is not said: the run has {n_rows:,} rows already")
        return None
    try:
        found = _curve(run, n_rows, more)
    except UserError as error:
        events.note(f"what more rows would bring is not said: {error.rule}")
        return None
    return None if found is None else _entry(found, more)


def _curve(run: Run, n_rows: int, more: int) -> Expected | None:
    recipe = run.recipe()
    sources = all_sources(find_splits(recipe).data)
    if fingerprint(sources) != run.manifest()["data"]["fingerprint"]:
        return None
    with reading_for_checks(recipe) as checked:
        return expected(checked, (n_rows + more) / n_rows)


def _entry(found: Expected, more: int) -> JsonObject:
    return {
        "metric": found.metric,
        "rows": found.n_rows,
        "more": more,
        "value": found.gain.value,
        "low": found.gain.low,
        "high": found.gain.high,
        "is_shown": found.is_shown,
        "text": found.sentence(f"{more:,} more rows, drawn at random,"),
    }
