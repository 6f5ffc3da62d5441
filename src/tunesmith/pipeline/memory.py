"""What training takes of the memory is reported before it begins, and batches are cut to fit."""

from __future__ import annotations

from dataclasses import replace

from tunesmith.models.memory import use_checkpointing
from tunesmith.pipeline.training_plan import TrainingPlan
from tunesmith.pipeline.work import Work
from tunesmith.training.micro_batches import choose_micro_batch, measure_training


def within_memory(work: Work, plan: TrainingPlan) -> TrainingPlan:
    """Reports what training takes of the memory, and bounds the forward passes so that it fits.

    Raises:
        RecipeError: not even the longest sequence fits.
    """
    train, settings, world = plan.recipe.train, plan.settings, work.processes.world
    if train.method == "probe":
        return plan
    if train.gradient_checkpointing:  # the fast encoder leaves these layers to the stock arithmetic
        use_checkpointing(plan.model)
    memory = measure_training(
        work.task,
        plan.model,
        plan.splits["train"],
        pad_token_id=plan.tokenizer.pad_token_id,
        bf16=settings.bf16,
        passes=2 if settings.r_drop_alpha else 1,
        acceleration=train.acceleration,
    )
    tokens, notices = choose_micro_batch(
        plan.recipe,
        plan.batches,
        memory,
        world=world,
        device=plan.device.type,
        prefer_whole=work.task.compares_rows,
    )
    tokens, longest = work.processes.share(tokens), plan.batches.longest
    largest = min(tokens, plan.batches.most_tokens(train.gradient_accumulation_steps * world))
    work.events.note(f"memory: {memory.describe(largest, longest)}")
    if work.processes.is_first:
        work.run.update_manifest(memory=memory.to_json(largest, longest))
    for notice in notices:
        work.events.warn(notice)
    return replace(
        plan,
        recipe=plan.recipe.replace(train={"tokens_per_micro_batch": tokens}),
        settings=replace(settings, tokens_per_micro_batch=tokens),
    )
