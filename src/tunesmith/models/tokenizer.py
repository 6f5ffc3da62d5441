"""Loads the tokenizer of a model: its fast version, with every token that its files name."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tunesmith.errors import ModelError, first_line
from tunesmith.models.resolve import ModelFiles
from tunesmith.models.tokenizer_trial import refuse_costly_tokenizer

if TYPE_CHECKING:
    from tunesmith.types import Tokenizer

_VOCABULARIES = (
    "tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model",
)  # fmt: skip


def load_tokenizer(files: ModelFiles) -> Tokenizer:
    """The model's tokenizer.

    Raises:
        ModelError: there is none, it takes too much for a short text, or transformers cannot read it without extra
            code.
    """
    from transformers import AutoTokenizer

    # Without any of these files, transformers makes an empty tokenizer without a warning.
    if not any((files.path / name).is_file() for name in _VOCABULARIES):
        raise ModelError(
            f"the model `{files.name}` comes without a tokenizer.",
            remedy="Put its tokenizer.json beside config.json.",
            location=str(files.path),
        )
    if (file := files.path / "tokenizer.json").is_file():
        refuse_costly_tokenizer(file, files.name)
    try:
        tokenizer = AutoTokenizer.from_pretrained(files.path, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # the tokenizers library raises bare Exception for a file it cannot read
        raise ModelError(
            f"the tokenizer of `{files.name}` cannot be loaded: {first_line(error)}",
            remedy="The folder must hold tokenizer.json (or the vocabulary) and tokenizer_config.json.",
            location=str(files.path),
        ) from None
    if not getattr(tokenizer, "is_fast", False):
        raise ModelError(
            f"the tokenizer of `{files.name}` has no fast version (tokenizer.json).",
            remedy="Convert it once with `AutoTokenizer` and `save_pretrained` of transformers.",
        )
    if not isinstance(tokenizer.model_max_length, (int, float)) or not tokenizer.model_max_length >= 1:
        raise ModelError(
            f"the tokenizer's `model_max_length` must be a number from 1, got `{tokenizer.model_max_length}`.",
            remedy="Fix it, or take it out of tokenizer_config.json.",
            location=str(files.path),
        )
    tokenizer = _with_unknown_token(tokenizer, files)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    return tokenizer


def _with_unknown_token(tokenizer: Tokenizer, files: ModelFiles) -> Tokenizer:
    """The tokenizer, with the unknown token of its file if transformers has lost it.

    Version 5 rebuilds every `LlamaTokenizer` without an unknown token. It then drops unknown characters without a
    warning.
    """
    import tokenizers

    file = files.path / "tokenizer.json"
    if not file.is_file() or tokenizer.unk_token is None:
        return tokenizer
    stated = json.loads(file.read_text(encoding="utf-8"))["model"].get("unk_token")
    built = json.loads(tokenizer.backend_tokenizer.to_str())
    if stated is None or built["model"].get("unk_token", stated) is not None:
        return tokenizer
    built["model"]["unk_token"] = stated
    tokenizer._tokenizer = tokenizers.Tokenizer.from_str(json.dumps(built))
    return tokenizer
