"""Models of a few thousand parameters and data of a few dozen rows, made on the spot, the same every time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

_ANIMALS = ("cat", "dog", "horse", "crow", "otter", "salmon", "beetle", "goat")
_COLOURS = ("red", "green", "blue", "yellow", "purple", "orange", "grey", "pink")
_FILLERS = (
    "the",
    "a",
    "is",
    "was",
    "near",
    "old",
    "new",
    "big",
    "small",
    "here",
    "there",
    "and",
    "not",
    "very",
)
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_WORDS = (
    *_ANIMALS,
    *_COLOURS,
    *_FILLERS,
    *"abcdefghijklmnopqrstuvwxyz",
    *(f"##{c}" for c in "abcdefghijklmnop"),
)


def write_tiny_model(
    folder: Path,
    *,
    family: str = "bert",
    width: int = 32,
    layers: int = 2,
    dropout: float = 0.1,
    seed: int = 0,
) -> Path:
    """A model with random weights and a tokenizer of 80 words.

    Args:
        folder: to write it to.
        family: `bert` or `roberta`.
        width: features.
        layers: of the encoder.
        dropout: of all its layers.
        seed: of the weights.
    """
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
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = make_model(config)
        # Words far apart and quiet layers: the features tell the words, so there is something to learn from.
        torch.nn.init.normal_(model.embeddings.word_embeddings.weight, std=1.0)
    model.save_pretrained(folder)
    _write_tokenizer(folder)
    return folder


def _write_tokenizer(folder: Path) -> None:
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
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]", mask_token="[MASK]", model_max_length=64,
    )  # fmt: skip
    tokenizer.save_pretrained(folder)


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
