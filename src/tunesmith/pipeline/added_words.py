"""Words of a field become tokens of the model, before it learns (`train.add_tokens`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tunesmith.data.examples import Examples
from tunesmith.errors import RecipeError, RunError
from tunesmith.models.added_words import (
    KEY,
    LEAST_COUNT,
    LEAST_PIECES,
    add_words,
    choose_words,
    read_words,
    refuse_other_texts,
)
from tunesmith.models.loading import LoadedModel
from tunesmith.pipeline.work import Work
from tunesmith.recipe import TrainRecipe
from tunesmith.tasks import Task
from tunesmith.tasks._values import strings

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

ADDED_WORDS = "added_words"
"""Key of the words in the manifest's entry of the model."""
_SHOWN_WORDS = 8


def add_words_of_field(work: Work, loaded: LoadedModel, train: Examples, before: JsonObject) -> JsonObject:
    """Adds the words that `train.add_tokens` asks for to a model and its tokenizer, in place, and reports them.

    Args:
        work: what is to be done.
        loaded: model and tokenizer.
        train: training rows.
        before: the manifest's entry of the model when the run began; empty for a new run.

    Returns:
        Entry of the manifest: the words; empty where none are asked for.

    Raises:
        RecipeError: the words cannot be learned, or the file of words is wrong.
        RunError: the run resumes, and began with other words.
    """
    asked = work.recipe.train.add_tokens
    if asked is None:
        return {}
    _refuse_unlearned(work.recipe.train)
    tokenizer = loaded.tokenizer
    texts = _texts(work.task, train)
    words = choose_words(texts, tokenizer) if asked == "auto" else read_words(asked, tokenizer)
    if ADDED_WORDS in before and before[ADDED_WORDS] != words:
        raise RunError(
            f"the words of {KEY} have changed since the run began: they were {len(before[ADDED_WORDS])} "
            f"and are {len(words)}.",
            remedy="Put the file back, or give `--force` to train anew.",
        )
    if words and work.task.generation is not None:
        refuse_other_texts(words, _texts(work.task, train), tokenizer)
    if words:
        add_words(loaded.model, tokenizer, words)
    (work.events.note if words else work.events.warn)(describe_added_words(words, asked))
    return {ADDED_WORDS: words}


def describe_added_words(words: list[str], asked: str) -> str:
    """How many words were added, and which.

    Args:
        words: the words.
        asked: value of `train.add_tokens`.
    """
    named = (
        f": {', '.join(words[:_SHOWN_WORDS])}{', …' if len(words) > _SHOWN_WORDS else ''}" if words else ""
    )
    tokens = (
        f"{len(words):,} words are added to the tokenizer" if words else "no word is added to the tokenizer"
    )
    if asked != "auto":
        return (
            f"{tokens}, from {asked}{named}" if words else f"{tokens}: it has those of {asked} as one token"
        )
    rule = f"{LEAST_COUNT} times or more in the training texts, and {LEAST_PIECES} pieces or more"
    return f"{tokens} ({rule}){named}"


def _texts(task: Task, train: Examples) -> Iterator[str]:
    """The training texts that the model reads or writes."""
    for column in task.columns:
        if column.name in train.columns and not (column.target and column.kind != "text"):
            for value in train.columns[column.name]:
                yield from strings(value)


def _refuse_unlearned(train: TrainRecipe) -> None:
    """Raises RecipeError where the rows of added words would never be trained."""
    if train.method == "lora":
        raise RecipeError(
            f"{KEY} adds rows to the embeddings, and an adapter cannot learn them.",
            remedy="Use `train.method=full`; or train `fill-mask` or `text-generation` with added words first, "
            "and then an adapter with that run as its `model`.",
        )
    if train.freeze_embeddings or train.freeze_layers:
        frozen = "freeze_embeddings" if train.freeze_embeddings else "freeze_layers"
        raise RecipeError(
            f"{KEY} adds rows to the embeddings, and train.{frozen} keeps them from learning.",
            remedy="Give one of both.",
        )
