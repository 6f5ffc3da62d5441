"""Charts as inline SVG, drawn by matplotlib without a display."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tunesmith.types import JsonObject

INK, BLUE, ORANGE, GRID = "#1f2933", "#2364aa", "#d9622b", "#d9dee4"


def curves(events: Sequence[JsonObject], metric: str, best_step: int) -> str:
    """Training loss and validation metric over the steps; empty if nothing was logged."""
    steps = [e for e in events if e["kind"] == "step" and e["loss"] is not None]
    looks = [e for e in events if e["kind"] == "validation" and e.get(metric) is not None]
    if not steps:
        return ""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.2, 3.1), layout="constrained")
    left, right = figure.subplots(1, 2)
    x, loss = [e["step"] for e in steps], [e["loss"] for e in steps]
    left.plot(x, loss, color=BLUE, alpha=0.3, linewidth=1)
    left.plot(x, smoothed(loss), color=BLUE, linewidth=2)
    left.set_title("Training loss")
    right.plot([e["step"] for e in looks], [e[metric] for e in looks], "o-", color=ORANGE, linewidth=2)
    kept = [f"; {e[metric]:.4f} is kept" for e in looks if e["step"] == best_step]
    right.set_title(f"Validation {metric}{''.join(kept)}")
    for axes in (left, right):
        _style(axes)
        axes.set_xlabel("step")
    left.set_ylim(bottom=0)
    return _svg(figure)


def scatter(true: Sequence[float], predicted: Sequence[float]) -> str:
    """Predicted against true numbers, with the line on which both are equal."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6, 4.2), layout="constrained")
    axes = figure.subplots()
    ends = [min(*true, *predicted), max(*true, *predicted)]
    axes.plot(ends, ends, color=GRID, linewidth=2)
    axes.scatter(true, predicted, s=9, color=BLUE, alpha=0.35, linewidths=0)
    axes.set_xlabel("true")
    axes.set_ylabel("predicted")
    _style(axes)
    return _svg(figure)


def smoothed(values: Sequence[float], keep: float = 0.85) -> list[float]:
    """The exponential moving average, corrected for its start."""
    average, weight, result = 0.0, 0.0, []
    for value in values:
        average = keep * average + (1 - keep) * value
        weight = keep * weight + (1 - keep)
        result.append(average / weight)
    return result


def _style(axes: Axes) -> None:
    axes.title.set_fontsize(11)
    axes.title.set_color(INK)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GRID)
    axes.tick_params(colors=INK, labelsize=9, length=0)


def _svg(figure: Figure) -> str:
    import matplotlib as mpl

    buffer = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "tunesmith", "font.family": "sans-serif"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
