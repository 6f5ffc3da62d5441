"""Who is told what `monitor` found: Prometheus by a file, and a webhook by a request. Neither gets a text."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tunesmith.errors import RecipeError, TunesmithError
from tunesmith.masking import MASK
from tunesmith.run import write_atomically

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

_TIMEOUT_S = 10.0
_FIGURES = ("value", "reference", "low", "high", "p")
_GAUGES = {
    "value": "The figure of a statistic in the newest window.",
    "reference": "The figure of a statistic in the reference of the run.",
    "low": "The lower end of the interval of a figure.",
    "high": "The upper end of the interval of a figure.",
    "p": "The p-value of a statistic in the newest window.",
    "alarm": "Whether a statistic alarms in the newest window.",
}


def write_gauges(path: Path, found: JsonObject) -> None:
    """Writes what was found as a file for the text-file collector of Prometheus' node exporter.

    Args:
        path: file to write, such as `tunesmith.prom`.
        found: what `tunesmith.pipeline.monitor` gave.
    """
    write_atomically(path, "".join(f"{line}\n" for line in gauges(found)))


def gauges(found: JsonObject) -> Iterator[str]:
    """The lines of the text format of Prometheus."""
    run = _label(found["run"])
    counts = {
        "windows": ("The number of measured windows.", len(found["windows"])),
        "alarms": ("The number of alarms in the measured windows.", len(found["alarms"])),
        "waiting_rows": ("The number of rows that do not fill a window yet.", found["waiting"]),
    }
    for name, (meaning, value) in counts.items():
        yield from _head(name, meaning)
        yield f'tunesmith_monitor_{name}{{run="{run}"}} {value}'
    newest = found["windows"][-1]["statistics"] if found["windows"] else {}
    for figure, meaning in _GAUGES.items():
        yield from _head(figure, meaning)
        for name, figures in newest.items():
            if (value := figures[figure]) is not None:
                yield f'tunesmith_monitor_{figure}{{run="{run}",statistic="{_label(name)}"}} {float(value)!r}'


def _head(name: str, meaning: str) -> Iterator[str]:
    yield f"# HELP tunesmith_monitor_{name} {meaning}"
    yield f"# TYPE tunesmith_monitor_{name} gauge"


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def refuse_webhook(url: str) -> None:
    """Raises RecipeError for an address that cannot be posted to; its path is often a secret, and is not shown."""
    if not _is_web_address(url):
        raise RecipeError(
            f"a webhook must be an address of http or https, got `{_without_secret(url)}`.",
            remedy="Example: `--webhook https://example.org/hooks/drift`.",
        )


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:  # a port that is no number
        return False


def _without_secret(url: str) -> str:
    head = url.partition("://")
    address = head[2] if head[1] else head[0]
    host = address.partition("/")[0].rpartition("@")[2].partition(":")[0]
    return f"{head[0] + head[1] if head[1] else ''}{host}{'/' + MASK if '/' in address else ''}"


def summary(found: JsonObject) -> JsonObject:
    """The figures of the alarms, without a text, a word, or the name of a label.

    Args:
        found: what `tunesmith.pipeline.monitor` gave.
    """
    by_window = {entry["window"]: entry for entry in found["windows"]}
    return {
        "run": found["run"],
        "run_id": found["run_id"],
        "task": found["task"],
        "windows": len(found["windows"]),
        "rows": found["rows"],
        "guarantee": found["guarantee"],
        "alarms": [
            {
                "window": alarm["window"],
                "statistic": alarm["statistic"],
                **{
                    name: by_window[alarm["window"]]["statistics"][alarm["statistic"]][name]
                    for name in _FIGURES
                },
            }
            for alarm in found["alarms"]
        ],
    }


def post(url: str, found: JsonObject) -> None:
    """Posts the figures of the alarms.

    Args:
        url: address of http or https.
        found: what `tunesmith.pipeline.monitor` gave.

    Raises:
        TunesmithError: the address does not take them.
    """
    refuse_webhook(url)
    body = json.dumps(summary(found), allow_nan=False).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S):
            return
    except (urllib.error.URLError, TimeoutError, OSError, http.client.HTTPException, ValueError) as error:
        said = str(error).replace(url, MASK).replace(urlsplit(url).path or "\0", f"/{MASK}")
        raise TunesmithError(
            f"there is an alarm, and the webhook could not be told: {said}.",
            remedy="Check the address; `--output monitor.html` shows the alarm.",
        ) from None
