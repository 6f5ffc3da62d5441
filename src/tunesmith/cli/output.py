"""What the command line shows: a live bar on a terminal, plain lines elsewhere, one JSON object on demand.

Progress goes to standard error, results to standard output.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tunesmith.progress import StepFacts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tunesmith.progress import Progress

_SECONDS_BETWEEN_LINES = 5.0


def print_json(value: Any) -> None:
    """One JSON object on standard output."""
    print(json.dumps(value, ensure_ascii=False, allow_nan=False))  # noqa: T201


def print_line(text: str = "") -> None:
    """One line on standard output."""
    print(text)  # noqa: T201


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on standard output, numbers to the right."""
    widths = [max(len(str(row[i])) for row in (header, *rows)) for i in range(len(header))]
    for row in (header, ["─" * width for width in widths], *rows):
        cells = [
            str(cell).rjust(width) if _is_number(rows, i) else str(cell).ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print_line("  ".join(cells).rstrip())


def _is_number(rows: Sequence[Sequence[str]], column: int) -> bool:
    return bool(rows) and all(str(row[column])[:1].isdigit() or row[column] in ("", "–") for row in rows)


@contextmanager
def progress_on_stderr() -> Iterator[Progress]:
    """A listener that suits standard error: a bar on a terminal, lines elsewhere."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    bar = Bar()
    try:
        yield bar
    finally:
        bar.close()


class Lines:
    """Plain lines, a few a minute."""

    def __init__(self) -> None:
        self._last = 0.0

    def stage(self, title: str) -> None:
        """See Progress."""
        self._write(f"── {title}")

    def note(self, text: str) -> None:
        """See Progress."""
        self._write(f"   {text}")

    def warn(self, text: str) -> None:
        """See Progress."""
        self._write(f" ! {text}")

    def advance(self, done: int, total: int, unit: str) -> None:
        """See Progress."""
        if done < total and time.monotonic() - self._last > _SECONDS_BETWEEN_LINES:
            self._write(f"   {done:,} of {total:,} {unit}")

    def step(self, facts: StepFacts) -> None:
        """See Progress."""
        is_edge = facts.step in (1, facts.total_steps)
        if is_edge or time.monotonic() - self._last > _SECONDS_BETWEEN_LINES:
            self._write(f"   step {facts.step}/{facts.total_steps}  {describe(facts)}")

    def _write(self, text: str) -> None:
        self._last = time.monotonic()
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


class Bar:
    """A live line below what was said so far."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = Console(stderr=True)
        self._live = Live(console=self._console, refresh_per_second=8, transient=True)
        self._live.start()

    def stage(self, title: str) -> None:
        """See Progress."""
        from rich.text import Text

        self._live.update(Text(""))
        self._live.console.print(Text(f"── {title}", style="bold"))

    def note(self, text: str) -> None:
        """See Progress."""
        from rich.text import Text

        self._live.console.print(Text(f"   {text}", style="dim"))

    def warn(self, text: str) -> None:
        """See Progress."""
        from rich.text import Text

        self._live.console.print(Text(f" ! {text}", style="yellow"))

    def advance(self, done: int, total: int, unit: str) -> None:
        """See Progress."""
        self._show(done, total, f"{done:,} of {total:,} {unit}")

    def step(self, facts: StepFacts) -> None:
        """See Progress."""
        self._show(facts.step, facts.total_steps, f"{facts.step}/{facts.total_steps}  {describe(facts)}")

    def close(self) -> None:
        """Takes the live line away."""
        from rich.text import Text

        self._live.update(Text(""))
        self._live.stop()

    def _show(self, done: int, total: int, text: str) -> None:
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        row = Table.grid(padding=(0, 1))
        row.add_row(Text("  "), ProgressBar(total=max(total, 1), completed=done, width=28), Text(text))
        self._live.update(row)


def describe(facts: StepFacts) -> str:
    """A step in words: loss, speed, time left, memory."""
    return (
        f"epoch {facts.epoch:.2f}  loss {facts.loss:.3f}  {facts.tokens_per_s:,.0f} tokens/s  "
        f"{short_time(facts.seconds_left)} left  {memory_gb():.1f} GB"
    )


def short_time(seconds: float) -> str:
    """`2:05`, or `1:02:05`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def memory_gb() -> float:
    """Resident memory of this process, in GB."""
    import psutil

    return float(psutil.Process().memory_info().rss) / 1e9


def print_metrics(metrics: dict[str, Any]) -> None:
    """The table that a training and an evaluation end with."""
    rows = [
        [split, name, f"{score['value']:.4f}", f"{score['low']:.4f} to {score['high']:.4f}"]
        for split, found in metrics["splits"].items()
        for name, score in found.items()
    ]
    print_table(["split", "metric", "value", "95 % interval" if _is_95(metrics) else "interval"], rows)
    name = metrics["primary"]["name"]
    if metrics.get("baselines"):
        print_line()
        result = ["this model", f"{metrics['primary']['value']:.4f}"]
        others = [[baseline, f"{scores[name]:.4f}"] for baseline, scores in metrics["baselines"].items()]
        print_table([f"{name} on {metrics['primary']['split']}", "value"], [*others, result])


def _is_95(metrics: dict[str, Any]) -> bool:
    return bool(metrics["primary"]["confidence"] == 0.95)
