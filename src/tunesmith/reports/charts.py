"""Charts as inline SVG, drawn by matplotlib without a display.

Their colours are those of the page (`report.css`), by name, so that they change with it in the dark. Each has a
sentence for people who do not see it.
"""

from __future__ import annotations

import html
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from tunesmith.metrics import Metric, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tunesmith.types import JsonObject

# What matplotlib draws with, and the variable of the page that takes its place.
_COLOURS = {
    "#1f2933": "var(--ink)",
    "#2364aa": "var(--blue)",
    "#c2501d": "var(--orange)",
    "#d9dee4": "var(--grid)",
}
INK, BLUE, ORANGE, GRID = _COLOURS
_SIZE = (4.4, 2.9)
_LONGEST_NAME = 40
_MARGIN = 0.05  # inches around a chart


@dataclass(frozen=True)
class Chart:
    """A chart, and what stands above it. It is drawn when `svg` is read: the model card shows no charts.

    Args:
        title: what it shows, and what to see in it.
        figure: the chart as matplotlib has it.
        description: a sentence for people who do not see it.
    """

    title: str
    figure: Figure = field(repr=False, compare=False)
    description: str

    @cached_property
    def svg(self) -> str:
        """Inline SVG in the colours of the page."""
        return _svg(self.figure, self.description)


def coverage_chart(abstention: JsonObject) -> Chart:
    """The share of wrong answers among those given, against the share that is given; the promise is a point.

    Args:
        abstention: entry of metrics.json.
    """
    figure, axes = new_axes(_SIZE)
    points = abstention["curve"]
    axes.plot(
        [100 * point["coverage"] for point in points],
        [100 * point["error"] for point in points],
        color=BLUE,
        linewidth=2,
    )
    said = f"Of all answers, {percent(points[-1]['error'])} are wrong"
    if abstention.get("given"):
        x, y = abstention["coverage"], abstention["error"]
        axes.axhline(100 * abstention["max_error"], color=GRID, linewidth=2)
        axes.plot([100 * x], [100 * y], "o", color=ORANGE, markersize=8)
        said += f"; of the {percent(x)} that are given, {percent(y)}"
    axes.set_xlim(0, 101)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("answers given, %")
    axes.set_ylabel("wrong of them, %")
    style(axes)
    return Chart("The fewer answers are given, the fewer are wrong", figure, f"{said}.")


def learning_curves(events: Sequence[JsonObject], metric: Metric, best_step: int) -> list[Chart]:
    """Training loss, and validation metric, over the steps; none if nothing was logged.

    Args:
        events: lines of `events.jsonl`.
        metric: metric that chose the best step.
        best_step: step whose weights were saved.
    """
    losses = [(e["step"], e["loss"]) for e in events if e["kind"] == "step" and e["loss"] is not None]
    found = [
        (e["step"], e[metric.name])
        for e in events
        if e["kind"] == "validation" and e.get(metric.name) is not None
    ]
    if not losses:
        return []
    return [_loss_chart(losses), *([_metric_chart(found, metric, best_step)] if found else [])]


def _loss_chart(losses: Sequence[tuple[int, float]]) -> Chart:
    figure, axes = new_axes(_SIZE)
    steps, values = [step for step, _ in losses], [loss for _, loss in losses]
    axes.plot(steps, values, color=BLUE, alpha=0.3, linewidth=1)
    axes.plot(steps, smoothed(values), color=BLUE, linewidth=2)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("step")
    style(axes)
    said = f"Training loss: {values[0]:.3f} at step {steps[0]}, {values[-1]:.3f} at step {steps[-1]}."
    return Chart("Training loss; lower is better", figure, said)


def _metric_chart(found: Sequence[tuple[int, float]], metric: Metric, best_step: int) -> Chart:
    best = dict(found).get(best_step)
    saved = "" if best is None else f"; saved: {metric.shown(best)}"
    direction = "" if metric.greater_is_better else "; lower is better"
    figure, axes = new_axes(_SIZE)
    scale = 100 if metric.is_share else 1
    axes.plot(
        [step for step, _ in found], [scale * value for _, value in found], "o-", color=ORANGE, linewidth=2
    )
    if best is not None:
        axes.plot([best_step], [scale * best], "o", color=ORANGE, markersize=11, fillstyle="none")
    if metric.is_share:
        axes.yaxis.set_major_formatter("{x:g} %")
    axes.set_xlabel("step")
    style(axes)
    (first, start), (last, end) = found[0], found[-1]
    said = f"{metric.shown(start)} at step {first}, {metric.shown(end)} at step {last}{saved}"
    return Chart(
        f"Validation {metric.label}{direction}{saved}", figure, f"Validation {metric.label}: {said}."
    )


def scatter(true: Sequence[float], predicted: Sequence[float], *, same_scale: bool = True) -> Chart:
    """Predicted against true numbers; on one scale, with the line on which both are equal."""
    figure, axes = new_axes((4.6, 4.2))
    if same_scale:
        ends = [min(*true, *predicted), max(*true, *predicted)]
        axes.plot(ends, ends, color=GRID, linewidth=2)
    axes.scatter(true, predicted, s=9, color=BLUE, alpha=0.35, linewidths=0)
    axes.set_xlabel("true")
    axes.set_ylabel("predicted")
    style(axes)
    title = f"A point a row; {'on the line both are equal' if same_scale else 'their order counts'}"
    return Chart(title, figure, f"Predicted numbers against true ones, {len(true)} rows.")


