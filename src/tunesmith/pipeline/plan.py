"""Phase 4: every `auto` gets its value, and the model is put where it will be trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunesmith.acceleration.bf16 import bf16_is_faster
from tunesmith.errors import RecipeError
from tunesmith.models import heads
from tunesmith.models.freezing import freeze_bottom, freeze_embeddings, freeze_named
from tunesmith.models.generation import set_generation
from tunesmith.pipeline.encode import EncodedData
from tunesmith.pipeline.frozen_layers import choose_frozen_cache
from tunesmith.pipeline.hooked import comment_of
from tunesmith.pipeline.memory import within_memory
from tunesmith.pipeline.open_model import OpenedModel
from tunesmith.pipeline.training_plan import TrainingPlan
from tunesmith.pipeline.work import Work
from tunesmith.recipe import Recipe
from tunesmith.training.contrastive import CONTRASTIVE, task_to_learn
from tunesmith.training.plan import Plan
from tunesmith.training.resolving import FEW_ROWS, balanced_weights, choose_method, resolve_training
from tunesmith.training.settings import Settings

if TYPE_CHECKING:
    from torch import nn

    from tunesmith.types import Model


def make_plan(work: Work, opened: OpenedModel, encoded: EncodedData) -> TrainingPlan:
    """Decides what the recipe leaves open, and writes the recipe as it is used.

    Raises:
        RecipeError: the model has no such layers, or the training does not fit the memory.
    """
    model, device = opened.model, work.processes.accelerator.device
    recipe, batches, settings = _resolve(work, opened, encoded)
    head = opened.head(work.task)
    _freeze(model, recipe, head)
    model.to(device)
    plan = TrainingPlan(opened, encoded, recipe, batches, settings, device, None)
    plan = choose_frozen_cache(work, plan)
    plan = within_memory(work, plan)
    if work.processes.is_first:
        work.run.write_recipe(plan.recipe, comment_of(work.hooks))
        work.run.update_manifest(used=plan.recipe.model_dump(mode="json"))
    if head is not None:
        heads.keep_head_precise(head)
    return plan


def _resolve(work: Work, opened: OpenedModel, encoded: EncodedData) -> tuple[Recipe, Plan, Settings]:
    """The recipe with its values filled in, and what follows from it for the loop."""
    train, task, asked = encoded.splits["train"], work.task, _with_method(work, opened)
    recipe, batches, settings = resolve_training(
        asked,
        train.lengths,
        opened.model,
        task_to_learn(task, asked.train.method),
        max_length=encoded.max_length,
        bf16=_bf16_pays(work),
        world=work.processes.world,
        class_weights=balanced_weights(asked, train, task.config(opened.data.label_schema)),
    )
    return set_generation(opened.model, opened.tokenizer, task, recipe, train), batches, settings


def _with_method(work: Work, opened: OpenedModel) -> Recipe:
    """The recipe with its method chosen, from all training rows, also where a trial learns from some."""
    recipe, hooks = work.recipe, work.hooks
    if recipe.train.method != "auto":
        return recipe
    has_own_loss = hooks.loss is not None or hooks.collate is not None
    columns = opened.data.splits["train"].columns
    method = choose_method(recipe, work.task, columns, has_own_loss=has_own_loss)
    if method == CONTRASTIVE:
        work.events.note(
            f"method: {CONTRASTIVE}, since there are fewer than {FEW_ROWS} rows a label (docs/methods.md)"
        )
    return recipe.replace(train={"method": method})


def _bf16_pays(work: Work) -> bool:
    """Whether bfloat16 is faster on the machine of the first process; all processes compute alike."""
    device = work.processes.accelerator.device.type
    return bool(work.processes.share(work.processes.first(lambda: bf16_is_faster(device))))


def _freeze(model: Model, recipe: Recipe, head: nn.Linear | None) -> None:
    freeze_bottom(model, recipe.train.freeze_layers)
    if recipe.train.freeze_embeddings:
        freeze_embeddings(model)
    freeze_named(model, recipe.train.freeze)
    said, remedy, of_head = "all is frozen", "Freeze less.", set()
    if head is not None and recipe.train.method == CONTRASTIVE:  # it is fitted after the loop
        said = f"`{CONTRASTIVE}` trains the layers, and fits the head afterwards"
        remedy = "Freeze less, or use `train.method=probe` for the head alone."
        of_head = {id(parameter) for parameter in head.parameters()}
    if not any(it.requires_grad and id(it) not in of_head for it in model.parameters()):
        raise RecipeError(
            f"the keys of `train` that freeze parts leave nothing to train: {said}.", remedy=remedy
        )
