"""Calibration of the trained model on the validation rows, held by the head's own weights.

The head is scaled once, after the training and before the model is written; what a crash leaves behind is the
unscaled model of the checkpoints. Whether a model's outputs are those of its head is tried on a few texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tunesmith.errors import RecipeError
from tunesmith.evaluation.scoring import Scored
from tunesmith.metrics import METRICS
from tunesmith.models import heads
from tunesmith.models.trial import is_close, known_texts, outputs, trying
from tunesmith.pipeline.open_model import OpenedModel
from tunesmith.pipeline.training_plan import TrainingPlan
from tunesmith.pipeline.work import Work
from tunesmith.tasks import Scaling, point_scores
from tunesmith.training.calibration import Calibrated, Question, choose_scaling

if TYPE_CHECKING:
    import torch
    from torch import nn

    from tunesmith.types import Model

_TOLERANCE = 1e-4


def refuse_uncalibratable(work: Work, opened: OpenedModel) -> None:
    """Raises RecipeError where the model's head cannot hold what `evaluate.calibration` asks for."""
    if work.task.calibration is None or work.recipe.evaluate.calibration != "vector":
        return
    head = opened.head(work.task)
    if head is None or head.bias is None:
        raise RecipeError(
            "evaluate.calibration `vector` needs a head with a bias, and the head of this "
            f"`{opened.model.config.model_type}` model has none.",
            remedy="Use `auto` or `temperature`.",
        )


def calibrate(work: Work, plan: TrainingPlan, scored: Scored) -> Calibrated:
    """Scales the head of the model in training, if that makes its probabilities better, and reports it.

    Args:
        work: what is to be done.
        plan: model and sequences.
        scored: validation rows as the trained model answers them, with fitted thresholds.
    """
    head = plan.opened.head(work.task)
    assert head is not None, "a task whose answers have probabilities has a head"
    question = _question(scored, plan.recipe.seed, has_bias=head.bias is not None)
    asked = work.recipe.evaluate.calibration
    found = choose_scaling(question, asked)
    if found.method != "none" and not fold(plan.model, head, found.scaling):
        found = Calibrated(reason="the outputs of this model are not those of its head", n=found.n)
    _report(work, found)
    return found


def _question(scored: Scored, seed: int, *, has_bias: bool) -> Question:
    task, calibration, label_schema = scored.task, scored.task.calibration, scored.label_schema
    assert calibration is not None, "asked only where there is something to calibrate"
    return Question(
        calibration,
        scored.evaluated,
        label_schema,
        scored.groups,
        seed,
        has_bias,
        lambda rows: _greater_is_better(point_scores(task, rows, label_schema)),
    )


def _greater_is_better(scores: Mapping[str, float]) -> dict[str, float]:
    return {name: value if METRICS.get(name).greater_is_better else -value for name, value in scores.items()}


def fold(model: Model, head: nn.Linear, scaling: Scaling) -> bool:
    """Puts a scaling into the head; where the model's outputs are not scaled by it, it is taken back.

    Args:
        model: model of transformers.
        head: its last linear layer.
        scaling: what its outputs get.

    Returns:
        Whether the head holds it.
    """
    texts, before = known_texts(model), (head.weight.detach().clone(), _copy(head.bias))
    with trying(model):
        plain = outputs(model, texts)
        heads.scale_head(head, scaling.scale, scaling.bias)
        scaled = outputs(model, texts)
    if is_close(scaled, _expected(plain, scaling), _TOLERANCE):
        return True
    head.weight.data.copy_(before[0])
    if before[1] is not None:
        head.bias.data.copy_(before[1])
    return False


def _copy(bias: torch.Tensor | None) -> torch.Tensor | None:
    return None if bias is None else bias.detach().clone()


def _expected(plain: torch.Tensor, scaling: Scaling) -> torch.Tensor:
    """Outputs after a scaling; the start of a passage is one output of two, without an axis for both."""
    import torch

    return torch.from_numpy(scaling(plain.double().cpu().numpy())).to(plain.device, plain.dtype)


def _report(work: Work, found: Calibrated) -> None:
    if found.method == "none":
        is_asked_for = work.recipe.evaluate.calibration in ("temperature", "vector")
        tell = work.events.warn if is_asked_for else work.events.note
        tell(f"not calibrated: {found.reason}")
        return
    how = (
        f"temperature {1 / found.scaling.scale[0]:.3g}" if found.method == "temperature" else "vector scaling"
    )
    before, after = found.log_loss["none"], found.log_loss[found.method]
    work.events.note(f"calibrated by {how}: log loss {before:.3f} to {after:.3f}, by cross-validation")
