"""Phase 3: texts become token ids; what is cut or left out on the way is reported and written down."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.acceleration.hidden_states import FROZEN
from tunesmith.cache import cache_folder, remove_old, used_since
from tunesmith.data.augmenting import augmented
from tunesmith.data.encoding import ENCODED, EncodedSplits, encode_splits, options_of, with_something_to_learn
from tunesmith.data.examples import Examples
from tunesmith.data.packing import pack, packed_length
from tunesmith.encoded import Encoded
from tunesmith.errors import DataError, RecipeError
from tunesmith.inference.packed import keeps_packed_texts_apart
from tunesmith.models.attention import SHORT_TEXT_TOKENS, choose_attention
from tunesmith.models.resolve import resolve_model
from tunesmith.models.sentence_folder import longest_text
from tunesmith.pipeline.open_model import OpenedModel
from tunesmith.pipeline.work import Work
from tunesmith.run import write_json
from tunesmith.training.resolving import USUAL_MAX_LENGTH, choose_max_length

if TYPE_CHECKING:
    from tunesmith.types import Array


@dataclass(frozen=True)
class EncodedData:
    """The sequences of every split.

    Args:
        splits: sequences by split.
        examples: rows that were encoded, by split; behind the training rows their noisy copies, if there are any.
        max_length: tokens that a sequence may have.
    """

    splits: Mapping[str, Encoded]
    examples: Mapping[str, Examples]
    max_length: int

    def location(self, split: str) -> Callable[[int], str]:
        """The file and line of a row of the sequences, for messages."""
        return self.examples[split].location

    def labels_of(self, rows: Examples) -> Array:
        """[rows, …], the labels of training rows without their noisy copies, which stand behind them."""
        return self.splits["train"].dense.get("labels", np.empty(0))[: len(rows)]


def encode(work: Work, opened: OpenedModel) -> EncodedData:
    """Encodes every split, reports what is truncated, and leaves out what holds nothing to learn from.

    Raises:
        DataError: a text is too long, and the recipe says to stop.
        RecipeError: packing is asked for and cannot be.
    """
    task, recipe = work.task, work.recipe
    examples = dict(opened.data.splits)
    if recipe.train.augment:
        examples["train"] = augmented(examples["train"], recipe.train.augment, task, recipe.seed)
    first = work.processes.first(lambda: _encode(work, opened, examples))
    max_length = work.processes.share(first.max_length if first else 0)
    encoded = first or _encode(work, opened, examples, max_length)  # which is in the cache
    _report(work, encoded)
    splits = dict(encoded.splits)
    splits["train"] = with_something_to_learn(task, splits["train"])
    choose_attention(opened.model, "eager" if encoded.longest <= SHORT_TEXT_TOKENS else "sdpa")
    if task.packing and recipe.data.packing is not False and _can_pack(work, opened):
        size = packed_length(splits["train"].lengths, encoded.max_length)
        splits["train"] = pack(splits["train"], size)
    return EncodedData(splits, examples, encoded.max_length)


def _encode(
    work: Work, opened: OpenedModel, examples: Mapping[str, Examples], max_length: int = 0
) -> EncodedSplits:
    """Token ids of every split; from the cache where they are there.

    Args:
        work: what is to be done.
        opened: tokenizer and label schema.
        examples: rows by split.
        max_length: tokens of a sequence, where another process has chosen it: `auto` asks how much memory is free.
    """
    began, cache = time.time(), cache_folder()
    task, how = work.task, work.recipe.data
    encoded = encode_splits(
        task,
        examples,
        opened.tokenizer,
        opened.data.label_schema,
        choose_max_length=lambda longest: (
            max_length
            or choose_max_length(
                how.max_length,
                opened.model,
                opened.tokenizer,
                longest,
                task.length.auto,
                task.length.least,
                _usual_length(work),
            )
        ),
        overlap=None if how.overlap_tokens == "auto" else how.overlap_tokens,
        cache=cache,
        tell=work.events.warn,
        how=options_of(how),
    )
    remove_old(cache / ENCODED, kept=used_since(cache / ENCODED, began))
    remove_old(cache / FROZEN)
    return encoded


def _usual_length(work: Work) -> int:
    """Tokens that `auto` allows at least: of a sentence model, those that its files state."""
    stated = longest_text(resolve_model(work.recipe.model).path) if work.task.vectors is not None else None
    return stated or USUAL_MAX_LENGTH


def _report(work: Work, encoded: EncodedSplits) -> None:
    """Reports and writes down what is truncated."""
    for name, found in encoded.truncation.items():
        (work.events.note if found.is_whole else work.events.warn)(f"{name}: {found}")
        if work.recipe.data.too_long == "stop" and (found.rows_cut or found.rows_windowed):
            raise DataError(
                f"data.too_long is `stop`, and of the {name} rows, {found}.",
                remedy="Give a larger `data.max_length`, shorten the texts, or accept it with `auto`.",
            )
    if not work.processes.is_first:
        return
    write_json(
        work.run.data / "supervision.json",
        {n: {**asdict(found), "is_whole": found.is_whole} for n, found in encoded.truncation.items()},
    )


def _can_pack(work: Work, opened: OpenedModel) -> bool:
    """Whether the model keeps packed texts apart; where it does not, that is reported.

    Raises:
        RecipeError: packing is asked for and it does not.
    """
    if keeps_packed_texts_apart(work.task, opened.model, opened.tokenizer.pad_token_id):
        return True
    if work.recipe.data.packing is True:
        raise RecipeError(
            "data.packing needs a model in which texts of one sequence do not see each other, and in "
            f"`{work.recipe.model}` they do.",
            remedy="Leave it at `auto`.",
        )
    work.events.note("texts are not packed: in this model, texts of one sequence would see each other")
    return False
