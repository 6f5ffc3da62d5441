"""Models of a few thousand parameters and data of a few dozen rows, for tests; the same on every call.

There is a model of each family that a task may need, with its kind of tokenizer: WordPiece with an unknown token
for BERT, BPE on bytes for a decoder, BPE on characters with an unknown token for an encoder-decoder. Texts consist
of animals, colours and filler words, so a model learns each task from a few rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.effects import not_for_method
from tunesmith.recipe import Recipe
from tunesmith.testing.tiny_tasks import TINY_TASKS, Question, Row, TinyTask
from tunesmith.testing.tiny_words import ANIMALS, COLOURS, FILLERS

if TYPE_CHECKING:
    from tunesmith.tasks import Task
    from tunesmith.types import Config, JsonObject, Model, Tokenizer

FAMILIES = {"AutoModelForCausalLM": "llama", "AutoModelForSeq2SeqLM": "bart"}
"""The family of the tiny model for a model class; `bert` for all others."""

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_WORDS = (
    *ANIMALS,
    *COLOURS,
    *FILLERS,
    *"abcdefghijklmnopqrstuvwxyz",
    *(f"##{c}" for c in "abcdefghijklmnop"),
)
_PRINTABLE = tuple(map(chr, range(33, 127)))


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
        folder: folder to write to.
        family: `bert` or `roberta` (encoders with 64 positions), `llama` (a decoder with 256) or `bart` (an
            encoder-decoder with 128).
        width: number of features.
        layers: number of layers in the encoder, and in the decoder.
        dropout: dropout probability in all layers.
        seed: random seed of the weights.
    """
    import torch

    make = {"bert": _bert, "roberta": _bert, "llama": _llama, "bart": _bart}[family]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, tokenizer = make(family, width, layers, dropout)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _bert(family: str, width: int, layers: int, dropout: float) -> tuple[Model, Tokenizer]:
    import torch
    from transformers import BertConfig, BertModel, RobertaConfig, RobertaModel

    kinds: dict[str, tuple[type[Config], type[Model]]] = {
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
    # Embeddings far apart and layers with small weights: features then depend on the words, so a head can learn.
    torch.nn.init.normal_(model.embeddings.word_embeddings.weight, std=1.0)
    return model, _wordpiece_tokenizer()


def _llama(family: str, width: int, layers: int, dropout: float) -> tuple[Model, Tokenizer]:
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


def _bart(family: str, width: int, layers: int, dropout: float) -> tuple[Model, Tokenizer]:
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


def _wordpiece_tokenizer() -> Tokenizer:
    from tokenizers import Tokenizer as Backend
    from tokenizers import models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = {word: i for i, word in enumerate((*_SPECIAL, *_WORDS))}
    backend = Backend(models.WordPiece(words, unk_token="[UNK]"))
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


def _byte_tokenizer() -> Tokenizer:
    """BPE on bytes: it knows every text, and the words of the tiny rows as one token each."""
    from tokenizers import Tokenizer as Backend
    from tokenizers import decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ("<pad>", "<s>", "</s>")
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary, merges = _merged((*special, *letters), "Ġ")
    backend = Backend(models.BPE(vocab=vocabulary, merges=merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", vocabulary["<s>"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", bos_token="<s>", eos_token="</s>", model_max_length=256,
    )  # fmt: skip


def _character_tokenizer() -> Tokenizer:
    """BPE on the printable characters of ASCII; all others are unknown."""
    from tokenizers import Tokenizer as Backend
    from tokenizers import decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ("<s>", "<pad>", "</s>", "<unk>")
    vocabulary, merges = _merged((*special, "▁", *_PRINTABLE), "▁")
    backend = Backend(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>"))
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
    """A vocabulary of letters and of the known words after a space, and the merges that make these words."""
    vocabulary = {letter: i for i, letter in enumerate(letters)}
    merges = []
    for word in (*ANIMALS, *COLOURS, *FILLERS):
        grown = blank
        for letter in word:
            if grown + letter not in vocabulary:
                merges.append((grown, letter))
                vocabulary[grown + letter] = len(vocabulary)
            grown += letter
    return vocabulary, merges


def tiny_rows(n: int, *, seed: int = 0, labels: Sequence[str] = ("animal", "colour")) -> list[dict[str, str]]:
    """Texts with an animal or a colour among filler words, labelled with which it is; all texts differ.

    Args:
        n: number of rows.
        seed: random seed of the texts.
        labels: label for animals, and label for colours.
    """
    rng = np.random.default_rng(seed)
    rows: dict[str, dict[str, str]] = {}
    while len(rows) < n:
        kind = int(rng.integers(2))
        words = [str(word) for word in rng.choice(FILLERS, size=int(rng.integers(2, 12)))]
        words.insert(int(rng.integers(len(words) + 1)), str(rng.choice((ANIMALS, COLOURS)[kind])))
        text = " ".join(words)
        rows[text] = {"text": text, "label": labels[kind]}
    return list(rows.values())


def tiny_task_rows(task: str, n: int, *, seed: int = 0) -> list[Row]:
    """Rows for a task, as in a file; all differ.

    Args:
        task: name of the task; its file in `testing/tiny_tasks` makes the rows.
        n: number of rows.
        seed: random seed of the texts.
    """
    return different_rows(TINY_TASKS.get(task).make, n, seed=seed)


def different_rows(make: Callable[[np.random.Generator], Row], n: int, *, seed: int = 0) -> list[Row]:
    """Rows that all differ.

    Args:
        make: function that makes one row.
        n: number of rows.
        seed: random seed of the texts.
    """
    rng = np.random.default_rng(seed)
    rows: dict[str, Row] = {}
    while len(rows) < n:
        row = make(rng)
        rows.setdefault(json.dumps([value for value in row.values() if isinstance(value, str)] or row), row)
    return list(rows.values())


def question_of(task: Task, tiny: TinyTask, row: Row) -> Question:
    """The question to a predictor that belongs to a row.

    Args:
        task: task of the row.
        tiny: tiny data of the task.
        row: row of a file.
    """
    if tiny.question is not None:
        return tiny.question(row)
    names = {column.name for column in task.columns if not column.target}
    return {name: value for name, value in row.items() if name in names}


def write_rows(path: Path, rows: Sequence[JsonObject]) -> Path:
    """Writes rows as JSON lines or CSV, depending on the file's ending."""
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


def as_probe(recipe: Recipe, **train: object) -> Recipe:
    """A recipe with `method: probe`, without what a probe does not use."""
    tree = recipe.model_dump(mode="json", exclude_unset=True)
    unused = {key.removeprefix("train.") for key in not_for_method("probe")}
    kept = {key: value for key, value in tree.get("train", {}).items() if key not in unused}
    return Recipe.model_validate({**tree, "train": {**kept, **train, "method": "probe"}})
