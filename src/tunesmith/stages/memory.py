"""What training takes of the memory is told before it begins, and batches are cut to fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tunesmith.models.memory import use_checkpointing
from tunesmith.session import Session
from tunesmith.training.loop import Settings
from tunesmith.training.micro_batches import choose_micro_batch, measure_training
from tunesmith.training.plan import Plan


def within_memory(session: Session, plan: Plan, settings: Settings, accelerator: Any) -> Settings:
    """Tells what training takes of the memory, and bounds the forward passes so that it fits.

    Raises:
        RecipeError: not even the longest sequence fits.
    """
    train = session.recipe.train
    if train.method == "probe":
        return settings
    if train.gradient_checkpointing:  # the fast encoder leaves these layers to the stock arithmetic
        use_checkpointing(session.model)
    memory = measure_training(
        session.task,
        session.model,
        session.splits["train"],
        pad_token_id=session.tokenizer.pad_token_id,
        bf16=settings.bf16,
        passes=2 if settings.r_drop_alpha else 1,
        acceleration=train.acceleration,
    )
    tokens, notices = choose_micro_batch(
        session.recipe,
        plan,
        memory,
        world=accelerator.num_processes,
        device=accelerator.device.type,
    )
    largest = min(tokens, plan.most_tokens(train.gradient_accumulation_steps * accelerator.num_processes))
    session.progress.note(f"memory: {memory.describe(largest, plan.longest)}")
    session.run.update_manifest(memory=memory.to_json(largest, plan.longest))
    for notice in notices:
        session.progress.warn(notice)
    session.recipe = session.recipe.replace(train={"tokens_per_micro_batch": tokens})
    return replace(settings, tokens_per_micro_batch=tokens)
