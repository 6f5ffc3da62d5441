"""Metrics and reports as they are shown in a terminal and in a notebook."""

from __future__ import annotations

import html
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tunesmith.evaluation.baselines import BASELINES
from tunesmith.metrics import METRICS

_STYLE = "border-collapse: collapse; text-align: right"
_REPORT_HEIGHT = 640


class Metrics(dict[str, Any]):
    """The content of `metrics.json`, as a mapping: `metrics["primary"]["value"]`."""

    def __repr__(self) -> str:
        header, rows = self._table()
        widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
        lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
                 for row in (header, *rows))  # fmt: skip
        return "\n".join([*lines, *self._sentences()])

    def _repr_html_(self) -> str:
        header, rows = self._table()
        head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
        body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
        said = "".join(f"<p>{html.escape(line)}</p>" for line in self._sentences())
        return f'<table style="{_STYLE}"><tr>{head}</tr>{body}</table>{said}'

    def _table(self) -> tuple[list[str], list[list[str]]]:
        confidence = f"{self['primary']['confidence'] * 100:.3g} % interval"
        return ["split", "metric", "value", confidence], list(self._rows())

    def _rows(self) -> Iterator[list[str]]:
        for split, scores in self["splits"].items():
            for name, score in scores.items():
                metric = METRICS.get(name)
                value, low, high = (metric.shown(score[key]) for key in ("value", "low", "high"))
                yield [split, metric.label, value, f"{low} to {high}"]

    def _sentences(self) -> Iterator[str]:
        from tunesmith.evaluation.result import remarks

        primary = self["primary"]
        metric, known = METRICS.get(primary["name"]), BASELINES.names()
        others = [
            f"{BASELINES.get(name).label if name in known else name} {metric.shown(scores[metric.name])}"
            for name, scores in self.get("baselines", {}).items()
            if metric.name in scores
        ]
        if others:
            yield f"{metric.label} of baselines on {primary['split']}: {', '.join(others)}"
        yield from remarks(self)


class Report:
    """The report of a run: shown as a page within a notebook, and opened in the browser by `open`.

    Args:
        path: `report.html` of the run.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        return f"<Report {self.path}: `.open()` shows it in the browser>"

    def _repr_html_(self) -> str:
        page = html.escape(self.path.read_text(encoding="utf-8"))
        frame = f"width: 100%; height: {_REPORT_HEIGHT}px; border: 1px solid #ccc"
        return f'<iframe srcdoc="{page}" style="{frame}" sandbox="allow-same-origin allow-popups"></iframe>'

    def open(self) -> bool:
        """Opens it in the browser; gives whether there is one."""
        return webbrowser.open(self.path.resolve().as_uri())
