"""How the report writes numbers and sentences: the filters of its templates."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tunesmith.metrics import METRICS, NOTHING, percent
from tunesmith.recipe import yaml_value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from markupsafe import Markup


def count(n: float | None) -> str:
    """A number of things, in groups of three digits."""
    return NOTHING if n is None else f"{round(n):,}"


def p_value(p: float) -> str:
    """A p-value for people: `0.034`, `< 0.001`."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def gained(value: float | None, metric: str) -> str:
    """A difference with its sign: of shares in points, of anything else with three digits."""
    if value is None:
        return NOTHING
    return f"{100 * value:+.1f}" if METRICS.get(metric).is_share else f"{value:+.3f}"


def gained_what(metric: str) -> str:
    """The title of differences: `points better`."""
    return "points better" if METRICS.get(metric).is_share else f"{METRICS.get(metric).label}, better by"


def duration(seconds: float) -> str:
    """Seconds for people: `2 min 40 s`."""
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def sentence(text: str) -> Markup:
    """A remark with a capital letter and a full stop."""
    end = "" if text.endswith((".", "!", "?")) else "."
    return code(f"{text[:1].upper()}{text[1:]}{end}")


def code(text: str) -> Markup:
    """What stands between backticks as code."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


FILTERS: Mapping[str, Callable[..., Any]] = {
    "score": lambda value, name: METRICS.get(name).shown(value),
    "metric": lambda name: METRICS.get(name).label,
    "meaning": lambda name: METRICS.get(name).meaning,
    "lower_is_better": lambda name: not METRICS.get(name).greater_is_better,
    "is_share": lambda name: METRICS.get(name).is_share,
    "share": percent,
    "count": count,
    "p_value": p_value,
    "gained": gained,
    "gained_what": gained_what,
    "code": code,
    "sentence": sentence,
    "duration": duration,
    "value": yaml_value,
}
