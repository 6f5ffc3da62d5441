"""The linear head of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunesmith.errors import ModelError
from tunesmith.models import heads
from tunesmith.tasks import Task

if TYPE_CHECKING:
    from torch import nn

    from tunesmith.types import Model


def head_of(task: Task, model: Model, *, per_token: bool = False) -> nn.Linear | None:
    """The linear head of a model that reads one vector a row; None for another kind of head.

    Args:
        task: of the model.
        model: a model of transformers.
        per_token: whether a head that reads one vector a token will do, too.
    """
    if task.probe is None or (task.outputs_per_token and not per_token):
        return None
    try:
        return heads.find_head(model, model.config.num_labels)
    except ModelError:
        return None
