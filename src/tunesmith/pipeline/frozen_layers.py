"""Whether what the frozen layers compute is kept: only where it is read again, and where it fits on the disk."""

from __future__ import annotations

from dataclasses import replace

from tunesmith.acceleration.frozen_cache import FrozenCache, in_words, reason_against
from tunesmith.acceleration.hidden_states import FROZEN
from tunesmith.cache import cache_folder
from tunesmith.errors import RecipeError
from tunesmith.pipeline.training_plan import TrainingPlan, wants_probe
from tunesmith.pipeline.work import Work
from tunesmith.run.files import free_bytes


def choose_frozen_cache(work: Work, plan: TrainingPlan) -> TrainingPlan:
    """Decides whether what the frozen layers compute is kept on disk, and reports why not.

    Raises:
        RecipeError: it is asked for and cannot be.
    """
    train, cache = plan.recipe.train, None
    if train.method == "probe":
        return plan  # it reads each text only once
    if train.cache_frozen_layers is not False:
        cache, reason = _find_cache(work, plan)
        if reason and train.cache_frozen_layers is True:
            raise RecipeError(
                f"train.cache_frozen_layers is true, and {reason}.",
                remedy="Leave it at `auto`, or change that.",
            )
        if reason and train.freeze_layers:
            work.events.note(f"what the frozen layers compute is not kept: {reason}")
    recipe = plan.recipe.replace(train={"cache_frozen_layers": cache is not None})
    return replace(plan, recipe=recipe, frozen_cache=cache)


def _find_cache(work: Work, plan: TrainingPlan) -> tuple[FrozenCache | None, str]:
    """What the frozen layers compute, to be kept; or why it is not."""
    if work.processes.world > 1:
        return None, "several processes train together"
    if not plan.recipe.train.acceleration:
        return None, "train.acceleration is false"
    if work.hooks.collate is not None:
        return None, "`collate` changes the batches that they read"
    batches, settings = plan.batches, plan.settings
    passes = batches.epochs_done(batches.total_steps) + wants_probe(work, plan)
    reason = reason_against(work.task, plan.model, noise=settings.neftune_noise_alpha, passes=passes)
    if reason:
        return None, reason
    cache = FrozenCache(
        work.task,
        plan.model,
        folder=cache_folder() / FROZEN,
        pad_token_id=plan.tokenizer.pad_token_id,
        bf16=settings.bf16,
        tell=work.events.note,
    )
    if problem := cache.problem(plan.splits["train"]):
        return None, problem
    needed, free = cache.make_room(dict(plan.splits)), free_bytes(cache.folder)
    if 2 * needed > free:
        return (
            None,
            f"it takes {in_words(needed)} of disk, and only {in_words(free)} are free in {cache.folder}",
        )
    return cache, ""
