"""Whether a model gets one more layer that computes the mean over the tokens (`heads`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tunesmith.errors import ModelError
from tunesmith.models import heads
from tunesmith.models.resolve import ModelFiles
from tunesmith.tasks import Task

if TYPE_CHECKING:
    from tunesmith.types import JsonObject, Model

AS_IT_IS = "as it is"
"""Value of `pooling`: the model's own layers, with nothing added."""

PoolingLayer = Literal["new", "kept", "none"]


def choose_pooling_layer(files: ModelFiles, task: Task, pooling: str, *, keep_head: bool) -> PoolingLayer:
    """`new` if a pooling layer is added, `kept` if the model has one from an earlier run, or `none`."""
    config = files.config()
    if not task.pooling:
        return "none"
    if config.get(heads.POOLING_KEY):
        if pooling == "first":
            raise ModelError(
                f"train.pooling is `first`, and `{files.name}` was trained with a layer that computes the mean.",
                remedy="Leave `train.pooling` at `auto`, or start from the base model.",
            )
        return "kept"
    adds = pooling != AS_IT_IS and _wants_pooling_layer(config, pooling, keep_head=keep_head)
    return "new" if adds else "none"


def make_pooling_layer(model: Model, layer: PoolingLayer) -> None:
    """Fills in the weights of a new pooling layer, and keeps one from an earlier run as it is."""
    if layer == "new":
        heads.make_pooling_layer(model)
    elif layer == "kept":
        heads.freeze_pooling_layer(model)


def _wants_pooling_layer(config: JsonObject, pooling: str, *, keep_head: bool) -> bool:
    possible = heads.can_pool_mean(str(config.get("model_type")))
    if pooling == "mean" and not possible:
        raise ModelError(
            f"mean pooling needs a model of the BERT family, and this one is `{config.get('model_type')}`.",
            remedy="Leave `train.pooling` at `auto`.",
        )
    return pooling == "mean" or (pooling == "auto" and possible and not keep_head)
