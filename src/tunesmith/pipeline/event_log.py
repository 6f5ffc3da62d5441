"""`events.jsonl`: what happened in a run, one line an event, in order, whatever interrupted the run in between."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith import events
from tunesmith.run import finite, write_atomically

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

_LOOP = ("step", "validation", "logged", "checkpoint")


class EventLog:
    """Listener that writes the log of one run.

    Events are held back until `open` is called, as the folder of a run is not touched before its data and model
    are known to be right.
    """

    def __init__(self) -> None:
        self._path: Path | None = None
        self._waiting: list[JsonObject] = []
        self._step = 0

    def open(self, path: Path, *, resumes: bool) -> None:
        """Begins to write, with the events that were held back.

        Args:
            path: `RUN/events.jsonl`.
            resumes: whether the lines that are there stay.
        """
        whole = "".join(line + "\n" for line in _lines(path)) if resumes else ""
        write_atomically(path, whole)
        self._path = path
        for line in self._waiting:
            self._append(line)
        self._waiting.clear()

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
        """Removes lines of the loop after a step: they came from a start that was lost."""
        if self._path is None:
            return
        lines = [(line, json.loads(line)) for line in _lines(self._path)]
        kept = [text for text, line in lines if line["kind"] not in _LOOP or 0 < line["step"] <= step]
        write_atomically(self._path, "".join(line + "\n" for line in kept))

    def _append(self, line: JsonObject) -> None:
        assert self._path is not None
        with self._path.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(line, ensure_ascii=False) + "\n")


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
            return "checkpoint", {}
        case events.Finished():  # without the path, which may change
            return "finished", {}
        case events.Stage() | events.Note() | events.Warning() | events.Failed():
            return type(event).__name__.lower(), asdict(event)
    return None


def _lines(path: Path) -> list[str]:
    """Whole lines; a start that was killed may have left half a line at the end."""
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    return text[: text.rfind("\n") + 1].splitlines()
