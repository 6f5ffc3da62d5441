"""What a run knows of rows without labels: what its head reads of them, and how unsure it is.

A row with an output for each token is stood for by the mean of what the head reads of its words, each as heavy as
the model is unsure of it. Its uncertainty is the sum over its words, divided by the root of their number: a long
text has more to learn from, and takes longer to label.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tunesmith.encoded import Ragged
from tunesmith.inference.answering import answer
from tunesmith.inference.label_choice import Worth
from tunesmith.models import heads

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tunesmith.encoded import Encoded
    from tunesmith.inference.predictor import Predictor
    from tunesmith.types import JsonObject


def worth_of(predictor: Predictor, rows: list[JsonObject]) -> Worth:
    """What a run knows of rows.

    Args:
        predictor: predictor of the run, whose task has `uncertainty`.
        rows: rows that the task has read.
    """
    task, prepared = predictor.task, predictor.prepare(rows)
    assert task.uncertainty is not None
    head = heads.find_head(predictor.model, predictor.model.config.num_labels)
    evaluated = answer(
        task, predictor.model, predictor.tokenizer, prepared.columns, prepared.encoded,
        bf16=predictor.bf16, head=head,
    )  # fmt: skip
    features, outputs = evaluated.memo["features"], evaluated.outputs
    if task.uncertainty.of is None:
        return Worth(np.asarray(features, dtype=np.float32))
    if isinstance(features, Ragged):
        unsure = task.uncertainty.of(outputs.values, predictor.label_schema)
        return _of_tokens(features, unsure, prepared.encoded)
    unsure = task.uncertainty.of(np.asarray(outputs), predictor.label_schema)
    return Worth(np.asarray(features, dtype=np.float32), unsure)


def _of_tokens(features: Ragged, unsure: NDArray[np.float64], encoded: Encoded) -> Worth:
    """The worth of rows, from that of their tokens that have labels."""
    from scipy import sparse

    counted = np.flatnonzero(encoded.ragged["word_of_token"].values > 0)
    rows = encoded.rows[np.searchsorted(features.offsets, counted, side="right") - 1]
    weights, n = unsure[counted] + 1e-9, encoded.n_rows
    members = sparse.csr_matrix((weights, (rows, np.arange(len(rows)))), shape=(n, len(rows)))
    sums = np.bincount(rows, weights, minlength=n)
    words = np.maximum(np.bincount(rows, minlength=n), 1)
    means = members @ features.values[counted] / np.maximum(sums, 1e-12)[:, None]
    return Worth(means.astype(np.float32), sums / np.sqrt(words))
