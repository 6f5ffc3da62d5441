"""`compare`: finished runs side by side."""

from __future__ import annotations

import html
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.api.keywords import suggesting
from tunesmith.api.recipes import as_sources
from tunesmith.api.using import draft_of, open_door, showing

if TYPE_CHECKING:
    from tunesmith.events import Listener
    from tunesmith.types import JsonObject

_STYLE = "border-collapse: collapse; text-align: right"


class Comparison(dict[str, Any]):
    """Runs on the same rows, as a mapping: what `tunesmith compare --json` prints."""

    @property
    def table(self) -> list[JsonObject]:
        """A mapping a run, the best first, which `pandas.DataFrame` takes: scores, tests, and what differs.

        `difference`, `low_difference` and `high_difference` are how much worse a run is than the best.
        """
        metric, pairs = self["metric"], {pair["second"]: pair for pair in self._against_the_best()}
        return [
            {
                "run": run["name"],
                metric: run["scores"][metric]["value"],
                "low": run["scores"][metric]["low"],
                "high": run["scores"][metric]["high"],
                **_tested(pairs.get(run["name"])),
                "seconds": run["seconds"],
                "parameters": run["parameters"],
                "bytes": run["bytes"],
                **run["recipe"],
            }
            for run in self["runs"]
        ]

    def write(self, path: str | os.PathLike[str]) -> None:
        """Writes the page `compare.html`, with the chart and the rows on which the runs disagree."""
        from tunesmith.reports import comparison_page
        from tunesmith.run import write_atomically

        write_atomically(Path(path), comparison_page(self))

    def __repr__(self) -> str:
        from tunesmith.reports import comparison_remarks, comparison_table

        header, rows = comparison_table(self)
        widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in (header, *rows)
        ]
        return "\n".join([*lines, *comparison_remarks(self)])

    def _repr_html_(self) -> str:
        from tunesmith.reports import comparison_remarks, comparison_table

        header, rows = comparison_table(self)
        head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
        body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
        said = "".join(f"<p>{html.escape(line)}</p>" for line in comparison_remarks(self))
        return f'<table style="{_STYLE}"><tr>{head}</tr>{body}</table>{said}'

    def _against_the_best(self) -> list[JsonObject]:
        return [pair for pair in self["pairs"] if pair["first"] == self["best"]]


def _tested(pair: JsonObject | None) -> JsonObject:
    """The columns of the test against the best run; those of the best run itself are empty."""
    columns = {
        "difference": "difference",
        "low_difference": "low",
        "high_difference": "high",
        "p_holm": "p_holm",
    }
    return {ours: None if pair is None else pair[theirs] for ours, theirs in columns.items()}


@suggesting
def compare(
    *runs: str | os.PathLike[str],
    data: Any = None,
    columns: Mapping[str, str | list[str]] | None = None,
    progress: bool = True,
    listeners: Iterable[Listener] = (),
) -> Comparison:
    """Finished runs on the same rows: scores, paired tests with Holm's correction, and what differs.

    Args:
        runs: two or more runs, or their folders.
        data: a file, several, or rows in memory, which every run answers; without it, the rows that the runs
            answered after training, as far as they have them in common.
        columns: the data's column for each of the task's; those of each run when None.
        progress: whether to show what happens.
        listeners: called with every event (`tunesmith.events`).

    Raises:
        UserError: the runs have nothing in common that could be compared, or the data cannot be used.
    """
    from tunesmith import pipeline

    open_door()
    sources, _held = ([], []) if data is None or not runs else as_sources(draft_of(runs[0]), data, "")
    with showing(progress, listeners) as shown:
        return Comparison(pipeline.compare(runs, data=sources, columns=columns, listeners=shown))
