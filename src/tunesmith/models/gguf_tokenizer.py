"""What transformers gets wrong of a GGUF file's tokenizer: tokens of its own, and the splitting before the merges.

For a tokenizer on bytes, transformers adds the token `<|endoftext|>` where the file has none, and the model has no
embedding for it.

A file names the way of splitting (`tokenizer.ggml.pre`), and llama.cpp knows the regular expressions behind the
names. transformers knows some of them, and splits as GPT-2 does for all others. That is wrong for tokenizers that
were trained with single digits: after two line breaks, `1.` would be read as other tokens than in pretraining.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tunesmith.types import Tokenizer

_AS_GPT2 = (
    "gpt-2", "phi-2", "jina-es", "jina-de", "jina-v1-en", "jina-v2-code", "roberta-bpe", "gigachat", "mpt", "olmo",
    "jais", "trillion", "granite-docling",
)  # fmt: skip
_WITH_SINGLE_DIGITS = ("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b")
_ON_BYTES = "gpt2"


def set_splitting(tokenizer: Tokenizer, kind: str, name: str) -> str:
    """Makes a tokenizer that transformers read from a GGUF file split as its file says, in place.

    Args:
        tokenizer: tokenizer of transformers.
        kind: the file's `tokenizer.ggml.model`.
        name: the file's `tokenizer.ggml.pre`; empty where it says nothing.

    Returns:
        The name, where nobody here knows what it means; else an empty text.
    """
    from tokenizers import pre_tokenizers
    from transformers.integrations.gguf import gguf_tokenizer_mapping

    if kind != _ON_BYTES or name in (*_AS_GPT2, *gguf_tokenizer_mapping.GGUF_PRE_TOKENIZER_SPLITS):
        return ""
    if name not in _WITH_SINGLE_DIGITS:
        return name or "no name"
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
    ])  # fmt: skip
    return ""


def remove_foreign_tokens(tokenizer: Tokenizer, n_tokens: int) -> None:
    """Removes the added tokens that a GGUF file does not have, in place.

    Args:
        tokenizer: tokenizer of transformers.
        n_tokens: number of tokens in the file.
    """
    import tokenizers

    state = json.loads(tokenizer.backend_tokenizer.to_str())
    own = [token for token in state["added_tokens"] if token["id"] < n_tokens]
    if len(own) < len(state["added_tokens"]):
        tokenizer._tokenizer = tokenizers.Tokenizer.from_str(json.dumps({**state, "added_tokens": own}))
