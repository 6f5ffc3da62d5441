"""`events.jsonl`: what happened in a run, one line an event, in order, whatever interrupted the run in between.

The line of a checkpoint has a checksum of the run's id and of all lines of the loop before it. So a resumed run
finds lines that were lost, changed, or written by another run.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith import events
from tunesmith.errors import RunError
from tunesmith.run import finite, write_atomically

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

_CHECKPOINT = "checkpoint"
_LOOP = ("step", "validation", "logged", _CHECKPOINT)


class EventLog:
    """Listener that writes the log of one run.

    Events are held back until `open` is called, as the folder of a run is not touched before its data and model
    are known to be right.
    """

    def __init__(self) -> None:
        self._path: Path | None = None
        self._waiting: list[JsonObject] = []
        self._step = 0
        self._run_id, self._sum = "", ""

    def open(self, path: Path, *, resumes: bool, run_id: str = "", saved: int = 0) -> str:
        """Begins to write, with the events that were held back.

        Args:
            path: `RUN/events.jsonl`.
            resumes: whether the lines that are there stay.
            run_id: id of the run.
            saved: the last step whose line must be there, by the checkpoints; 0 for none.

        Returns:
            What is wrong with the lines that are there; empty when nothing is.
        """
        found: list[JsonObject] = []
        self._run_id, problem = run_id, ""
        if resumes:
            found, problem = _checked(path, run_id, saved)
        self._path = path
        self._write(found)
        for line in self._waiting:
            self._append(line)
        self._waiting.clear()
        return problem

    def __call__(self, event: events.Event) -> None:
        """Writes an event, unless it is one of those that are for a display only."""
        if isinstance(event, events.Started):
            self._resume(event.step)
        self._step = getattr(event, "step", self._step)
        found = _record(event)
        if found is None:
            return
        kind, values = found
        clean = {k: finite(v) if isinstance(v, float) else v for k, v in values.items()}
        line = {"kind": kind, "step": self._step, **clean, "time": round(time.time(), 3)}
        if self._path is None:
            self._waiting.append(line)
        else:
            self._append(line)

    def _resume(self, step: int) -> None:
        """Removes lines of the loop after a step, from a start that was lost; adds the line of its checkpoint."""
        if self._path is None:
            return
        lines = [json.loads(line) for line in _lines(self._path)]
        kept = [line for line in lines if line["kind"] not in _LOOP or 0 < line["step"] <= step]
        self._write(kept)
        self._step = step
        if step and not any(line["kind"] == "checkpoint" and line["step"] == step for line in kept):
            self(events.Saved(step))

    def _write(self, lines: list[JsonObject]) -> None:
        assert self._path is not None
        self._sum = self._run_id
        for line in lines:
            self._sum = _next_sum(self._sum, line)
        write_atomically(self._path, "".join(_text(line) for line in lines))

    def _append(self, line: JsonObject) -> None:
        assert self._path is not None
        if line["kind"] == _CHECKPOINT:
            line = {**line, "sum": self._sum}
        self._sum = _next_sum(self._sum, line)
        try:
            with self._path.open("a", encoding="utf-8") as handle:
                handle.write(_text(line))
        except FileNotFoundError:
            raise RunError(
                f"the run folder `{self._path.parent}` was removed or moved while it was written to.",
                remedy="Put it back where it was, and give the same command; without it, the run starts anew.",
            ) from None


def _record(event: events.Event) -> tuple[str, JsonObject] | None:
    """The kind and the values of a line; None for an event that is not kept."""
    match event:
        case events.Step(is_logged=True):
            names = ("loss", "grad_norm", "learning_rate")
            values = {name: getattr(event, name) for name in names}
            return "step", {"epoch": round(event.epoch, 4), **values}
        case events.Evaluation():
            return "validation", dict(event.scores)
        case events.Logged():
            return "logged", {"values": {name: finite(value) for name, value in event.values.items()}}
        case events.Saved():
            return _CHECKPOINT, {}
        case events.Finished():  # without the path, which may change
            return "finished", {}
        case events.Stage() | events.Note() | events.Warning() | events.Failed():
            return type(event).__name__.lower(), asdict(event)
    return None


def _text(line: JsonObject) -> str:
    return json.dumps(line, ensure_ascii=False) + "\n"


def _next_sum(before: str, line: JsonObject) -> str:
    """The checksum of all lines of the loop up to one; other lines do not change it."""
    if line["kind"] not in _LOOP:
        return before
    content = {name: value for name, value in line.items() if name not in ("time", "sum")}
    return hashlib.sha256((before + json.dumps(content, sort_keys=True)).encode()).hexdigest()[:16]


def _checked(path: Path, run_id: str, saved: int) -> tuple[list[JsonObject], str]:
    """The lines of a log that can be read, and what is wrong with it."""
    if not path.is_file():
        return [], f"{path.name} is missing: what happened before is not in it" if saved else ""
    found: list[JsonObject] = []
    lost, last, so_far = False, 0, run_id
    for text in _lines(path):
        line = _parsed(text)
        if line is None:
            lost = True
            continue
        lost |= line.get("sum", so_far) != so_far
        so_far = _next_sum(so_far, line)
        last = max(last, line.get("step", 0) if line["kind"] in _LOOP else 0)
        found.append(line)
    if lost or last < saved:
        return (
            found,
            f"{path.name} was damaged, or is of another run: what happened before may be missing in it",
        )
    return found, ""


def _parsed(text: str) -> JsonObject | None:
    try:
        line = json.loads(text)
    except ValueError:
        return None
    is_event = (
        isinstance(line, dict) and isinstance(line.get("kind"), str) and isinstance(line.get("step", 0), int)
    )
    return line if is_event else None


def _lines(path: Path) -> list[str]:
    """Whole lines; a start that was killed may have left half a line at the end."""
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8", errors="replace")
    return text[: text.rfind("\n") + 1].splitlines()
