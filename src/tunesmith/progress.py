"""How the core tells what it does. It never prints: whoever calls it hands in a listener.

The command line shows a live bar on a terminal and plain lines elsewhere; Python callers and tests get
`Silent`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class StepFacts:
    """What is known after an optimizer step.

    Args:
        step: steps done.
        total_steps: of the whole run.
        epoch: passes over the data, with a fraction.
        loss: mean over the items of the step.
        learning_rate: of the step.
        tokens_per_s: real tokens a second, over this start of the run.
        seconds_left: estimated.
    """

    step: int
    total_steps: int
    epoch: float
    loss: float
    learning_rate: float
    tokens_per_s: float
    seconds_left: float


class Progress(Protocol):
    """A listener."""

    def stage(self, title: str) -> None:
        """A stage of the pipeline begins."""

    def note(self, text: str) -> None:
        """A fact worth a line."""

    def warn(self, text: str) -> None:
        """A fact that the user may have to act on."""

    def advance(self, done: int, total: int, unit: str) -> None:
        """Work of known size goes on."""

    def step(self, facts: StepFacts) -> None:
        """An optimizer step is done."""


class Silent:
    """A listener that says nothing."""

    def stage(self, title: str) -> None:
        """See Progress."""

    def note(self, text: str) -> None:
        """See Progress."""

    def warn(self, text: str) -> None:
        """See Progress."""

    def advance(self, done: int, total: int, unit: str) -> None:
        """See Progress."""

    def step(self, facts: StepFacts) -> None:
        """See Progress."""
