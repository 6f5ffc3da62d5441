"""A tiny tokenizer for every family, of the kind that its models on the Hub have.

It is of the family's own class if transformers has a fast one, with the special tokens of this class in its order,
and a vocabulary of the words in the tiny rows. If the family's class is written in Python only, or none is named,
a tokenizer of the same kind is used instead.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.testing.tiny import _PRINTABLE, _WORDS, _merged

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tokenizers import Tokenizer as Backend

    from tunesmith.types import JsonObject, Tokenizer

WORDPIECE, UNIGRAM, BYTES, FALLBACK = "WordPiece", "Unigram", "byte-level BPE", "BPE with byte fallback"

_ENCODER = {
    "bos": "<s>",
    "pad": "<pad>",
    "eos": "</s>",
    "unk": "<unk>",
    "cls": "<s>",
    "sep": "</s>",
    "mask": "<mask>",
}
_DECODER = {"eos": "<|endoftext|>", "pad": "<|pad|>"}
_LLAMA = {"unk": "<unk>", "bos": "<s>", "eos": "</s>", "pad": "<pad>"}
# Families whose tokenizer is written in Python only or named nowhere, with the kind that is used instead.
_KINDS = {
    "bert-generation": UNIGRAM, "m2m_100": UNIGRAM, "marian": UNIGRAM, "plbart": UNIGRAM, "umt5": UNIGRAM,
    "xlm-roberta-xl": UNIGRAM, "bigbird_pegasus": UNIGRAM, "pegasus_x": UNIGRAM, "nystromformer": UNIGRAM,
    "jina_embeddings_v3": UNIGRAM, "longt5": UNIGRAM, "reformer": UNIGRAM, "ernie": WORDPIECE,
    "prophetnet": WORDPIECE, "roc_bert": WORDPIECE, "luke": BYTES, "flaubert": UNIGRAM, "xlm": UNIGRAM,
    "fsmt": UNIGRAM, "canine": UNIGRAM, "esm": UNIGRAM, "ibert": BYTES, "splinter": WORDPIECE,
    "llama": FALLBACK, "mistral": FALLBACK, "mixtral": FALLBACK, "phi3": FALLBACK, "gemma4": FALLBACK,
    "gemma4_text": FALLBACK, "vaultgemma": FALLBACK, "t5gemma2": FALLBACK, "minicpm3": FALLBACK,
}  # fmt: skip
_LANGUAGES = {
    "mbart": ("en_XX", "ro_RO"),
    "m2m_100": ("eng_Latn", "fra_Latn"),
    "nllb-moe": ("eng_Latn", "fra_Latn"),
}
_OTHER_CLASS = {
    "m2m_100": "NllbTokenizer", "longt5": "T5Tokenizer", "umt5": "T5Tokenizer", "pegasus_x": "PegasusTokenizer",
    "bigbird_pegasus": "PegasusTokenizer", "xlm-roberta-xl": "XLMRobertaTokenizer",
    "longformer": "RobertaTokenizer", "markuplm": "RobertaTokenizer", "roformer": "BertTokenizer",
    "nystromformer": "AlbertTokenizer",
}  # fmt: skip


def write_tokenizer(folder: Path, family: str) -> Tokenizer:
    """Writes a tokenizer of the family's kind to a folder, and returns it."""
    tokenizer = make_tokenizer(family)
    tokenizer.save_pretrained(folder)
    return tokenizer


def make_tokenizer(family: str) -> Tokenizer:
    """A tokenizer of the family's kind."""
    own = own_class(family)
    if own is not None:
        return _of_class(own, family)
    kind = _KINDS.get(family) or (BYTES if _is_decoder(family) else WORDPIECE)
    return _stand_in(kind, family)


def own_class(family: str) -> type[Tokenizer] | None:
    """The family's own fast class in transformers; None if there is none."""
    import transformers
    from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES

    name = _OTHER_CLASS.get(family) or TOKENIZER_MAPPING_NAMES.get(family)
    found: type[Tokenizer] | None = getattr(transformers, name, None) if name else None
    base = transformers.TokenizersBackend
    if found is None or found is base or not issubclass(found, base):
        return None
    return found


def _is_decoder(family: str) -> bool:
    from transformers.models.auto import modeling_auto

    return family not in modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES


