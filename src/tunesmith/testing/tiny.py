"""Models of a few thousand parameters and data of a few dozen rows, made on the spot, the same every time.

Every family of models that a task may need is there, each with a tokenizer of its kind: BERT's WordPiece with
an unknown token, a decoder's BPE on bytes, an encoder-decoder's BPE on characters with an unknown token. Rows
speak of animals and colours among fillers, so that whatever a task asks can be learned from a few of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

_ANIMALS = ("cat", "dog", "horse", "crow", "otter", "salmon", "beetle", "goat")
_COLOURS = ("red", "green", "blue", "yellow", "purple", "orange", "grey", "pink")
_FILLERS = (
    "the", "a", "is", "was", "near", "old", "new", "big", "small", "here", "there", "and", "not", "very",
)  # fmt: skip
_KINDS = {"animal": _ANIMALS, "colour": _COLOURS}
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_WORDS = (
    *_ANIMALS,
    *_COLOURS,
    *_FILLERS,
    *"abcdefghijklmnopqrstuvwxyz",
    *(f"##{c}" for c in "abcdefghijklmnop"),
)
_PRINTABLE = tuple(map(chr, range(33, 127)))

Row = dict[str, Any]


def write_tiny_model(
    folder: Path,
    *,
    family: str = "bert",
    width: int = 32,
    layers: int = 2,
    dropout: float = 0.1,
    seed: int = 0,
) -> Path:
    """A model with random weights and a small tokenizer.

    Args:
        folder: to write it to.
        family: `bert` or `roberta`, encoders of 64 positions; `llama`, a decoder of 256; `bart`, an encoder
            with a decoder, of 128.
        width: features.
        layers: of the encoder, and of the decoder.
        dropout: of all its layers.
        seed: of the weights.
    """
    import torch

    make = {"bert": _bert, "roberta": _bert, "llama": _llama, "bart": _bart}[family]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, tokenizer = make(family, width, layers, dropout)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _bert(family: str, width: int, layers: int, dropout: float) -> tuple[Any, Any]:
    import torch
    from transformers import BertConfig, BertModel, RobertaConfig, RobertaModel

    kinds: dict[str, tuple[Any, Any]] = {
        "bert": (BertConfig, BertModel),
        "roberta": (RobertaConfig, RobertaModel),
    }
    make_config, make_model = kinds[family]
    config = make_config(
        vocab_size=len(_SPECIAL) + len(_WORDS),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=2 * width,
        max_position_embeddings=64,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        pad_token_id=0,
    )
    model = make_model(config)
    # Words far apart and quiet layers: the features tell the words, so there is something to learn from.
    torch.nn.init.normal_(model.embeddings.word_embeddings.weight, std=1.0)
    return model, _wordpiece_tokenizer()


def _llama(family: str, width: int, layers: int, dropout: float) -> tuple[Any, Any]:
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = _byte_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=2 * width,
        max_position_embeddings=256,
        attention_dropout=dropout,
        initializer_range=0.1,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return LlamaForCausalLM(config), tokenizer


def _bart(family: str, width: int, layers: int, dropout: float) -> tuple[Any, Any]:
    from transformers import BartConfig, BartForConditionalGeneration

    tokenizer = _character_tokenizer()
    config = BartConfig(
        vocab_size=len(tokenizer),
        d_model=width,
        encoder_layers=layers,
        decoder_layers=layers,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=2 * width,
        decoder_ffn_dim=2 * width,
        max_position_embeddings=128,
        dropout=dropout,
        init_std=0.1,
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.eos_token_id,
        forced_bos_token_id=None,
        forced_eos_token_id=None,
    )
    return BartForConditionalGeneration(config), tokenizer


def _wordpiece_tokenizer() -> Any:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = {word: i for i, word in enumerate((*_SPECIAL, *_WORDS))}
    backend = Tokenizer(models.WordPiece(words, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", words["[CLS]"]), ("[SEP]", words["[SEP]"])],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]", mask_token="[MASK]", model_max_length=64,
    )  # fmt: skip


def _byte_tokenizer() -> Any:
    """BPE on bytes: it knows every text, and the words of the tiny rows as one token each."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ("<pad>", "<s>", "</s>")
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary, merges = _merged((*special, *letters), "Ġ")
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", vocabulary["<s>"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", bos_token="<s>", eos_token="</s>", model_max_length=256,
    )  # fmt: skip


