"""What a trial came to: how it ended, its scores, its time."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tunesmith.run import read_json

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

Early = Literal["pruned", "diverged", "refused", "out_of_time"]
State = Literal["complete", "pruned", "diverged", "refused", "out_of_time"]

RESULT = "trial.json"


@dataclass(frozen=True)
class Result:
    """What a trial came to.

    Args:
        state: how it ended.
        value: its validation metric; of a trial that was cut short, the best so far; None if there is none.
        scores: every metric of the validation rows.
        seconds: time that the trial took, over all starts.
        train_seconds: time of its training loop.
        steps: optimizer steps done.
        history: scores of every validation, `{"step": …, "accuracy": …}`.
        reason: why it ended early.
        used: the recipe with every value filled in.
        layers: number of layers of the model.
        parameters: number of parameters of the model.
    """

    state: State
    value: float | None
    scores: JsonObject = field(default_factory=dict)
    seconds: float = 0.0
    train_seconds: float = 0.0
    steps: int = 0
    history: list[JsonObject] = field(default_factory=list)
    reason: str = ""
    used: JsonObject = field(default_factory=dict)
    layers: int = 0
    parameters: int = 0

    @property
    def is_complete(self) -> bool:
        """Whether it was trained to its end."""
        return self.state == "complete"


def read_result(folder: Path) -> Result | None:
    """The result of a trial; None if it has not ended."""
    return Result(**read_json(folder / RESULT)) if (folder / RESULT).is_file() else None
