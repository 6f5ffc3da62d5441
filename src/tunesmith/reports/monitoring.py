"""`monitor.html`, and the lines that `monitor` prints: what has changed since the training of a run."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from tunesmith.reports.charts import BLUE, INK, ORANGE, Chart, new_axes, style
from tunesmith.reports.filters import p_value
from tunesmith.reports.html import environment

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

_SIZE = (4.4, 2.2)
_MOST_PRINTED = 12
_MOST_SHOWN = 12
_OF_TEXTS = "input_drift"


def monitor_lines(found: JsonObject) -> list[str]:
    """What a terminal shows: the alarms, the figures of the newest window, and what was not measured.

    Args:
        found: what `tunesmith.pipeline.monitor` gave.
    """
    return [*_verdict(found), *_alarm_lines(found), *_newest(found), *_remarks(found)]


def _verdict(found: JsonObject) -> Iterator[str]:
    n, alarms = len(found["windows"]), found["alarms"]
    measured = f"{n:,} window{'s' if n != 1 else ''} of {found['window']:,} rows"
    if not n:
        yield f"nothing is measured: {found['rows']:,} rows, and a window has {found['window']:,}"
    elif found["ok"]:
        yield f"nothing has changed beyond chance in {measured}"
    else:
        windows = sorted({alarm["window"] for alarm in alarms})
        which = ", ".join(map(str, windows[:_MOST_PRINTED])) + (" …" if len(windows) > _MOST_PRINTED else "")
        yield f"{len(alarms)} alarm{'s' if len(alarms) != 1 else ''} in {measured}, in window {which}"


def _alarm_lines(found: JsonObject) -> Iterator[str]:
    for alarm in found["alarms"][:_MOST_PRINTED]:
        title = title_of(alarm["statistic"], found)
        yield f"ALARM  window {alarm['window']}, {title}: {alarm['text']} (p {_p(p_value(alarm['p']))})"
    if len(found["alarms"]) > _MOST_PRINTED:
        yield f"and {len(found['alarms']) - _MOST_PRINTED} more alarms"


def _newest(found: JsonObject) -> Iterator[str]:
    """The figures of the newest window that are no alarm."""
    if not found["windows"]:
        return
    newest = found["windows"][-1]
    for name, figures in newest["statistics"].items():
        if not figures["alarm"]:
            yield f"window {newest['window']}, {title_of(name, found)}: {figures['text']}"


def _remarks(found: JsonObject) -> Iterator[str]:
    for group in found["conclusions"].get("out_of_scope", {}).get("groups", ()):
        words = f": {', '.join(group['words'])}" if group["words"] else ""
        yield f"{group['rows']:,} texts out of scope belong together, perhaps a new label{words}"
    for name, why in found["not_measured"].items():
        yield f"not measured, {title_of(name, found)}: {why}"
    yield from _said(found)


def _said(found: JsonObject) -> Iterator[str]:
    """What holds for all figures: caveats of the newest window, notes, and the promise."""
    drifted = [it["window"] for it in found["alarms"] if it["statistic"] == _OF_TEXTS]
    for newest in found["windows"][-1:]:
        seen = "the texts have drifted, and " if newest["window"] in drifted else ""
        for name, figures in newest["statistics"].items():
            if caveat := figures["details"].get("caveat"):
                yield f"{title_of(name, found)}: {seen}{caveat}"
    yield from found["notes"]
    yield guarantee_in_words(found["guarantee"])


def guarantee_in_words(guarantee: JsonObject) -> str:
    """What is promised of false alarms.

    Args:
        guarantee: entry of the results.
    """
    return (
        f"without drift, {guarantee['windows']} windows have a false alarm with a probability of at most "
        f"{100 * guarantee['alpha']:g} %, over all {guarantee['statistics']} statistics (p at most "
        f"{guarantee['level']:.2g} is an alarm)"
    )


def title_of(name: str, found: JsonObject) -> str:
    """What people call a statistic.

    Args:
        name: name of the statistic.
        found: what `tunesmith.pipeline.monitor` gave.
    """
    return str(found["titles"].get(name, {}).get("title", name))


def _p(p: str) -> str:
    return p if p.startswith("<") else f"= {p}"


def monitor_page(found: JsonObject) -> str:
    """The page: one file that opens without a network.

    Args:
        found: what `tunesmith.pipeline.monitor` gave.
    """
    shown = [name for name in found["titles"] if any(name in it["statistics"] for it in found["windows"])]
    facts = {
        "found": found,
        "verdict": next(iter(_verdict(found))),
        "said": list(_said(found)),
        "names": shown,
        "charts": [_time_line(found, name) for name in shown],
        "alarms": _by_statistic(found),
        "groups": found["conclusions"].get("out_of_scope", {}).get("groups", []),
        "newest": found["windows"][-1] if found["windows"] else None,
        "spans": [_span(it) for it in found["windows"]],
        "most_shown": _MOST_SHOWN,
    }
    return environment().get_template("monitor.html.jinja").render(**facts).lstrip()


def _by_statistic(found: JsonObject) -> list[JsonObject]:
    """The alarms of each statistic together: the first one with what explains it, and the windows of all."""
    by_name: dict[str, list[JsonObject]] = {}
    for alarm in found["alarms"]:
        by_name.setdefault(alarm["statistic"], []).append(alarm)
    return [
        {
            "title": title_of(name, found),
            "windows": [alarm["window"] for alarm in alarms],
            "first": alarms[0],
            "last": alarms[-1],
        }
        for name, alarms in by_name.items()
    ]


def _span(window: JsonObject) -> str:
    """When the rows of a window came, or which they are."""
    if window["from"] is not None and window["from"] > 1e6:
        start, end = (_when(window[name]) for name in ("from", "to"))
        return start if start == end else f"{start} to {end}"
    return f"{window['first']} to {window['last']}" if window["first"] else ""


def _when(at: float) -> str:
    return datetime.datetime.fromtimestamp(at, tz=datetime.UTC).strftime("%Y-%m-%d %H:%M")


def _time_line(found: JsonObject, name: str) -> Chart:
    """A statistic by window: its figure with its interval, that of the reference, and the alarms."""
    entry = found["titles"][name]
    scale = 100 if entry["unit"] == "share" else 1
    points = [(it["window"], it["statistics"][name]) for it in found["windows"] if name in it["statistics"]]
    figure, axes = new_axes(_SIZE)
    if points[0][1]["reference"] is not None:
        axes.axhline(scale * points[0][1]["reference"], color=INK, linewidth=1, linestyle="--")
    x = [number for number, _ in points]
    y = [scale * (figures["value"] or 0.0) for _, figures in points]
    if all(figures["low"] is not None for _, figures in points):
        ends = [[scale * figures[end] for _, figures in points] for end in ("low", "high")]
        axes.fill_between(x, ends[0], ends[1], color=BLUE, alpha=0.15, linewidth=0)
    axes.plot(x, y, "o-", color=BLUE, linewidth=1.5, markersize=4)
    alarms = [(number, value) for number, value, (_, it) in zip(x, y, points, strict=True) if it["alarm"]]
    if alarms:
        axes.plot(*zip(*alarms, strict=True), "o", color=ORANGE, markersize=8)
    _scale_axes(axes, entry, x)
    said = f"{entry['title']} by window; {len(alarms)} alarms." if alarms else f"{entry['title']} by window."
    tail = _alarm_title([number for number, _ in alarms], tested=entry["tested"])
    return Chart(f"{entry['title']}{tail}", figure, said)


def _scale_axes(axes: object, entry: JsonObject, x: Sequence[int]) -> None:
    style(axes)  # type: ignore[arg-type]
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))  # type: ignore[attr-defined]
    axes.set_xlim(min(x) - 0.5, max(x) + 0.5)  # type: ignore[attr-defined]
    axes.set_xlabel("window")  # type: ignore[attr-defined]
    if entry["unit"] == "share":
        axes.yaxis.set_major_formatter("{x:g} %")  # type: ignore[attr-defined]


def _alarm_title(windows: Sequence[int], *, tested: bool) -> str:
    if windows:
        return f": alarm in window {windows[0]}" + (
            f" and {len(windows) - 1} more" if len(windows) > 1 else ""
        )
    return ": no alarm" if tested else ""
