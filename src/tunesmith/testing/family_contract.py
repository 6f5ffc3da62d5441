"""Checks a family of models with a task, in separate steps so that one failure does not hide another.

`check` returns an outcome for each step: it is right, tunesmith refuses it with a reason, it is wrong, or it ends
with an unexpected error.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.errors import UserError
from tunesmith.testing.families import write_family
from tunesmith.testing.family_cell import EQUAL_LENGTHS, NOT_PACKED, Cell
from tunesmith.testing.family_measures import WrongError
from tunesmith.testing.family_steps import STEPS

if TYPE_CHECKING:
    pass

OK, REFUSED, WRONG, ERROR = "ok", "refused", "wrong", "error"


@dataclass(frozen=True)
class Outcome:
    """How a step ended.

    Args:
        kind: `ok`, `refused`, `wrong` or `error`.
        message: measured figure, reason, or location of the error.
    """

    kind: str
    message: str = ""


def check(family: str, auto_class: str, folder: Path, work: Path) -> dict[str, Outcome]:
    """The outcome of each step; if the model is refused when it is opened, of this step only."""
    found: dict[str, Outcome] = {}
    try:
        cell = Cell(family, auto_class, folder, work)
    except Exception as error:
        return {"open": _outcome_of(error)}
    for name, step in STEPS.items():
        found[name] = _try(partial(step, cell))
        if name == "open" and found[name].kind != OK:
            break
    return found


@dataclass(frozen=True)
class Entry:
    """The entry of docs/models.md for a family and a task.

    Args:
        state: `fast`, `stock`, or `not supported`.
        why: reason if it is not supported.
        notes: differences from the usual case.
        wrong: names of the steps with a wrong result or an error.
    """

    state: str
    why: str = ""
    notes: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()


_REFUSED_NOTES = {"lora": "no LoRA", "checkpointing": "no gradient checkpointing", "neftune": "no NEFTune"}


def describe(outcomes: dict[str, Outcome]) -> Entry:
    """The page's entry for the outcomes of `check`."""
    wrong = tuple(name for name, outcome in outcomes.items() if outcome.kind in (WRONG, ERROR))
    for step in ("make", "open"):
        if step in outcomes and outcomes[step].kind != OK:
            return Entry("not supported", _without_paths(outcomes[step].message), (), wrong)
    notes = [note for step, note in _REFUSED_NOTES.items() if outcomes[step].kind == REFUSED]
    notes += [
        note for note in (NOT_PACKED, EQUAL_LENGTHS) if any(o.message == note for o in outcomes.values())
    ]
    state = "fast" if outcomes["fast"].message.startswith("fast") else "stock"
    return Entry(state, "", tuple(notes), wrong)


def _without_paths(message: str) -> str:
    without = re.sub(r"^\S*/\S*: ", "", message)
    return re.sub(r"`[^`]*/([^`/]*)`", "the model", without)


def make(family: str, auto_class: str, folder: Path) -> Outcome:
    """Writes the tiny model."""
    return _try(lambda: str(write_family(folder, family, auto_class=auto_class) and ""))


def _try(step: Callable[[], object]) -> Outcome:
    try:
        return Outcome(OK, str(step() or ""))
    except Exception as error:
        return _outcome_of(error)


def _outcome_of(error: Exception) -> Outcome:
    first = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
    if isinstance(error, WrongError):
        return Outcome(WRONG, first)
    if isinstance(error, UserError):
        return Outcome(REFUSED, first)
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if "/tunesmith/" in f.filename and "/testing/" not in f.filename]
    places = [f"{Path(f.filename).name}:{f.lineno}" for f in (*ours[-1:], frames[-1])]
    return Outcome(ERROR, f"{type(error).__name__}: {first} ({' > '.join(dict.fromkeys(places))})")
