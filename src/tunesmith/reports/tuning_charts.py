"""Charts of a search: its trials in their order, what each key did, learning curves, and where the time went."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tunesmith.metrics import METRICS, Metric
from tunesmith.recipe import yaml_value
from tunesmith.reports.charts import BLUE, GRID, INK, ORANGE, Chart, new_axes, style
from tunesmith.reports.filters import duration

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tunesmith.types import JsonObject

_SIZE = (4.4, 2.9)
_MOST_SLICES = 12
_STAGES = {"default": ORANGE, "coarse": GRID, "fine": BLUE, "finalists": BLUE}
_LONGEST_VALUE = 18
_MARGIN = 0.05
_WIDE_RATIO = 100


def history_chart(result: JsonObject) -> Chart:
    """The score of every trial in its order, and the best so far on all rows.

    Args:
        result: content of tune.json.
    """
    metric = METRICS.get(result["metric"])
    figure, axes = new_axes(_SIZE)
    scale, shown = _scale(metric), [it for it in result["trials"] if it["value"] is not None]
    for stage, colour in _STAGES.items():
        own = [(at, it) for at, it in enumerate(shown, start=1) if it["stage"] == stage]
        for complete in (True, False):
            points = [(at, scale * it["value"]) for at, it in own if (it["state"] == "complete") == complete]
            if points:
                axes.plot(*zip(*points, strict=True), "o", color=colour, markersize=7 if complete else 3)
    best = list(_best_so_far(shown, maximize=result["maximize"]))
    if best:
        axes.step(
            [at for at, _ in best],
            [scale * value for _, value in best],
            color=ORANGE,
            linewidth=2,
            where="post",
        )
    _percent_axis(axes, metric)
    axes.set_xlabel("trial")
    style(axes)
    title = f"Validation {metric.label} by trial; line: best so far on all rows"
    said = (
        f"{len(shown)} trials; the best on all rows has {metric.shown(best[-1][1]) if best else 'no score'}."
    )
    return Chart(title, figure, said)


def _best_so_far(trials: Sequence[JsonObject], *, maximize: bool) -> Iterator[tuple[int, float]]:
    """The best score on all rows after each trial from the first one on."""
    best: float | None = None
    for at, trial in enumerate(trials, start=1):
        counts = trial["stage"] in ("default", "fine") and trial["state"] == "complete"
        if counts:
            better = max if maximize else min
            best = trial["value"] if best is None else better(best, trial["value"])
        if best is not None:
            yield at, best


def slice_charts(result: JsonObject) -> list[Chart]:
    """One chart for each key of the space, the most important first: the score against the key's value.

    Args:
        result: content of tune.json.
    """
    order = {key: -share for key, share in result["importance"].items()}
    keys = sorted(result["space"], key=lambda key: order.get(key, 0.0))
    return [_slice(result, key) for key in keys[:_MOST_SLICES]]


def _slice(result: JsonObject, key: str) -> Chart:
    metric, found = METRICS.get(result["metric"]), result["space"][key]
    figure, axes = new_axes(_SIZE)
    choices = [yaml_value(value) for value in found.get("choices", ())]
    for trial in result["trials"]:
        if trial["value"] is None or key not in trial["values"]:
            continue
        x = choices.index(yaml_value(trial["values"][key])) if choices else trial["values"][key]
        is_complete = trial["state"] == "complete"
        axes.plot(
            [x],
            [_scale(metric) * trial["value"]],
            "o",
            color=GRID if trial["stage"] == "coarse" else BLUE,
            markeredgecolor=INK,
            markeredgewidth=0.4,
            markersize=6 if is_complete else 3,
        )
    style(axes)
    if choices:
        axes.set_xticks(range(len(choices)), [_shortened(choice) for choice in choices])
        axes.set_xlim(-0.5, len(choices) - 0.5)
    else:
        _number_axis(axes, found)
    _percent_axis(axes, metric)
    share = result["importance"].get(key)
    explained = "" if share is None else f", explains {share:.0%}"
    return Chart(f"{key}{explained}", figure, f"Validation {metric.label} against {key}.")


def curves_chart(result: JsonObject) -> Chart | None:
    """The learning curves of all trials on all rows, that of the default recipe in front; None without any."""
    metric = METRICS.get(result["metric"])
    trials = [it for it in result["trials"] if it["stage"] in ("fine", "default") and len(it["history"]) > 1]
    if not trials:
        return None
    figure, axes = new_axes(_SIZE)
    for trial in sorted(trials, key=lambda it: it["stage"] == "default"):
        points = [
            (100 * it["step"] / trial["history"][-1]["step"], _scale(metric) * it[metric.name])
            for it in trial["history"]
            if it.get(metric.name) is not None
        ]
        is_default = trial["stage"] == "default"
        axes.plot(
            *zip(*points, strict=True),
            color=ORANGE if is_default else BLUE,
            linewidth=2 if is_default else 1,
            alpha=1 if is_default else 0.5,
        )
    style(axes)
    _percent_axis(axes, metric)
    axes.set_xlabel("% of the steps that were done")
    return Chart(
        f"Validation {metric.label} while trials on all rows learn; orange: default",
        figure,
        f"Learning curves of {len(trials)} trials.",
    )


def time_chart(result: JsonObject) -> Chart:
    """How long each stage took."""
    seconds: dict[str, float] = {}
    for trial in result["trials"]:
        seconds[trial["stage"]] = seconds.get(trial["stage"], 0.0) + trial["seconds"]
    figure, axes = new_axes(_SIZE)
    names = list(seconds)[::-1]
    axes.barh(names, [seconds[name] / 60 for name in names], color=BLUE, height=0.5)
    axes.set_xlabel("minutes")
    style(axes)
    said = ", ".join(f"{name} {duration(took)}" for name, took in seconds.items())
    return Chart("Time of the trials by stage", figure, f"Time by stage: {said}.")


def _number_axis(axes: Axes, found: JsonObject) -> None:
    """The axis of a range, as wide as it: whole numbers at whole numbers; a few labels on a logarithmic one."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

    low, high = found["low"], found["high"]
    if found["log"]:
        factor = (high / low) ** _MARGIN
        axes.set_xscale("log")
        axes.set_xlim(low / factor, high * factor)
        is_wide = high / low > _WIDE_RATIO
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if is_wide else (1.0, 2.0, 5.0), numticks=8))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        return
    axes.set_xlim(low - _MARGIN * (high - low), high + _MARGIN * (high - low))
    if isinstance(low, int) and isinstance(high, int):
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def _scale(metric: Metric) -> float:
    return 100.0 if metric.is_share else 1.0


def _percent_axis(axes: Axes, metric: Metric) -> None:
    if metric.is_share:
        axes.yaxis.set_major_formatter("{x:g} %")


def _shortened(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"
