"""What is shown while something works: a live bar on a terminal or in a notebook, plain lines elsewhere.

The command line and the Python interface show the same. All of it goes to standard error, but for a notebook,
where it is one output that is drawn anew: IPython's own display, which needs no widgets.
"""

from __future__ import annotations

import html
import sys
import time
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tunesmith import events

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tunesmith.events import Listener

_SECONDS_BETWEEN_LINES = 5.0
_SECONDS_BETWEEN_DRAWINGS = 0.2
_LATEST = "max-height: 16em; overflow: auto; display: flex; flex-direction: column-reverse; font-size: 90%"
"""A box that is scrolled to its end."""


@contextmanager
def display() -> Iterator[Listener]:
    """A listener that suits where the program runs: a bar on a terminal or in a notebook, lines elsewhere."""
    if not is_notebook() and not sys.stderr.isatty():
        yield Lines()
        return
    bar = NotebookBar() if is_notebook() else Bar()
    try:
        yield bar
    finally:
        bar.close()


def is_notebook() -> bool:
    """Whether a notebook shows what this program displays: Jupyter, Colab, an editor."""
    ipython: Any = sys.modules.get("IPython")  # a notebook has imported it
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


def leave_out_widgets() -> None:
    """In a notebook without widgets, tqdm shows its bars as text without a warning; elsewhere nothing changes."""
    if is_notebook():
        warnings.filterwarnings("ignore", message="IProgress not found")


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


class NotebookBar:
    """Listener that draws one output of a notebook: what was said so far, and a bar below it."""

    def __init__(self) -> None:
        from IPython.display import HTML, display

        self._html, self._drawn = HTML, 0.0
        self._lines: list[str] = []
        self._moved = ""
        self._output = display(HTML(""), display_id=True)

    def __call__(self, event: events.Event) -> None:
        """Shows an event."""
        if line := sentence(event):
            text = html.escape(_MARKS.get(type(event), "   ") + line)
            self._lines.append(f"<b>{text}</b>" if type(event) in _MARKS else text)
            self._moved = ""
            self._draw()
        elif moved := movement(event):
            done, total, text = moved
            self._moved = f"<progress value={done} max={max(total, 1)}></progress> {html.escape(text)}"
            if time.monotonic() - self._drawn > _SECONDS_BETWEEN_DRAWINGS:
                self._draw()

    def close(self) -> None:
        """Takes the bar away; the lines stay."""
        self._moved = ""
        self._draw()

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        said = "\n".join(self._lines)
        page = f'<div style="{_LATEST}"><pre style="line-height: 1.3; margin: 0">{said}</pre></div>'
        self._output.update(self._html(page + self._moved))


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
