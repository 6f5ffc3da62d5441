"""From the records of `serving.py` to its page."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Record = dict[str, Any]
_HEAD = """# Serving

Made by `python benchmarks/serving.py`. The run is a probe of MiniLM on banking77. The client shares the cores with
the server, and every server has them to itself in its turn.
"""


def page(results: Path) -> str:
    """benchmarks/serving.md, from the newest record of each measurement."""
    parts = [_HEAD]
    for name, section in _SECTIONS.items():
        files = sorted(results.glob(f"serving-{name}-*.json"))
        if files:
            found = json.loads(files[-1].read_text(encoding="utf-8"))
            parts.append(
                f"{section(found)}\n\n{found['date']}, {_machine(found)}: `results/{files[-1].name}`\n"
            )
    return "\n".join(parts)


def _machine(found: Record) -> str:
    machine = found["machine"]
    return f"{machine['processor']}, {machine['cores']} cores"


def _table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    columns = list(head)
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def medians(records: list[Record]) -> list[Record]:
    """The median of the rounds for each number of clients."""
    found = []
    for clients in sorted({one["connections"] for one in records}):
        same = [one for one in records if one["connections"] == clients and one["p99_ms"] is not None]
        if same:
            keys = ("requests_per_s", "p50_ms", "p99_ms")
            found.append(
                {"connections": clients, **{k: statistics.median(one[k] for one in same) for k in keys}}
            )
    return found


def at_equal_p99(found: dict[str, list[Record]], ours: str) -> Record:
    """Of each peer: its best rate, and ours among the measurements whose p99 is not above its p99 there."""
    gains = {}
    for name, records in found.items():
        if name.startswith("tunesmith"):
            continue
        peer = max(medians(records), key=lambda one: one["requests_per_s"])
        fitting = [one for one in medians(found[ours]) if one["p99_ms"] <= peer["p99_ms"]]
        best = max(fitting, key=lambda one: one["requests_per_s"], default=None)
        rate = best["requests_per_s"] if best else 0.0
        gains[name] = {"peer": peer, "ours": best, "ratio": round(rate / peer["requests_per_s"], 2)}
    return gains


def _load(found: Record) -> str:
    rows = [
        (
            name,
            one["connections"],
            f"{one['requests_per_s']:.0f}",
            f"{one['p50_ms']:.1f}",
            f"{one['p99_ms']:.1f}",
        )
        for name, records in found["servers"].items()
        for one in medians(records)
    ]
    said = [_gain(ours, name, gain) for ours, gains in found["gains"].items() for name, gain in gains.items()]
    most = [
        f"{name} {max(one['requests_per_s'] for one in medians(records)):.0f}"
        for name, records in found["servers"].items()
    ]
    said.append(f"- The most requests a second, whatever the time they take: {', '.join(most)}.")
    table = _table(("server", "clients", "requests/s", "p50, ms", "p99, ms"), rows)
    return "## Mixed lengths, one text a request\n\n" + table + "\n\n" + "\n".join(said)


def _gain(ours: str, peer: str, gain: Record) -> str:
    """What is to be said of two servers at the same p99."""
    limit = f"the p99 of {peer} where it answers most ({gain['peer']['p99_ms']:.0f} ms)"
    if gain["ours"] is None:
        return f"- {ours} is above {limit} with any number of clients."
    return f"- At {limit}, {ours} answers {gain['ratio']:.1f} times as many requests."


def _ratio(found: Record) -> str:
    rows = [
        (engine, size, f"{one['texts_per_s']:.0f}", f"{one['ratio']:.2f}", f"{one['p99_ms']:.1f}")
        for engine in ("torch", "onnx-int8")
        for size, one in found[engine].items()
        if isinstance(one, dict)
    ]
    table = _table(("engine", "texts", "texts/s", "share of `predict`", "p99, ms"), rows)
    return "## Short texts, as a share of `predict`\n\n" + table


def _overload(found: Record) -> str:
    rows = [
        (
            name,
            one["connections"],
            f"{one['requests_per_s']:.0f}",
            f"{one['p99_ms']:.0f}",
            f"{one['statuses'].get('429', 0):,}",
            one["wrong"],
            one["lost"],
        )
        for name, one in ((name, found[name]) for name in ("calm", "crowd", "after"))
    ]
    head = ("", "clients", "answers/s", "p99, ms", "refused (429)", "wrong", "lost")
    return f"## Overload, with room for {found['queue']} texts\n\n" + _table(head, rows)


def _soak(found: Record) -> str:
    front, worker = found["growth_mib_of_front_and_worker"][:2]
    return (
        f"## {found['minutes']:.0f} minutes under load\n\nFrom the second third to the last, the front grew by "
        f"{front} MiB and the worker by {worker} MiB."
    )


def _labels(found: Record) -> str:
    ways = ("http", "onnx", "onnx-int8")
    rows = [
        (task, shares["rows"], *("–" if shares[way] is None else f"{shares[way]:.2%}" for way in ways))
        for task, shares in found["tasks"].items()
    ]
    head = ("task", "rows", "HTTP", "HTTP, ONNX", "HTTP, int8")
    return "## Answers that are those of `predict`\n\n" + _table(head, rows)


_SECTIONS = {"load": _load, "ratio": _ratio, "overload": _overload, "labels": _labels, "soak": _soak}
