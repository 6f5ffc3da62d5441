"""`tune.html`: what a search tried, what mattered, and why its recipe was chosen.

Every number is in tune.json.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.metrics import METRICS
from tunesmith.reports.html import environment
from tunesmith.reports.tuning_charts import curves_chart, history_chart, slice_charts, time_chart
from tunesmith.run import write_atomically

if TYPE_CHECKING:
    from tunesmith.types import JsonObject


def write_tuning_report(path: Path, result: JsonObject) -> None:
    """Writes the report of a search: one file that opens without a network.

    Args:
        path: file to write.
        result: content of tune.json.
    """
    write_atomically(path, tuning_page(result))


def tuning_page(result: JsonObject) -> str:
    """The page.

    Args:
        result: content of tune.json.
    """
    curves = curves_chart(result)
    facts = {
        "result": result,
        "metric": METRICS.get(result["metric"]),
        "charts": [history_chart(result), *([curves] if curves is not None else []), time_chart(result)],
        "slices": slice_charts(result),
        "keys": list(result["space"]),
    }
    return environment().get_template("tuning.html.jinja").render(**facts).lstrip()
