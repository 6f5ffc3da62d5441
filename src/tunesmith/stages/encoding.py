"""Texts become token ids: what is cut or left out on the way is told, and written down."""

from __future__ import annotations

import inspect
from dataclasses import asdict

from tunesmith.data.augmenting import augmented
from tunesmith.data.encoding import cache_folder, encode_splits, with_something_to_learn
from tunesmith.data.packing import pack
from tunesmith.errors import DataError, RecipeError
from tunesmith.run import write_json
from tunesmith.session import Session
from tunesmith.training.resolving import choose_max_length

_SHORT_TEXT_TOKENS = 128


def encode(session: Session) -> None:
    """Encodes every split, tells what is lost, and leaves out what holds nothing to learn from.

    Raises:
        DataError: a text is too long, and the recipe says to stop.
        RecipeError: packing is asked for and cannot be.
    """
    task, tokenizer, how = session.task, session.tokenizer, session.recipe.data
    splits = dict(session.data.splits)
    if session.recipe.train.augment:
        splits["train"] = augmented(splits["train"], session.recipe.train.augment, task, session.recipe.seed)
    encoded = encode_splits(
        task,
        splits,
        tokenizer,
        session.targets,
        choose_max_length=lambda longest: choose_max_length(
            how.max_length, session.model, tokenizer, longest, task.max_length, task.least_length
        ),
        overlap=None if how.overlap_tokens == "auto" else how.overlap_tokens,
        cache=cache_folder(),
    )
    for name, found in encoded.supervision.items():
        (session.progress.note if found.is_whole else session.progress.warn)(f"{name}: {found}")
        if how.too_long == "stop" and (found.rows_cut or found.rows_windowed):
            raise DataError(
                f"data.too_long is `stop`, and of the {name} rows, {found}.",
                remedy="Give a larger `data.max_length`, shorten the texts, or accept it with `auto`.",
            )
    write_json(
        session.run.data / "supervision.json",
        {n: {**asdict(found), "is_whole": found.is_whole} for n, found in encoded.supervision.items()},
    )
    session.splits = dict(encoded.splits)
    session.splits["train"] = with_something_to_learn(task, encoded.splits["train"])
    if task.packs and how.packing is not False and _can_pack(session):
        session.splits["train"] = pack(session.splits["train"], encoded.max_length)
    session.max_length = encoded.max_length
    session.model.set_attn_implementation("eager" if encoded.longest <= _SHORT_TEXT_TOKENS else "sdpa")


def _can_pack(session: Session) -> bool:
    """Whether the model takes positions, from which the texts of a sequence are told apart.

    Raises:
        RecipeError: packing is asked for and it does not.
    """
    possible = "position_ids" in inspect.signature(session.model.forward).parameters
    if session.recipe.data.packing is True and not possible:
        raise RecipeError(
            f"data.packing needs a model that takes positions, and `{session.recipe.model}` does not.",
            remedy="Leave it at `auto`.",
        )
    return possible
