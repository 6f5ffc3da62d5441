"""What happens while something works, as typed events, and how whoever wants to know listens.

The core never prints. It passes events to any number of listeners: the terminal, `events.jsonl`, a tracker, a
search, a web page. A listener is called in the thread that works, and what it raises ends the work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Event:
    """Something that happened."""


@dataclass(frozen=True)
class Stage(Event):
    """A stage of the work begins.

    Args:
        name: short name, the same in every version: `encode`.
        title: title for people.
    """

    name: str
    title: str


@dataclass(frozen=True)
class Note(Event):
    """A fact that is worth a line."""

    text: str


@dataclass(frozen=True)
class Warning(Event):
    """A fact that the user may have to act on."""

    text: str


@dataclass(frozen=True)
class Progress(Event):
    """A part of some work of known size is done.

    Args:
        done: units that are done.
        total: all units.
        unit: name of a unit, in the plural.
    """

    done: int
    total: int
    unit: str


@dataclass(frozen=True)
class Started(Event):
    """The training loop begins or resumes.

    Args:
        step: optimizer steps that are done.
        total_steps: optimizer steps of the whole run.
    """

    step: int
    total_steps: int


@dataclass(frozen=True)
class Step(Event):
    """An optimizer step is done.

    Args:
        step: optimizer steps that are done.
        total_steps: optimizer steps of the whole run.
        epoch: passes over the data, with a fraction.
        loss: mean loss over the items of the step.
        grad_norm: norm of the gradient before clipping.
        learning_rate: learning rate of the step.
        tokens_per_s: real tokens per second since the process began to train.
        seconds_left: estimated seconds to the end of the loop.
        is_logged: whether `train.logging_steps` asks for a record of this step.
    """

    step: int
    total_steps: int
    epoch: float
    loss: float
    grad_norm: float
    learning_rate: float
    tokens_per_s: float
    seconds_left: float
    is_logged: bool = False


@dataclass(frozen=True)
class Evaluation(Event):
    """The validation rows are scored.

    Args:
        step: optimizer steps that are done.
        scores: value of each metric.
        metric: name of the metric that chooses the best step.
        is_best: whether no earlier step was better.
    """

    step: int
    scores: Mapping[str, float]
    metric: str
    is_best: bool


@dataclass(frozen=True)
class Logged(Event):
    """A callback has logged values of its own.

    Args:
        step: optimizer steps that are done.
        values: value by name.
    """

    step: int
    values: Mapping[str, float]


@dataclass(frozen=True)
class Saved(Event):
    """A checkpoint is on disk.

    Args:
        step: optimizer steps that it holds.
    """

    step: int


@dataclass(frozen=True)
class Finished(Event):
    """The run came to its end.

    Args:
        run: path of the run folder.
    """

    run: str


@dataclass(frozen=True)
class Failed(Event):
    """The work ended early.

    Args:
        error: message of the error.
        can_resume: whether the same call resumes.
    """

    error: str
    can_resume: bool


class Listener(Protocol):
    """Whoever wants to know: a function, or an object that can be called."""

    def __call__(self, event: Event, /) -> None:
        """Takes one event."""


class Events:
    """Passes events to listeners, in the order in which the listeners are given.

    Args:
        listeners: listeners to be called.
    """

    def __init__(self, listeners: Iterable[Listener] = ()) -> None:
        self._listeners = tuple(listeners)

    def emit(self, event: Event) -> None:
        """Passes an event to every listener."""
        for listener in self._listeners:
            listener(event)

    def stage(self, name: str, title: str) -> None:
        """A stage begins."""
        self.emit(Stage(name, title))

    def note(self, text: str) -> None:
        """A fact is worth a line."""
        self.emit(Note(text))

    def warn(self, text: str) -> None:
        """The user may have to act."""
        self.emit(Warning(text))

    def progress(self, unit: str) -> Callable[[int, int], None]:
        """A callback for work of known size, to be called with the units done and all units."""
        return lambda done, total: self.emit(Progress(done, total, unit))
