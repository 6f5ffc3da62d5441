"""How a model generates: the recipe's settings, written into the model so that they are saved with it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tunesmith.encoded import Encoded
from tunesmith.models.positions import position_limit
from tunesmith.recipe import Recipe
from tunesmith.tasks import IGNORED, Task

if TYPE_CHECKING:
    from tunesmith.types import Model, Tokenizer

_USUAL_NEW_TOKENS = 256
_BANNED = -100.0
_ROOM = 1.2
"""Answers to come may be longer than those of the training rows."""


def set_generation(model: Model, tokenizer: Tokenizer, task: Task, recipe: Recipe, train: Encoded) -> Recipe:
    """Puts the settings into the model, and returns the recipe with `auto` filled in.

    Args:
        model: of transformers.
        tokenizer: of the model.
        task: says where its answers end.
        recipe: its section `generate`.
        train: the training sequences, whose longest answer bounds those to come.
    """
    if task.generation is None:
        return recipe
    how = recipe.generate
    limit = position_limit(model, tokenizer)
    most = _longest_answer(model, train, limit) if how.max_new_tokens == "auto" else how.max_new_tokens
    settings = model.generation_config
    settings.max_new_tokens = most
    settings.max_length = None
    settings.min_length = 0  # a model's own may be longer than all answers here
    settings.num_beams = how.num_beams
    settings.do_sample = how.do_sample
    settings.temperature = how.temperature if how.do_sample else None
    settings.top_p = how.top_p if how.do_sample else None
    settings.top_k = None
    settings.pad_token_id = tokenizer.pad_token_id
    ends = task.generation.end_tokens(tokenizer)
    if ends:
        settings.eos_token_id = ends
    return recipe.replace(generate={"max_new_tokens": most})


def _longest_answer(model: Model, train: Encoded, limit: int) -> int:
    if not model.config.is_encoder_decoder:
        return min(_USUAL_NEW_TOKENS, max(limit // 2, 1))
    labels = train.ragged["decoder_labels"]
    longest = int(np.max((labels.sums((labels.values != IGNORED).astype(np.int64))), initial=1))
    return min(math.ceil(_ROOM * longest) + 1, limit - 1)


def allow_tokens(model: Model, tokens: NDArray[np.int64]) -> list[int]:
    """Lifts the model's ban on tokens that the training texts contain.

    Models of BART's family carry a bias on their output; one of -10000 says that a token is never written, and
    as the bias is no weight, no training would change that.

    Args:
        model: of transformers.
        tokens: that must be possible.

    Returns:
        The tokens that were banned.
    """
    bias = getattr(model, "final_logits_bias", None)
    if bias is None:
        return []
    banned = [int(token) for token in np.unique(tokens) if float(bias[0, token]) < _BANNED]
    bias[0, banned] = 0.0
    return banned
