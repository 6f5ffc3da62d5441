"""The recipe's settings for generating text, written into the model so that they are saved with it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tunesmith.encoded import Encoded
from tunesmith.models.positions import position_limit
from tunesmith.tasks import IGNORED, Task

if TYPE_CHECKING:
    from tunesmith.recipe import Recipe
    from tunesmith.types import Model, Tokenizer

_USUAL_NEW_TOKENS = 256
_BANNED = -100.0
_ROOM = 1.2
"""Factor for later answers, which may be longer than those of the training rows."""


def set_generation(model: Model, tokenizer: Tokenizer, task: Task, recipe: Recipe, train: Encoded) -> Recipe:
    """Writes the settings into the model, and returns the recipe with `auto` filled in.

    Args:
        model: model of transformers.
        tokenizer: tokenizer of the model.
        task: task, which defines the tokens that end an answer.
        recipe: recipe with a section `generate`.
        train: training sequences, whose longest answer limits the length of later answers.
    """
    if task.generation is None:
        return recipe
    how = recipe.generate
    limit = position_limit(model, tokenizer)
    most = _longest_answer(model, task, train, limit) if how.max_new_tokens == "auto" else how.max_new_tokens
    settings = model.generation_config
    settings.max_new_tokens = most
    settings.max_length = None
    settings.min_length = 0  # the model's own value may be longer than all answers here
    settings.num_beams = how.num_beams
    before = float(settings.repetition_penalty or 1.0)
    penalty = before if how.repetition_penalty == "auto" else float(how.repetition_penalty)
    if penalty != before:  # a resumed run gives the value that `auto` had: the files stay the same
        settings.repetition_penalty = penalty
    settings.do_sample = how.do_sample
    settings.temperature = how.temperature if how.do_sample else None
    settings.top_p = how.top_p if how.do_sample else None
    settings.top_k = None
    settings.pad_token_id = tokenizer.pad_token_id
    ends = task.generation.end_tokens(tokenizer)
    if ends:
        settings.eos_token_id = ends
    return recipe.replace(generate={"max_new_tokens": most, "repetition_penalty": penalty})


def _longest_answer(model: Model, task: Task, train: Encoded, limit: int) -> int:
    if model.config.is_encoder_decoder:
        labels = train.ragged["decoder_labels"]
        longest = int(np.max((labels.sums((labels.values != IGNORED).astype(np.int64))), initial=1))
        return min(math.ceil(_ROOM * longest) + 1, limit - 1)
    if task.generation is not None and task.generation.scores_texts:
        room = max(limit - task.length.of_prompt(limit), 1)
        return min(math.ceil(_ROOM * _longest_run(train.ragged["labels"].values)) + 1, room)
    room = max(limit // 2, 1)
    if task.chat is None:  # a continuation has no end
        return min(_USUAL_NEW_TOKENS, room)
    longest = _longest_run(train.ragged["labels"].values)
    return min(max(_USUAL_NEW_TOKENS, math.ceil(_ROOM * longest) + 1), room)


def _longest_run(labels: NDArray[np.int64]) -> int:
    """The most labels in a row; texts that share a sequence are kept apart by tokens without a label."""
    bare = np.flatnonzero(np.concatenate([[True], labels == IGNORED, [True]]))
    return int(np.max(np.diff(bare) - 1, initial=1))


def allow_tokens(model: Model, tokens: NDArray[np.int64]) -> list[int]:
    """Makes the model able to generate all tokens of the training texts.

    Models of BART's family add a bias to their output. With a bias of -10000, a token is never generated. The bias
    is not a parameter, so training would not change it.

    Args:
        model: model of transformers.
        tokens: tokens that must be possible.

    Returns:
        The tokens that were impossible before.
    """
    bias = getattr(model, "final_logits_bias", None)
    if bias is None:
        return []
    banned = [int(token) for token in np.unique(tokens) if float(bias[0, token]) < _BANNED]
    bias[0, banned] = 0.0
    return banned
