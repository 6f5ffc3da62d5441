"""Shared code of the tasks with one answer for a whole text, or for a pair of texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tunesmith.tasks import Column, Encoded, EncodeOptions, LabelSchema, LossOptions, Values
from tunesmith.tasks._values import is_missing, text_of

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from tunesmith.types import Array, JsonObject, Tokenizer

_TEXT = (
    "text", "sentence", "sentence1", "premise", "question1", "text1", "review", "content", "message", "body",
    "comment", "tweet", "utterance", "document", "query", "question", "description",
)  # fmt: skip
_PAIR = ("text_pair", "sentence2", "hypothesis", "question2", "text2")

TEXT = Column("text", "text", _TEXT)
TEXT_PAIR = Column("text_pair", "text", _PAIR, required=False)


def read_texts(row: Values) -> JsonObject:
    """The text of a row, and its pair if the row has one.

    Raises:
        RowError: one of them is missing, empty or not text.
    """
    return {name: text_of(row[name], name) for name in ("text", "text_pair") if name in row}


def encode_texts(
    batch: Values, tokenizer: Tokenizer, options: EncodeOptions, labels: Array | None
) -> Encoded:
    """One sequence per row, truncated at `max_length`; of a pair, the longer text is truncated."""
    texts, pairs = batch["text"], batch.get("text_pair")
    with_types = pairs is not None and "token_type_ids" in tokenizer.model_input_names
    encoded = tokenizer(
        texts,
        pairs,
        truncation=options.max_length is not None,
        max_length=options.max_length,
        return_attention_mask=False,
        return_token_type_ids=with_types,
        verbose=False,
    )
    return Encoded.of(dict(encoded), {} if labels is None else {"labels": labels})


def has_column(batch: Values, name: str) -> bool:
    """Whether a batch of rows has the values of a column."""
    return name in batch and not any(map(is_missing, batch[name]))


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities [..., k] of logits [..., k]."""
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    probabilities: NDArray[np.float32] = exponentials / exponentials.sum(-1, keepdims=True)
    return probabilities


def closeness_of_best(logits: NDArray[np.floating], label_schema: LabelSchema) -> NDArray[np.float64]:
    """[items], 1 minus the margin between the two most probable labels: 0 is sure, 1 is undecided."""
    best = np.sort(softmax(np.asarray(logits, dtype=np.float32)), axis=-1)[:, -2:]
    return np.asarray(1.0 - (best[:, 1] - best[:, 0]), dtype=np.float64)


def classification_loss(logits: torch.Tensor, labels: torch.Tensor, options: LossOptions) -> torch.Tensor:
    """Cross-entropy summed over the labelled items.

    Args:
        logits: [..., k].
        labels: [...]; items with `IGNORED` are not counted.
        options: smoothing (Szegedy et al. 2016), the focal factor (1 - p)^γ (Lin et al. 2017, arXiv
            1708.02002), and weights by class.
    """
    from torch.nn import functional as F

    precise = (logits.float() if logits.dtype.itemsize < 4 else logits).reshape(-1, logits.shape[-1])
    labels = labels.reshape(-1)
    weights = None
    if options.class_weights is not None:
        weights = precise.new_tensor(options.class_weights)
    if not options.focal_gamma:
        return F.cross_entropy(
            precise, labels, weight=weights, label_smoothing=options.label_smoothing, reduction="sum"
        )
    each = F.cross_entropy(
        precise, labels, weight=weights, label_smoothing=options.label_smoothing, reduction="none"
    )
    right = precise.softmax(-1).gather(-1, labels.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return ((1 - right) ** options.focal_gamma * each).sum()