def _of_class(own: type[Tokenizer], family: str) -> Tokenizer:
    empty = own(unk_token="<pad>") if own.__name__ == "PegasusTokenizer" else own()
    state = empty.backend_tokenizer.to_str()
    model = type(empty.backend_tokenizer.model).__name__
    special = _special_of(own, empty)
    extra: JsonObject = dict(zip(("src_lang", "tgt_lang"), _LANGUAGES.get(family, ()), strict=False))
    if own.__name__ == "PegasusTokenizer":
        extra["offset"] = 12
    if model == "WordPiece":
        return own(vocab=_numbered(special, _WORDS), **extra)
    if model == "Unigram":
        return own(vocab=_unigram(special), **extra)
    if "ByteFallback" in state:
        vocab, merges = _fallback(special)
    elif "ByteLevel" in state:
        vocab, merges = _bytes(special)
    else:
        vocab, merges = _merged((*special, "▁", *_PRINTABLE), "▁")
    return own(vocab=vocab, merges=merges, **extra)


def _special_of(own: type[Tokenizer], empty: Tokenizer) -> list[str]:
    """The special tokens of a class in the order of their ids."""
    known = sorted(empty.get_vocab().items(), key=lambda item: item[1])
    given = [str(p.default) for name, p in inspect.signature(own.__init__).parameters.items()
             if name.endswith("_token") and isinstance(p.default, str)]  # fmt: skip
    if own.__name__.startswith(
        ("Roberta", "Bart", "MPNet", "LED", "Longformer", "Mvp", "Blenderbot", "MarkupLM")
    ):
        return list(dict.fromkeys(["<s>", "<pad>", "</s>", "<unk>", *given]))
    if own.__name__ == "PegasusTokenizer":
        return ["<pad>", "</s>", "<unk>", "<mask_1>", "<mask_2>", *(f"<unk_{i}>" for i in range(2, 12))]
    return list(dict.fromkeys([*(token for token, _ in known), *given]))


def _stand_in(kind: str, family: str) -> Tokenizer:
    from tokenizers import processors
    from transformers import PreTrainedTokenizerFast

    special = (
        _LLAMA if kind == FALLBACK else _DECODER if _is_plain_decoder(family) and kind == BYTES else _ENCODER
    )
    tokens = list(dict.fromkeys(special.values()))
    backend = _backend(kind, tokens)
    ids = {token: backend.token_to_id(token) for token in tokens}
    if "cls" in special:
        backend.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>",
            special_tokens=[(token, ids[token]) for token in ("<s>", "</s>")],
        )  # fmt: skip
    elif "bos" in special:
        backend.post_processor = processors.TemplateProcessing(
            single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", ids["<s>"])]
        )
    named = {f"{role}_token": token for role, token in special.items()}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **named)


def _backend(kind: str, tokens: list[str]) -> Backend:
    """A tokenizer of a kind that does not add special tokens to a text yet."""
    from tokenizers import Tokenizer as Backend
    from tokenizers import decoders, models, normalizers, pre_tokenizers

    if kind == WORDPIECE:
        backend = Backend(models.WordPiece(_numbered(tokens, _WORDS), unk_token="<unk>"))
        backend.normalizer = normalizers.BertNormalizer(lowercase=True)
        backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        backend.decoder = decoders.WordPiece()
    elif kind == UNIGRAM:
        backend = Backend(models.Unigram(_unigram(tokens), unk_id=tokens.index("<unk>")))
        backend.pre_tokenizer = pre_tokenizers.Metaspace()
        backend.decoder = decoders.Metaspace()
    elif kind == BYTES:
        vocab, merges = _bytes(tokens)
        backend = Backend(models.BPE(vocab=vocab, merges=merges))
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = decoders.ByteLevel()
    else:
        vocab, merges = _fallback(tokens)
        backend = Backend(
            models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
        )
        backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        backend.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
        )
    return backend


def _is_plain_decoder(family: str) -> bool:
    from transformers.models.auto import modeling_auto as auto

    others = {*auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES, *auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES}
    return family in auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and family not in others


def _numbered(special: Iterable[str], pieces: Iterable[str]) -> dict[str, int]:
    return {piece: i for i, piece in enumerate(dict.fromkeys([*special, *pieces]))}


def _unigram(special: list[str]) -> list[tuple[str, float]]:
    words = [f"▁{word}" for word in _WORDS if not word.startswith("##") and len(word) > 1]
    scored = dict.fromkeys(special, 0.0) | {"▁": -4.0}
    scored |= dict.fromkeys(words, -3.0) | dict.fromkeys(_PRINTABLE, -9.0)
    return list(scored.items())


def _bytes(special: list[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    from tokenizers import pre_tokenizers

    return _merged((*special, *sorted(pre_tokenizers.ByteLevel.alphabet())), "Ġ")


def _fallback(special: list[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    raw = [f"<0x{byte:02X}>" for byte in range(256)]
    return _merged((*special, *raw, "▁", *_PRINTABLE), "▁")
