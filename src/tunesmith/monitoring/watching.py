"""Windows of rows, one after the other, each measured by every statistic; and when that is an alarm.

False alarms are bounded for all statistics and windows together. A p-value is an alarm if it is at most

    level = alpha / (HORIZON · number of statistics that can alarm)

so that without drift, any `HORIZON` windows have a false alarm with a probability of at most `alpha` (Bonferroni,
which needs no independence: all windows are compared with the same reference). The level does not depend on how
many windows came before. So it is the same in the first month and in the third year, and whether one command reads
thirty windows, or thirty commands read one each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.monitoring import adwin
from tunesmith.monitoring.observed import Observed
from tunesmith.monitoring.statistics import STATISTICS, Compared, Measured, NotMeasurable, Statistic
from tunesmith.monitoring.statistics.estimated_accuracy import CAVEAT
from tunesmith.run import finite

if TYPE_CHECKING:
    from tunesmith.monitoring.reference import Reference
    from tunesmith.types import JsonObject

ALPHA = 0.05
HORIZON = 30
"""Windows in which a false alarm has a probability of at most `alpha`."""
_LEAST_SHARE = 0.5
_LIGHT = ("score", "correct", "gold", "abstained", "out_of_scope", "at")


@dataclass(frozen=True)
class Guarantee:
    """How often nothing but chance alarms.

    Args:
        alpha: probability of a false alarm in `HORIZON` windows.
        n_tested: number of statistics that can alarm.
    """

    alpha: float
    n_tested: int

    @property
    def level(self) -> float:
        """The p-value that is an alarm."""
        return self.alpha / (HORIZON * self.n_tested)

    def to_json(self) -> JsonObject:
        """The entry of the results."""
        return {"alpha": self.alpha, "windows": HORIZON, "statistics": self.n_tested, "level": self.level}


def guarantee(alpha: float = ALPHA) -> Guarantee:
    """The guarantee with all statistics that are installed."""
    found = statistics()
    return Guarantee(alpha, sum(statistic.tested for statistic in found.values()))


def statistics() -> dict[str, Statistic]:
    """Every statistic that can be loaded, by name."""
    return STATISTICS.loadable()[0]


def windows_of(rows: Observed, size: int, *, is_complete: bool) -> tuple[list[Observed], int]:
    """Rows in windows of a size, and the number of rows that wait for more.

    Args:
        rows: rows in the order of time.
        size: rows of a window.
        is_complete: whether no more rows will come, so that a rest of at least half a window is one; else it
            would be tested again and again while it grows.
    """
    ends = list(range(size, len(rows) + 1, size))
    rest = len(rows) - (ends[-1] if ends else 0)
    if is_complete and rest and (rest >= _LEAST_SHARE * size or not ends):
        ends.append(len(rows))
        rest = 0
    starts = [0, *ends[:-1]]
    return [rows.take(np.arange(a, b)) for a, b in zip(starts, ends, strict=False)], rest


def measure_window(
    reference: Reference, window: Observed, earlier: Sequence[Observed], level: float, seed: int
) -> tuple[dict[str, Measured], dict[str, str]]:
    """What every statistic measures of a window; and why some measure nothing.

    Args:
        reference: of the run.
        window: rows of the window.
        earlier: rows of the windows before it.
        level: the p-value that is an alarm.
        seed: random seed.
    """
    compared = Compared(reference, window, earlier, level, seed)
    found: dict[str, Measured] = {}
    missing: dict[str, str] = {}
    for name, statistic in statistics().items():
        try:
            found[name] = statistic.measure(compared)
        except NotMeasurable as reason:
            missing[name] = str(reason)
    return found, missing


def watch(
    reference: Reference,
    windows: Sequence[Observed],
    *,
    alpha: float = ALPHA,
    seed: int = 42,
    skipped: int = 0,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> JsonObject:
    """Measures every window, and gives what the page and `--json` show.

    Args:
        reference: of the run.
        windows: rows of each window, the oldest first.
        alpha: probability of a false alarm in `HORIZON` windows.
        seed: random seed.
        skipped: number of the oldest windows that are not measured, of which only the labels are read.
        advance: called with the number of finished windows and of all.

    Returns:
        `windows`, `alarms`, `ok`, `not_measured` (why, by statistic), `conclusions`, `guarantee`, `notes` and
        `titles` (what people call each statistic, its unit, and whether it can alarm).
    """
    promised = guarantee(alpha)
    shown: list[JsonObject] = []
    alarms: list[JsonObject] = []
    missing: dict[str, str] = {}
    ever: set[str] = set()
    earlier: list[Observed] = []
    earlier += map(_light, windows[:skipped])
    for number, window in enumerate(windows[skipped:], start=skipped + 1):
        found, reasons = measure_window(reference, window, earlier, promised.level, seed)
        entry = _entry(number, window, found, promised.level)
        shown.append(entry)
        alarms += list(_alarms(entry, reference, window, earlier, promised.level, seed))
        missing |= reasons
        ever |= set(found)
        earlier.append(_light(window))
        advance(number, len(windows))
    return {
        "ok": not alarms,
        "alarms": alarms,
        "windows": shown,
        "not_measured": {name: why for name, why in missing.items() if name not in ever},
        "conclusions": dict(_conclusions(reference, windows[skipped:])),
        "guarantee": promised.to_json(),
        "titles": {
            name: {"title": it.title, "unit": it.unit, "tested": it.tested}
            for name, it in statistics().items()
        },
        "notes": list(_notes(ever)),
    }


def _light(window: Observed) -> Observed:
    """What statistics read of earlier windows."""
    return Observed(len(window), {name: window.numbers[name] for name in _LIGHT if name in window.numbers})


def _entry(number: int, window: Observed, found: dict[str, Measured], level: float) -> JsonObject:
    times = window.known("at")
    return {
        "window": number,
        "rows": len(window),
        "first": window.names[0] if window.names else None,
        "last": window.names[-1] if window.names else None,
        "from": float(times.min()) if len(times) else None,
        "to": float(times.max()) if len(times) else None,
        "statistics": {name: _figures(measured, level) for name, measured in found.items()},
    }


def _figures(measured: Measured, level: float) -> JsonObject:
    ends = (measured.reference, measured.low, measured.high)
    reference, low, high = (None if end is None else finite(end) for end in ends)
    return {
        "value": finite(measured.value),
        "reference": reference,
        "low": low,
        "high": high,
        "p": measured.p,
        "alarm": measured.p is not None and measured.p <= level,
        "text": measured.text,
        "details": measured.details,
    }


def _alarms(
    entry: JsonObject,
    reference: Reference,
    window: Observed,
    earlier: Sequence[Observed],
    level: float,
    seed: int,
) -> Iterator[JsonObject]:
    """The alarms of a window, each with what explains it."""
    compared = Compared(reference, window, earlier, level, seed)
    for name, figures in entry["statistics"].items():
        if figures["alarm"]:
            yield {
                "window": entry["window"],
                "statistic": name,
                "p": figures["p"],
                "text": figures["text"],
                "evidence": STATISTICS.get(name).explain(compared),
            }


def _conclusions(reference: Reference, windows: Sequence[Observed]) -> Iterable[tuple[str, JsonObject]]:
    for name, statistic in statistics().items():
        if windows and (found := statistic.conclude(reference, windows)):
            yield name, found


def _notes(measured: set[str]) -> Iterator[str]:
    if "estimated_accuracy" in measured:
        yield f"the estimated accuracy is no measurement: {CAVEAT}"
    if "real_accuracy" in measured and not adwin.is_installed():
        yield "where the accuracy changed is not looked for: that needs `pip install 'tunesmith[monitor]'`"
