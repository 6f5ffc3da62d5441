"""From requests and feedback to a decision: a served run, and `tunesmith update --log --watch` beside it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

_BATCH = 50
_TOLD = 0.6
"""Share of the answers on which people say what is right."""


def update_from_log(run: Path, rows: list[tuple[str, int]], scratch: Path) -> dict[str, Any]:
    """Serves a run, sends texts and feedback, and lets the service update when monitoring raises an alarm.

    Args:
        run: the run.
        rows: texts of a new domain with their labels.
        scratch: folder for the log and the registry.
    """
    log, registry = scratch / f"log-{time.time():.0f}", scratch / f"registry-{time.time():.0f}"
    serve = ["serve", str(run), "--log", "text", "--log-to", str(log), "--port", "0", "--json"]
    server = subprocess.Popen(_command(serve), stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        n_told = _ask(json.loads(server.stdout.readline())["url"], rows)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(60)
    began = time.perf_counter()
    how = [
        "--watch",
        "--look",
        "5s",
        "--min-feedback",
        "100000",
        "--times",
        "1",
        "--holdout",
        "0.4",
        "--json",
    ]
    update = ["update", str(run), "--log", str(log), "--registry", str(registry), *how]
    done = subprocess.run(_command(update), capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    return {
        "requests": len(rows), "feedback": n_told, "trigger": found["trigger"], "decision": found["decision"],
        "reasons": found["reasons"], "new": found["tests"]["new"], "old": found["tests"]["old"],
        "seconds": round(time.perf_counter() - began, 1),
    }  # fmt: skip


def _command(arguments: list[str]) -> list[str]:
    return [sys.executable, "-m", "tunesmith", *arguments]


def _ask(url: str, rows: list[tuple[str, int]]) -> int:
    """Sends all texts, and the right label of some answers; how many."""
    told = 0
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        for start in range(0, len(rows), _BATCH):
            batch = rows[start : start + _BATCH]
            asked = client.post("/answer", json={"inputs": [text for text, _ in batch]}).raise_for_status()
            number = asked.headers["x-tunesmith-log-id"]
            for i, (_, label) in enumerate(batch[: round(_TOLD * len(batch))]):
                client.post(
                    "/feedback", json={"id": number, "input": i, "label": str(label)}
                ).raise_for_status()
                told += 1
    return told


def log_page(found: dict[str, Any]) -> str:
    """The section of the page."""
    new, old = found["new"], found["old"]
    return f"""## From the log of a server

The same champion is served with `--log text`. {found["requests"]} dvd reviews are asked, and {found["feedback"]}
answers get feedback. Then `tunesmith update RUN --log LOG --watch --look 5s --times 1` with a registry; the number
of rows with feedback is no reason.

- why it began: {found["trigger"]}
- decision: **{found["decision"]}** after {found["seconds"]:.0f} s: {"; ".join(found["reasons"])}
- accuracy on the {new["rows"]} new rows: {new["champion"]:.1%} → {new["challenger"]:.1%}; on the {old["rows"]} old
  rows: {old["champion"]:.1%} → {old["challenger"]:.1%}
"""
