"""What a prompt says, and what a call needs that continues one."""

from __future__ import annotations

NEW_TOKENS = 64
"""Tokens that the examples of documents generate, at most half of what the model reads."""


def generation_arguments(max_length: int, most: int = NEW_TOKENS) -> str:
    """Of a pipeline that continues a text: a long prompt loses its beginning, so that the answer fits.

    Args:
        max_length: tokens that the model reads.
        most: most tokens of an answer.
    """
    new_tokens = max(min(most, max_length // 2), 1)
    return f'max_new_tokens={new_tokens}, handle_long_generation="hole"'


def asked_of(instruction: str | None, text: str) -> str:
    """What a user asks: an instruction, an empty line, and the text; the text alone without one."""
    return f"{instruction}\n\n{text}" if instruction else text
