"""What the command line shows: a live bar on a terminal, plain lines elsewhere, one JSON object on demand.

Progress goes to standard error, results to standard output.
"""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tunesmith import events

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tunesmith.events import Listener
    from tunesmith.run import Run
    from tunesmith.types import JsonObject

_SECONDS_BETWEEN_LINES = 5.0


def print_json(value: object) -> None:
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
def display() -> Iterator[Listener]:
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
    """Listener that writes plain lines, a few a minute."""

    def __init__(self) -> None:
        self._last = 0.0

    def __call__(self, event: events.Event) -> None:
        """Writes an event, unless it is a small step soon after another."""
        if line := sentence(event):
            self._write(_MARKS.get(type(event), "   ") + line)
        elif (moved := movement(event)) and self._is_due(event):
            self._write("   " + moved[2])

    def _is_due(self, event: events.Event) -> bool:
        is_late = time.monotonic() - self._last > _SECONDS_BETWEEN_LINES
        match event:
            case events.Progress():
                return is_late and event.done < event.total
            case events.Step():
                return is_late or event.step in (1, event.total_steps)
        return False

    def _write(self, text: str) -> None:
        self._last = time.monotonic()
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


class Bar:
    """Listener that shows a live line below what was said so far."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = Console(stderr=True)
        self._live = Live(console=self._console, refresh_per_second=8, transient=True)
        self._live.start()

    def __call__(self, event: events.Event) -> None:
        """Shows an event."""
        from rich.text import Text

        if line := sentence(event):
            if isinstance(event, events.Stage):
                self._live.update(Text(""))
            text = _MARKS.get(type(event), "   ") + line
            self._live.console.print(Text(text, style=_STYLES.get(type(event), "dim")))
        elif moved := movement(event):
            self._show(*moved)

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


_MARKS = {events.Stage: "── ", events.Warning: " ! "}
_STYLES = {events.Stage: "bold", events.Warning: "yellow"}


def sentence(event: events.Event) -> str:
    """What is said of an event; empty for one that only moves a bar, or that the caller reports."""
    match event:
        case events.Stage():
            return event.title
        case events.Note() | events.Warning():
            return event.text
        case events.Evaluation():
            best = " (best so far)" if event.is_best else ""
            value = event.scores[event.metric]
            return f"step {event.step}: validation {event.metric} {value:.4f}{best}"
    return ""


def movement(event: events.Event) -> tuple[int, int, str] | None:
    """How far some work is: units done, all units, and what is shown; None where nothing moves."""
    match event:
        case events.Progress():
            return event.done, event.total, f"{event.done:,} of {event.total:,} {event.unit}"
        case events.Step():
            return event.step, event.total_steps, f"step {event.step}/{event.total_steps}  {describe(event)}"
    return None


def describe(facts: events.Step) -> str:
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


def print_metrics(metrics: JsonObject) -> None:
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


def next_command(run: Run) -> str:
    """The command that predicts with a run: for a text, or a file where a row needs more than a text."""
    from tunesmith.tasks import TASKS

    task = TASKS.get(run.recipe().task)
    columns = {name for read in run.read_as() for name in read}
    inputs = [column for column in task.columns if not column.target and not column.together]
    needed = [c for c in inputs if c.required or (c.name in columns and c.kind == "text")]
    is_text = bool(task.text_column) and len(needed) <= 1
    return f"tunesmith predict {shlex.quote(str(run.path))} " + ('"a text"' if is_text else "--data FILE")


def _is_95(metrics: JsonObject) -> bool:
    return bool(metrics["primary"]["confidence"] == 0.95)
