"""Predicting masked words, which adapts an encoder to the language of a field before it learns a task.

Masks are drawn anew each time a text is read in training, as a function of (seed, step); the masks for evaluation
stay the same. Of the drawn tokens, 80 % are masked, 10 % are replaced by another token and 10 % are left (Devlin
et al. 2019, section 3.1). With `whole_word_masking`, all tokens of a word are drawn together. Answers have the
shape of the Hub's `FillMaskOutputElement`.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.errors import DataError
from tunesmith.metrics import Scores, Shares, Statistics, language_modelling
from tunesmith.segmentation import needs_rules, word_bounds
from tunesmith.tasks import (
    IGNORED,
    PLAIN_LOSS,
    TOP_ANSWERS,
    Batch,
    Column,
    Encoded,
    EncodeOptions,
    EvalPredictions,
    LabelSchema,
    Length,
    LossOptions,
    Masking,
    Pipeline,
    Prediction,
    Ragged,
    RowError,
    Task,
    Values,
    Windows,
)
from tunesmith.tasks import _texts as texts
from tunesmith.tasks._values import text_of

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from transformers import BatchEncoding

    from tunesmith.types import JsonObject, Tokenizer

_HIDDEN, _REPLACED = 0.8, 0.1
_ANSWERS = 5
_USERS_MASKS = ("<mask>", "[MASK]")


def _pipeline_arguments(max_length: int) -> str:
    return 'tokenizer_kwargs={"truncation": True}'


def _draw(encoded: Encoded, rng: np.random.Generator, tokenizer: Tokenizer, options: LossOptions) -> Encoded:
    """Chooses tokens, hides them, and makes them the labels."""
    ids, words = encoded.ragged["input_ids"], encoded.ragged["word_of_token"]
    chosen = _chosen(words, options.mlm_probability, rng, whole_words=options.whole_word_masking)
    fate = rng.random(len(ids.values))
    hidden = chosen & (fate < _HIDDEN)
    replaced = chosen & (fate >= _HIDDEN) & (fate < _HIDDEN + _REPLACED)
    others = rng.integers(len(tokenizer), size=len(ids.values))
    read = np.where(hidden, tokenizer.mask_token_id, np.where(replaced, others, ids.values))
    labels = np.where(chosen, ids.values, IGNORED)
    fields = {
        **encoded.ragged,
        "input_ids": Ragged(read.astype(np.int32), ids.offsets),
        "labels": Ragged(labels.astype(np.int32), ids.offsets),
    }
    return replace(encoded, ragged=fields)


class FillMask(Task):
    """The task's object."""

    name = "fill-mask"
    summary = "masked words: adapts an encoder to the language of a field"
    aliases = ("mlm", "masked-lm", "masked-language-modeling")
    columns = (Column("text", "text", ("text", "content", "document", "body", "sentence")),)
    makes_head = True
    suggested_model = "distilbert/distilbert-base-uncased"
    auto_class = "AutoModelForMaskedLM"
    primary_metric = "loss"
    baselines = ("base_model",)
    supported_options = ("mlm_probability", "whole_word_masking", "label_smoothing_factor")
    length = Length(512)
    windows = Windows()
    outputs_per_token = True
    masking = Masking(_draw)
    alternatives = TOP_ANSWERS
    pipeline = Pipeline("fill-mask", _pipeline_arguments)
    example = "a text with a [MASK]"
    display = None

    def read(self, row: Values) -> JsonObject:
        """See Task."""
        return {"text": text_of(row["text"], "text")}

    def encode(
        self, batch: Values, tokenizer: Tokenizer, options: EncodeOptions, label_schema: LabelSchema
    ) -> Encoded:
        """See Task; `word_of_token` counts words from 1, special tokens are 0."""
        if tokenizer.mask_token_id is None:
            raise DataError(
                "the model's tokenizer has no mask token.",
                remedy="Use a model of BERT's kind, or `text-generation`.",
            )
        rows = list(batch["text"])
        if options.purpose == "predict":
            rows = [_with_own_mask(text, tokenizer.mask_token) for text in rows]
        encoded = tokenizer(
            rows,
            truncation=options.max_length is not None,
            max_length=options.max_length,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )
        of_sequence = encoded["overflow_to_sample_mapping"]
        words = [_words_of_tokens(encoded, sequence, rows[row]) for sequence, row in enumerate(of_sequence)]
        fields = {"input_ids": encoded["input_ids"], "word_of_token": words}
        found = Encoded.of(fields, rows=of_sequence, n_rows=len(rows))
        if options.purpose != "score":
            return found
        return _draw(found, np.random.default_rng(0), tokenizer, PLAIN_LOSS)

    def num_items(self, encoded: Encoded) -> NDArray[np.int64]:
        """See Task: drawn tokens; before the draw, one for each text with words."""
        if "labels" in encoded.ragged:
            labels = encoded.ragged["labels"]
            return labels.sums((labels.values != IGNORED).astype(np.int64))
        words = encoded.ragged["word_of_token"]
        return (words.sums((words.values > 0).astype(np.int64)) > 0).astype(np.int64)

    def loss(self, outputs: torch.Tensor, batch: Batch, options: LossOptions) -> torch.Tensor:
        """See Task."""
        return texts.classification_loss(outputs, batch["labels"], options)

    def select_outputs(self, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
        """See Task: in scoring, each token's loss and whether it was the first choice; else the best tokens."""
        import torch
        from torch.nn import functional as F

        logits = outputs.float()
        if "labels" not in batch:
            best = logits.softmax(-1).topk(_ANSWERS, dim=-1)
            return torch.cat([best.values, best.indices.float()], dim=-1)
        labels = batch["labels"]
        each = F.cross_entropy(logits.transpose(1, 2), labels, ignore_index=IGNORED, reduction="none")
        return torch.stack([each, (logits.argmax(-1) == labels).float()], dim=-1)

    def decode(self, evaluated: EvalPredictions, label_schema: LabelSchema) -> list[Prediction]:
        """See Task; the answers for the first mask of each text, the best first."""
        if "labels" in evaluated.encoded.ragged:
            nll, tokens, _ = _sums(evaluated).T
            return [{"loss": round(float(a / max(n, 1)), 4)} for a, n in zip(nll, tokens, strict=True)]
        return [_filled(evaluated, row) for row in range(evaluated.encoded.n_rows)]

    def gold(self, columns: Values, label_schema: LabelSchema) -> list[None]:
        """See Task: nothing; the masked words are in the text."""
        return [None] * len(columns["text"])

    def statistics(self, evaluated: EvalPredictions, label_schema: LabelSchema) -> Statistics:
        """See Task."""
        nll, tokens, correct = _sums(evaluated).T
        return language_modelling.statistics(nll, tokens, correct=correct)

    def formula(self, sums: NDArray[np.float64], label_schema: LabelSchema) -> Scores:
        """See Task."""
        return language_modelling.formula(sums, with_accuracy=True)

    def shares(self, label_schema: LabelSchema) -> Shares:
        """See Task."""
        return language_modelling.shares()


task = FillMask()


def _filled(evaluated: EvalPredictions, row: int) -> Prediction:
    """The best tokens for the first mask of a row."""
    tokenizer = evaluated.tokenizer
    for sequence in np.flatnonzero(evaluated.encoded.rows == row).tolist():
        ids = evaluated.encoded.ragged["input_ids"][sequence]
        masks = np.flatnonzero(ids == tokenizer.mask_token_id)
        if len(masks):
            found = evaluated.outputs[sequence][masks[0]]
            top = [
                _fill(ids, int(masks[0]), int(token), float(score), tokenizer)
                for score, token in zip(found[:_ANSWERS], found[_ANSWERS:], strict=True)
            ]
            return {**top[0], "top": top}
    raise RowError(f"the text has no mask; write {_USERS_MASKS[0]} for the masked word.")


def _fill(ids: NDArray[np.int32], at: int, token: int, score: float, tokenizer: Tokenizer) -> Prediction:
    filled = np.where(np.arange(len(ids)) == at, token, ids)
    return {
        "token_str": tokenizer.decode([token]).strip(),
        "token": token,
        "score": score,
        "sequence": tokenizer.decode(filled, skip_special_tokens=True),
    }


def _words_of_tokens(encoded: BatchEncoding, sequence: int, text: str) -> list[int]:
    """The word of each token, from 1, and 0 for special tokens.

    The words of a tokenizer are only right for letters without marks, in scripts with spaces.
    """
    words = [0 if word is None else word + 1 for word in encoded.word_ids(sequence)]
    if not needs_rules(text):
        return words
    starts = [start for start, _ in word_bounds(text)]
    ends = [end for _, end in encoded["offset_mapping"][sequence]]
    return [word and max(bisect_right(starts, end - 1), 1) for word, end in zip(words, ends, strict=True)]


def _with_own_mask(text: str, mask: str) -> str:
    for written in _USERS_MASKS:
        text = text.replace(written, mask)
    return text


def _chosen(words: Ragged, share: float, rng: np.random.Generator, *, whole_words: bool) -> NDArray[np.bool_]:
    """[tokens], whether each token is drawn: about `share` of the tokens of every sequence, at least one.

    Tokens or words get random keys, and the smallest keys of each sequence are taken.
    """
    n_tokens = len(words.values)
    sequence = np.repeat(np.arange(len(words)), words.lengths)
    usable = words.values > 0
    keys = rng.random(n_tokens)
    if whole_words:
        starts = np.ones(n_tokens, dtype=bool)
        starts[1:] = (words.values[1:] != words.values[:-1]) | (sequence[1:] != sequence[:-1])
        word = np.cumsum(starts) - 1
        keys = keys[np.flatnonzero(starts)][word]
    keys = np.where(usable, keys, 2.0)
    order = np.lexsort((keys, sequence))
    rank = np.empty(n_tokens, dtype=np.int64)
    rank[order] = np.arange(n_tokens) - np.repeat(words.offsets[:-1], words.lengths)
    wanted = np.maximum(np.rint(share * words.sums(usable.astype(np.int64))), 1)[sequence]
    chosen = usable & (rank < wanted)
    if whole_words:  # a word with one drawn token is drawn whole
        chosen = usable & (np.bincount(word, weights=chosen, minlength=word[-1] + 1)[word] > 0)
    return np.asarray(chosen)


def _sums(evaluated: EvalPredictions) -> NDArray[np.float64]:
    """[rows, 3], over the drawn tokens: negative log-likelihood, number of tokens, number of right ones."""
    labels, kept = evaluated.encoded.ragged["labels"], evaluated.outputs
    counted = (labels.values != IGNORED).astype(np.float64)
    parts = (kept.values[:, 0] * counted, counted, kept.values[:, 1] * counted)
    return evaluated.encoded.sum_by_row(np.stack([labels.sums(part) for part in parts], axis=1))
