"""Texts become token ids: what is cut or left out on the way is told, and written down."""

from __future__ import annotations

import time
from dataclasses import asdict

from tunesmith.acceleration.hidden_states import FROZEN
from tunesmith.data.augmenting import augmented
from tunesmith.data.cache import cache_folder, remove_old, used_since
from tunesmith.data.encoding import ENCODED, encode_splits, with_something_to_learn
from tunesmith.data.packing import pack
from tunesmith.errors import DataError, RecipeError
from tunesmith.inference.packed import keeps_packed_texts_apart
from tunesmith.models.attention import choose_attention
from tunesmith.run import write_json
from tunesmith.session import Session
from tunesmith.training.resolving import choose_max_length

SHORT_TEXT_TOKENS = 128


def encode(session: Session) -> None:
    """Encodes every split, tells what is lost, and leaves out what holds nothing to learn from.

    Raises:
        DataError: a text is too long, and the recipe says to stop.
        RecipeError: packing is asked for and cannot be.
    """
    began, cache = time.time(), cache_folder()
    task, tokenizer, how = session.task, session.tokenizer, session.recipe.data
    splits = dict(session.data.splits)
    if session.recipe.train.augment:
        splits["train"] = augmented(splits["train"], session.recipe.train.augment, task, session.recipe.seed)
    encoded = encode_splits(
        task,
        splits,
        tokenizer,
        session.label_schema,
        choose_max_length=lambda longest: choose_max_length(
            how.max_length, session.model, tokenizer, longest, task.max_length, task.least_length
        ),
        overlap=None if how.overlap_tokens == "auto" else how.overlap_tokens,
        cache=cache,
        tell=session.progress.warn,
    )
    remove_old(cache / ENCODED, kept=used_since(cache / ENCODED, began))
    remove_old(cache / FROZEN)
    for name, found in encoded.truncation.items():
        (session.progress.note if found.is_whole else session.progress.warn)(f"{name}: {found}")
        if how.too_long == "stop" and (found.rows_cut or found.rows_windowed):
            raise DataError(
                f"data.too_long is `stop`, and of the {name} rows, {found}.",
                remedy="Give a larger `data.max_length`, shorten the texts, or accept it with `auto`.",
            )
    write_json(
        session.run.data / "supervision.json",
        {n: {**asdict(found), "is_whole": found.is_whole} for n, found in encoded.truncation.items()},
    )
    session.splits = dict(encoded.splits)
    session.splits["train"] = with_something_to_learn(task, encoded.splits["train"])
    session.max_length = encoded.max_length
    choose_attention(session.model, "eager" if encoded.longest <= SHORT_TEXT_TOKENS else "sdpa")
    if task.packs and how.packing is not False and _can_pack(session):
        session.splits["train"] = pack(session.splits["train"], encoded.max_length)


def _can_pack(session: Session) -> bool:
    """Whether the model keeps packed texts apart; where it does not, that is reported.

    Raises:
        RecipeError: packing is asked for and it does not.
    """
    if keeps_packed_texts_apart(session.task, session.model, session.tokenizer.pad_token_id):
        return True
    if session.recipe.data.packing is True:
        raise RecipeError(
            "data.packing needs a model in which texts of one sequence do not see each other, and in "
            f"`{session.recipe.model}` they do.",
            remedy="Leave it at `auto`.",
        )
    session.progress.note("texts are not packed: in this model, texts of one sequence would see each other")
    return False
