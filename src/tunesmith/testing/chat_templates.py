"""A tokenizer of bytes for tests of chat templates, and what transformers says of a template with marks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tunesmith.types import JsonObject, Tokenizer

SPECIAL = (
    "<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|eot_id|>", "<start_of_turn>", "<end_of_turn>", "[INST]",
    "[/INST]", "<|user|>", "<|assistant|>", "<|end|>", "<|return|>",
)  # fmt: skip
"""Special tokens of the tokenizer; the first two begin and end a text."""


def byte_tokenizer(
    *,
    template: str | dict[str, str] | None = None,
    bos: bool = False,
    eos: str | None = "</s>",
    merges: Sequence[tuple[str, str]] = (),
) -> Tokenizer:
    """A tokenizer in which every byte is a token, and special tokens are whole.

    Args:
        template: chat template; the marks of the assistant's text are taken out of it.
        bos: whether the tokenizer begins every text with its first special token.
        eos: the token that ends a text.
        merges: pairs of letters that are one token.
    """
    from tokenizers import Tokenizer as Backend
    from tokenizers import decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [*SPECIAL, *letters, *("".join(pair) for pair in merges)]
    backend = Backend(models.BPE({piece: i for i, piece in enumerate(pieces)}, list(merges)))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    if bos:
        backend.post_processor = processors.TemplateProcessing(
            single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 0)]
        )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token=eos, extra_special_tokens=list(SPECIAL[2:])
    )
    tokenizer.chat_template = unmarked(template) if isinstance(template, str) else template
    return tokenizer


def unmarked(template: str) -> str:
    """A template without the marks of the assistant's text, as the stock ones are."""
    return re.sub(r"\{%- (end)?generation %\}", "", template)


def mask_of(messages: Sequence[JsonObject], tokenizer: Tokenizer, template: str | None = None) -> list[bool]:
    """Which tokens are the assistant's, as transformers says by the marks of a template."""
    encoded = tokenizer.apply_chat_template(
        list(messages), chat_template=template, return_assistant_tokens_mask=True
    )
    return [bool(mark) for mark in encoded["assistant_masks"]]
