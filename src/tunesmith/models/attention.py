"""Chooses the implementation of attention."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tunesmith.types import Model


SHORT_TEXT_TOKENS = 128
"""Number of tokens up to which `eager` is as fast as `sdpa`."""


def choose_attention(model: Model, wanted: str) -> str:
    """Sets an implementation if the model has it; returns the one in use.

    Some families have only one (Gemma 2 and GPT-OSS have `eager`), or no attention (FNet, Mamba).

    Args:
        model: model of transformers.
        wanted: `eager` or `sdpa`.
    """
    in_use = str(getattr(model.config, "_attn_implementation", None) or "eager")
    for implementation in dict.fromkeys((wanted, in_use, "eager")):
        try:
            model.set_attn_implementation(implementation)
        except (ValueError, ImportError, AttributeError, KeyError):
            continue
        return implementation
    return in_use
