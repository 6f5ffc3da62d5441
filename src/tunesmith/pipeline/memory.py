"""What training takes of the memory is reported before it begins, and batches are cut to fit."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

from tunesmith.errors import RecipeError, RunError
from tunesmith.models.memory import use_checkpointing
from tunesmith.models.out_of_memory import is_out_of_memory, killed_since, kills_for_memory
from tunesmith.pipeline.hooked import comment_of
from tunesmith.pipeline.training_plan import TrainingPlan
from tunesmith.pipeline.work import Work
from tunesmith.training.contrastive import task_to_learn
from tunesmith.training.micro_batches import choose_micro_batch, measure_training, ways_to_save_memory

_IN_LOOP = "in_loop"
"""Entry of the manifest while the loop runs: how many processes were killed for memory when it began."""


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
    task = task_to_learn(work.task, train.method)
    memory = measure_training(
        task,
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
        prefer_whole=task.compares_rows,
    )
    tokens = _after_a_kill(work, plan, tokens)
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


def _after_a_kill(work: Work, plan: TrainingPlan, tokens: int) -> int:
    """The most tokens of a pass; half as many where the kernel has killed an earlier start for its memory."""
    before = work.run.manifest().get(_IN_LOOP, {}) if work.resumes else {}
    if not killed_since(before):
        return tokens
    passes = plan.recipe.train.gradient_accumulation_steps * work.processes.world
    largest = min(tokens, plan.batches.most_tokens(passes))
    smaller = max(largest // 2, plan.batches.longest)
    if smaller < largest:
        work.events.warn(
            "the system has killed processes for lack of memory since the run was cut off: forward passes have at "
            f"most {smaller:,} tokens from now on, instead of {largest:,}, with the same gradient"
        )
    return min(smaller, tokens)


@contextlib.contextmanager
def in_loop(work: Work) -> Iterator[None]:
    """A context for the loop, which leaves a mark in the manifest if the process is killed in it.

    So it does if the kernel has killed another process meanwhile, which may have been one of this training.
    """
    before = kills_for_memory()
    if work.processes.is_first:
        work.run.update_manifest(**{_IN_LOOP: before})
    try:
        yield
    except BaseException:
        if not killed_since(before):
            _unmark(work)
        raise
    _unmark(work)


def _unmark(work: Work) -> None:
    if work.processes.is_first and work.run.manifest_file.is_file():  # else somebody has removed the run
        with contextlib.suppress(OSError, RunError):  # the error that ended the loop says more
            work.run.update_manifest(**{_IN_LOOP: {}})


def remember_smaller_passes(work: Work, plan: TrainingPlan, before: int, now: int) -> None:
    """Writes into the run that its forward passes became smaller, so that it resumes with them.

    Args:
        work: what is to be done.
        plan: plan of the training, with the recipe as it began.
        before: most tokens of a pass until the memory ran out.
        now: most tokens of a pass from now on.
    """
    work.events.warn(
        f"the memory ran out with forward passes of up to {before:,} tokens; the step is repeated with up to "
        f"{now:,}, with the same gradient"
    )
    recipe = plan.recipe.replace(train={"tokens_per_micro_batch": now})
    if not work.processes.is_first:
        return
    work.run.write_recipe(recipe, comment_of(work.hooks))
    work.run.update_manifest(used=recipe.model_dump(mode="json"))


@contextlib.contextmanager
def explained_if_too_small(plan: TrainingPlan) -> Iterator[None]:
    """A context for the training, in which a memory that runs out is a problem with a remedy.

    That happens where the estimate is too low, or another program takes the memory meanwhile.

    Raises:
        RecipeError: the memory ran out.
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        train, longest = plan.recipe.train, plan.batches.longest
        whole = plan.batches.most_tokens(train.gradient_accumulation_steps)
        largest = min(int(plan.settings.tokens_per_micro_batch or whole), whole)
        ways = ways_to_save_memory(plan.recipe)
        if largest > longest:
            ways.insert(0, f"`train.tokens_per_micro_batch={max(largest // 2, longest)}`")
        raise RecipeError(
            f"training ran out of memory, with forward passes of up to {largest:,} tokens.",
            remedy=f"Try {', '.join(ways)}; and see whether another program holds the memory.",
        ) from error
