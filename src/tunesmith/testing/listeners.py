"""Listeners for tests: one records events, one acts at a step."""

from __future__ import annotations

from collections.abc import Callable

from tunesmith.events import Event, Listener, Note, Step, Warning


class Recorder:
    """A listener that records every event."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        """Records one event."""
        self.events.append(event)

    @property
    def said(self) -> list[str]:
        """The texts of notes and warnings."""
        return [event.text for event in self.events if isinstance(event, Note | Warning)]

    @property
    def warnings(self) -> list[str]:
        """The texts of warnings."""
        return [event.text for event in self.events if isinstance(event, Warning)]


def at_step(step: int, act: Callable[[], object]) -> Listener:
    """A listener that calls a function after an optimizer step."""

    def listen(event: Event) -> None:
        if isinstance(event, Step) and event.step == step:
            act()

    return listen


def raising(error: type[BaseException]) -> Callable[[], object]:
    """A function that raises an error."""

    def act() -> None:
        raise error

    return act