def _character_tokenizer() -> Any:
    """BPE on the printable characters of ASCII; all others are unknown."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ("<s>", "<pad>", "</s>", "<unk>")
    vocabulary, merges = _merged((*special, "▁", *_PRINTABLE), "▁")
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[(token, vocabulary[token]) for token in ("<s>", "</s>")],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", pad_token="<pad>", eos_token="</s>", unk_token="<unk>",
        model_max_length=128,
    )  # fmt: skip


def _merged(letters: Sequence[str], blank: str) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """A vocabulary of letters and the known words with a blank before them, and the merges that lead there."""
    vocabulary = {letter: i for i, letter in enumerate(letters)}
    merges = []
    for word in (*_ANIMALS, *_COLOURS, *_FILLERS):
        grown = blank
        for letter in word:
            if grown + letter not in vocabulary:
                merges.append((grown, letter))
                vocabulary[grown + letter] = len(vocabulary)
            grown += letter
    return vocabulary, merges


def tiny_rows(n: int, *, seed: int = 0, labels: Sequence[str] = ("animal", "colour")) -> list[dict[str, str]]:
    """Texts that name an animal or a colour among fillers, and which of both; all texts differ.

    Args:
        n: rows.
        seed: of the texts.
        labels: names of both.
    """
    rng = np.random.default_rng(seed)
    rows: dict[str, dict[str, str]] = {}
    while len(rows) < n:
        kind = int(rng.integers(2))
        words = [str(word) for word in rng.choice(_FILLERS, size=int(rng.integers(2, 12)))]
        words.insert(int(rng.integers(len(words) + 1)), str(rng.choice((_ANIMALS, _COLOURS)[kind])))
        text = " ".join(words)
        rows[text] = {"text": text, "label": labels[kind]}
    return list(rows.values())


def tiny_task_rows(task: str, n: int, *, seed: int = 0) -> list[Row]:
    """Rows for a task, as a file holds them; all differ.

    Args:
        task: its name; those that speak of the same text are alike.
        n: rows.
        seed: of the texts.
    """
    rng = np.random.default_rng(seed)
    rows: dict[str, Row] = {}
    while len(rows) < n:
        row = _MAKERS[task](rng)
        rows.setdefault(json.dumps([value for value in row.values() if isinstance(value, str)] or row), row)
    return list(rows.values())


def _filler(rng: np.random.Generator, least: int, most: int) -> list[str]:
    return [str(word) for word in rng.choice(_FILLERS, size=int(rng.integers(least, most + 1)))]


def _one(rng: np.random.Generator, kind: str) -> str:
    return str(rng.choice(_KINDS[kind]))


def _scattered(rng: np.random.Generator, named: Sequence[str], least: int = 2, most: int = 8) -> str:
    """Named words, in this order, among fillers."""
    words = _filler(rng, least, most)
    for position, word in zip(
        sorted(rng.integers(len(words) + 1, size=len(named))), reversed(named), strict=True
    ):
        words.insert(len(words) - int(position), word)
    return " ".join(words)


def _with_label(rng: np.random.Generator) -> Row:
    kind = str(rng.choice(list(_KINDS)))
    return {"text": _scattered(rng, [_one(rng, kind)]), "label": kind}


def _with_labels(rng: np.random.Generator) -> Row:
    kinds = [kind for kind in _KINDS if rng.random() < 0.6]
    return {"text": _scattered(rng, [_one(rng, kind) for kind in kinds]), "labels": kinds}


def _with_score(rng: np.random.Generator) -> Row:
    animals, colours = (int(count) for count in rng.integers(0, 3, size=2))
    named = [_one(rng, kind) for kind in ["animal"] * animals + ["colour"] * colours]
    return {"text": _scattered(rng, named), "score": 10.0 + 2.5 * (animals - colours)}


def _with_tags(rng: np.random.Generator) -> Row:
    tokens: list[str] = []
    tags: list[str] = []
    for kind in rng.permutation(list(_KINDS))[: int(rng.integers(1, 3))]:
        before = [word for word in _filler(rng, 1, 3) if word != "big"]
        entity = [*(["big"] if rng.random() < 0.3 else []), _one(rng, kind)]
        tokens += [*before, *entity]
        tags += [*["O"] * len(before), f"B-{kind}", *[f"I-{kind}"] * (len(entity) - 1)]
    return {"tokens": [*tokens, "here"], "tags": [*tags, "O"]}


def _with_answers(rng: np.random.Generator) -> Row:
    kind = str(rng.choice(list(_KINDS)))
    said = {other: _one(rng, other) for other in _KINDS if other != kind or rng.random() < 0.8}
    context = _scattered(rng, list(said.values()), 4, 10)
    words = context.split()
    found = [said[kind]] if kind in said else []
    starts = [sum(len(word) + 1 for word in words[: words.index(text)]) for text in found]
    answers = {"text": found, "answer_start": starts}
    return {
        "question": f"a {'cat' if kind == 'animal' else 'red'} is here",
        "context": context,
        "answers": answers,
    }


def _with_summary(rng: np.random.Generator) -> Row:
    named = [_one(rng, "colour"), _one(rng, "animal")]
    return {
        "document": f"{_scattered(rng, named)}. {_scattered(rng, [])}.",
        "summary": f"the {' '.join(named)}",
    }


def _with_translation(rng: np.random.Generator) -> Row:
    source = _scattered(rng, [_one(rng, "animal")], 1, 4)
    return {"source": source, "target": " ".join(word.upper() for word in source.split())}


def _with_target(rng: np.random.Generator) -> Row:
    words = [_one(rng, str(kind)) for kind in rng.choice(list(_KINDS), size=3)]
    return {"source": " ".join(words), "target": " ".join(reversed(words))}


def _with_text(rng: np.random.Generator) -> Row:
    kind = str(rng.choice(list(_KINDS)))
    return {"text": f"{_scattered(rng, [_one(rng, kind)])} is the {kind}"}


def _with_messages(rng: np.random.Generator) -> Row:
    messages = []
    for _ in range(int(rng.integers(1, 3))):
        animal = _one(rng, "animal")
        messages += [
            {"role": "user", "content": _scattered(rng, [animal], 1, 4)},
            {"role": "assistant", "content": f"the {animal} is here"},
        ]
    return {"messages": messages}


def _with_replies(rng: np.random.Generator) -> Row:
    animal, other = (str(word) for word in rng.choice(_ANIMALS, size=2, replace=False))
    replies = {"chosen": f"the {animal} is here", "rejected": f"not {other}"}
    return {"prompt": _scattered(rng, [animal], 1, 5), **replies}


_MAKERS: dict[str, Callable[[np.random.Generator], Row]] = {
    "text-classification": _with_label,
    "multi-label-classification": _with_labels,
    "text-regression": _with_score,
    "token-classification": _with_tags,
    "question-answering": _with_answers,
    "summarization": _with_summary,
    "translation": _with_translation,
    "text2text-generation": _with_target,
    "text-generation": _with_text,
    "chat": _with_messages,
    "fill-mask": _with_text,
    "preference": _with_replies,
}


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """Writes rows as JSON lines or CSV, as the file's ending says."""
    import csv

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as handle:
        if path.suffix == ".jsonl":
            handle.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        else:
            writer = csv.DictWriter(handle, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    return path
