"""Tasks whose model turns each text into a vector: what they share, and the one that reads single texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.metrics import Scores, Statistics
from tunesmith.tasks import (
    Batch,
    Column,
    Encoded,
    EncodeOptions,
    EvalPredictions,
    LabelSchema,
    LossOptions,
    Prediction,
    SentenceVectors,
    Task,
    Values,
)
from tunesmith.tasks import _texts as texts
from tunesmith.tasks import _vectors as vectors
from tunesmith.tasks._values import is_missing, text_of

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from tunesmith.types import Array, JsonObject, Model, Tokenizer

_TEXTS = {"text": "", "text_pair": "pair_", "negative": "negative_"}
"""The prefix of the sequences of each text."""


class SentenceTask(Task, abstract=True):
    """What reading pairs and reading single texts have in common."""

    auto_class = "AutoModel"
    primary_metric = "spearman"
    vectors = SentenceVectors(lambda: SINGLE_TEXTS)

    def encode(
        self, batch: Values, tokenizer: Tokenizer, options: EncodeOptions, label_schema: LabelSchema
    ) -> Encoded:
        """See Task: each text is a sequence of its own; an absent third text is an empty one."""
        fields = [name for name in _TEXTS if name in batch and name in (*self.inputs, *self.outputs)]
        if options.purpose == "predict":
            fields = [name for name in fields if name in self.inputs]
        found = {
            f"{_TEXTS[name]}input_ids": _ids(batch[name], tokenizer, options.max_length) for name in fields
        }
        return Encoded.of(
            found, {} if options.purpose == "predict" else self._known(batch, fields, label_schema)
        )

    def _known(self, batch: Values, fields: Sequence[str], label_schema: LabelSchema) -> dict[str, Array]:
        return {}

    def forward(self, model: Model, batch: Batch) -> torch.Tensor:
        """See Task: vectors [b, k, d] of the k texts of each row."""
        return vectors.text_vectors(model, batch)


class _SingleTexts(SentenceTask):
    """Single texts, for their vectors: it reads and encodes, and neither learns nor scores."""

    name = "text-similarity"
    summary = "a vector for each text"
    columns = (Column("text", "text", (*texts.TEXT.aliases, "anchor")),)

    def read(self, row: Values) -> JsonObject:
        """See Task."""
        return {"text": text_of(row["text"], "text")}

    def loss(self, outputs: torch.Tensor, batch: Batch, options: LossOptions) -> torch.Tensor:
        """See Task; there is none."""
        raise NotImplementedError

    def decode(self, evaluated: EvalPredictions, label_schema: LabelSchema) -> list[Prediction]:
        """See Task: vectors."""
        return [{"vector": vector[0].tolist()} for vector in np.asarray(evaluated.outputs)]

    def statistics(self, evaluated: EvalPredictions, label_schema: LabelSchema) -> Statistics:
        """See Task; there are none."""
        raise NotImplementedError

    def formula(self, sums: NDArray[np.float64], label_schema: LabelSchema) -> Scores:
        """See Task; there are none."""
        raise NotImplementedError


SINGLE_TEXTS: Task = _SingleTexts()
"""Reads single texts for their vectors."""


def _ids(values: Sequence[str | None], tokenizer: Tokenizer, max_length: int | None) -> list[list[int]]:
    """Token ids of each text; none of an absent one."""
    there = [value for value in values if not is_missing(value)]
    if not there:
        return [[] for _ in values]
    encoded = iter(
        tokenizer(
            there,
            truncation=max_length is not None,
            max_length=max_length,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )["input_ids"]
    )
    return [[] if is_missing(value) else next(encoded) for value in values]
