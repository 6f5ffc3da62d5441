"""`events.jsonl`: one line a logged step, in order, whatever interrupted the run in between."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tunesmith.run import finite, write_atomically


class EventLog:
    """The log of one run.

    Args:
        path: `RUN/events.jsonl`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self, step: int) -> None:
        """Goes on after a step: lines after it came from a start that was lost."""
        kept = [line for line in self._lines() if json.loads(line)["step"] <= step] if step else []
        write_atomically(self.path, "".join(line + "\n" for line in kept))

    def write(self, kind: str, step: int, **values: Any) -> None:
        """Appends one line; a number that JSON does not have becomes null."""
        clean = {k: finite(v) if isinstance(v, float) else v for k, v in values.items()}
        with self.path.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps({"kind": kind, "step": step, **clean}) + "\n")

    def _lines(self) -> list[str]:
        """Whole lines; a start that was killed may have left half a line at the end."""
        if not self.path.is_file():
            return []
        text = self.path.read_text(encoding="utf-8")
        return text[: text.rfind("\n") + 1].splitlines()