def interval_chart(scores: Sequence[tuple[str, JsonObject]], metric: Metric) -> Chart:
    """The value and the interval of each run on one scale, the first at the top.

    Args:
        scores: name, and `value`, `low` and `high`, of each run.
        metric: metric of the scores.
    """
    figure, axes = new_axes((4.4, 0.7 + 0.5 * len(scores)))
    scale = 100 if metric.is_share else 1
    for row, (name, score) in enumerate(scores):
        low, value, high = (scale * score[key] for key in ("low", "value", "high"))
        axes.plot([low, high], [-row, -row], color=BLUE, linewidth=2)
        axes.plot([value], [-row], "o", color=ORANGE if row == 0 else BLUE, markersize=7)
        axes.annotate(
            _shortened(name), (low, -row), (0, 7), textcoords="offset points", color=INK, fontsize=10
        )
    axes.set_ylim(0.5 - len(scores), 0.75)
    axes.set_yticks([])
    if metric.is_share:
        axes.xaxis.set_major_formatter("{x:g} %")
    style(axes)
    axes.spines["left"].set_visible(False)
    said = "; ".join(
        f"{name} {metric.shown(score['value'])}, {metric.shown(score['low'])} to {metric.shown(score['high'])}"
        for name, score in scores
    )
    direction = "" if metric.greater_is_better else "; lower is better"
    return Chart(f"{metric.label} with its interval{direction}", figure, f"{metric.label}: {said}.")


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"…{name[1 - _LONGEST_NAME :]}"


@dataclass(frozen=True)
class Series:
    """Bins of answers by their score, as `calibration` of metrics.json holds them.

    Args:
        name: what the legend says.
        bins: each with its mean `score`, and the share of right answers: `value`, `low` and `high`.
    """

    name: str
    bins: Sequence[JsonObject]


def reliability_diagram(shown: Sequence[Series]) -> Chart:
    """The share of right answers against their score, in percent; on the line both are equal.

    Args:
        shown: one or two series; the last one is what counts.
    """
    figure, axes = new_axes((4.4, 3.9))
    least = min(100 * min(one["score"], one["low"]) for series in shown for one in series.bins)
    start = max(10 * (least // 10), 0)
    axes.plot([start, 100], [start, 100], color=GRID, linewidth=2)
    for series, colour in zip(reversed(shown), (BLUE, ORANGE), strict=False):
        _draw_bins(axes, series, colour, is_last=series is shown[-1])
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g} %")
    axes.set_xlim(start, 101)
    axes.set_ylim(start, 101)
    axes.set_xlabel("score of the answers")
    axes.set_ylabel("share that is right")
    style(axes)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(range(int(start), 101, 10 if start >= 40 else 20))
    axes.tick_params(pad=7)  # the first labels of both axes would touch
    if len(shown) > 1:
        axes.legend(
            loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, fontsize=10, labelcolor=INK
        )
    said = "; ".join(f"{series.name}: {_gaps(series.bins)}" for series in shown)
    return Chart("On the line, scores are probabilities; below it, they promise too much", figure, said)


def _draw_bins(axes: Axes, series: Series, colour: str, *, is_last: bool) -> None:
    """Points, with intervals where the series is the one that counts."""
    x, y = ([100 * one[key] for one in series.bins] for key in ("score", "value"))
    if is_last:
        ends = [[100 * abs(one["value"] - one[key]) for one in series.bins] for key in ("low", "high")]
        axes.errorbar(x, y, yerr=ends, fmt="none", ecolor=colour, elinewidth=1.2, alpha=0.5)
    axes.plot(
        x, y, "o-", color=colour, label=series.name, linewidth=1.5, markersize=5,
        fillstyle="full" if is_last else "none", zorder=3 if is_last else 2,
    )  # fmt: skip


def _gaps(bins: Sequence[JsonObject]) -> str:
    return ", ".join(f"{percent(one['score'])} score, {percent(one['value'])} right" for one in bins)


def smoothed(values: Sequence[float], keep: float = 0.85) -> list[float]:
    """The exponential moving average, corrected for its start."""
    average, weight, result = 0.0, 0.0, []
    for value in values:
        average = keep * average + (1 - keep) * value
        weight = keep * weight + (1 - keep)
        result.append(average / weight)
    return result


def new_axes(size: tuple[float, float]) -> tuple[Figure, Axes]:
    """A figure with one chart, of a width and height in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size)
    return figure, figure.subplots()


def style(axes: Axes) -> None:
    """Gives a chart the look of the page."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=axes.get_xlabel() == "step"))
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GRID)
    axes.tick_params(colors=INK, labelsize=10, length=0)


def _make_room(figure: Figure) -> None:
    """Moves the edges of the chart so that its labels and ticks lie within the figure.

    They are measured once; matplotlib's constrained layout measures again, and takes as long as drawing.
    """
    box, ends, edges = figure.get_tightbbox(), figure.get_size_inches() - _MARGIN, figure.subplotpars
    left, bottom, right, top = _MARGIN - box.x0, _MARGIN - box.y0, ends[0] - box.x1, ends[1] - box.y1
    width, height = figure.get_size_inches()
    figure.subplots_adjust(
        left=edges.left + left / width, right=edges.right + right / width,
        bottom=edges.bottom + bottom / height, top=edges.top + top / height,
    )  # fmt: skip


def _svg(figure: Figure, description: str) -> str:
    import matplotlib as mpl

    buffer = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "tunesmith", "font.family": "sans-serif"}):
        _make_room(figure)
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    for colour, variable in _COLOURS.items():
        text = text.replace(colour, variable)
    return text.replace("<svg", f'<svg role="img" aria-label="{html.escape(description)}"', 1)
