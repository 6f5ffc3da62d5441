"""What the training loop works on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tunesmith.encoded import Encoded
from tunesmith.hooks import NO_HOOKS, Hooks
from tunesmith.tasks import LabelSchema, Task
from tunesmith.training.callback_arguments import CallbackArguments
from tunesmith.training.plan import Plan
from tunesmith.training.settings import Settings

if TYPE_CHECKING:
    from torch import nn

    from tunesmith.types import Model, Tokenizer


@dataclass
class Job:
    """Everything that the loop works on.

    Args:
        model: model to train.
        task: task that the model learns.
        train: training sequences.
        evaluate: function that returns the scores of the validation rows, by name.
        plan: plan of the sequences in each step.
        settings: settings of the loop.
        tokenizer: tokenizer of the model.
        location: function from a row to its file and line, for messages.
        label_schema: label schema of the task.
        head: linear head of the task, if it has one.
        head_scale: unit of the head's outputs.
        hooks: functions and objects of a program.
        arguments: what callbacks get as `args`.
        passes_became_smaller: called when the memory ran out, with the most tokens of a pass before and now.
    """

    model: Model
    task: Task
    train: Encoded
    evaluate: Callable[[], dict[str, float]]
    plan: Plan
    settings: Settings
    tokenizer: Tokenizer
    location: Callable[[int], str]
    label_schema: LabelSchema = field(default_factory=dict)
    head: nn.Linear | None = None
    head_scale: float = 1.0
    hooks: Hooks = NO_HOOKS
    arguments: CallbackArguments = field(default_factory=lambda: CallbackArguments({}))
    passes_became_smaller: Callable[[int, int], None] = lambda before, now: None
