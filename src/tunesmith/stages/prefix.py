"""Whether what the frozen layers compute is kept: only where it is read again, and where it fits on the disk."""

from __future__ import annotations

from tunesmith.acceleration.frozen_cache import FrozenCache, in_words, reason_against
from tunesmith.acceleration.hidden_states import FROZEN, free_bytes
from tunesmith.data.cache import cache_folder
from tunesmith.errors import RecipeError
from tunesmith.session import Session
from tunesmith.stages.probe import wants_probe
from tunesmith.training.loop import Settings
from tunesmith.training.plan import Plan


def share_frozen_layers(session: Session, plan: Plan, settings: Settings) -> None:
    """Decides whether what the frozen layers compute is kept on disk, and tells why not.

    Raises:
        RecipeError: it is asked for and cannot be.
    """
    asked = session.recipe.train.cache_frozen_layers
    if asked is not False:
        prefix, reason = _find_prefix(session, plan, settings)
        if reason and asked is True:
            raise RecipeError(
                f"train.cache_frozen_layers is true, and {reason}.",
                remedy="Leave it at `auto`, or mend that.",
            )
        if reason and session.recipe.train.freeze_layers:
            session.progress.note(f"what the frozen layers compute is not kept: {reason}")
        session.prefix = None if reason else prefix
    session.recipe = session.recipe.replace(train={"cache_frozen_layers": session.prefix is not None})


def _find_prefix(session: Session, plan: Plan, settings: Settings) -> tuple[FrozenCache | None, str]:
    """What the frozen layers compute, to be kept; or why it is not."""
    task, recipe, train = session.task, session.recipe, session.splits["train"]
    if not recipe.train.acceleration:
        return None, "train.acceleration is false"
    if recipe.train.method == "probe":
        return None, "a probe reads each text only once"
    passes = plan.epochs_done(plan.total_steps) + wants_probe(session)
    reason = reason_against(task, session.model, noise=settings.neftune_noise_alpha, passes=passes)
    if reason:
        return None, reason
    prefix = FrozenCache(
        task,
        session.model,
        folder=cache_folder() / FROZEN,
        pad_token_id=session.tokenizer.pad_token_id,
        bf16=settings.bf16,
        tell=session.progress.note,
    )
    problem = prefix.problem(train)
    if problem:
        return None, problem
    needed, free = prefix.make_room(session.splits), free_bytes(prefix.folder)
    if 2 * needed > free:
        return (
            None,
            f"it takes {in_words(needed)} of disk, and only {in_words(free)} are free in {prefix.folder}",
        )
    return prefix, ""
