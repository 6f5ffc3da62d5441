"""Models on TF-IDF of words and pairs of words: what the baselines named after it share.

Above a hundred thousand training rows they learn from a fixed sample of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tunesmith import segmentation
from tunesmith.evaluation.baselines import TrainingRows
from tunesmith.tasks import EvalPredictions, Values

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix
    from sklearn.base import BaseEstimator
    from sklearn.feature_extraction.text import TfidfVectorizer

    from tunesmith.types import Array

_MOST_ROWS = 100_000
_MANY_ROWS = 5_000
_NEVER = -1e9

_Predict = Callable[["csr_matrix"], NDArray[np.floating]]
"""Logits from features of rows."""


def answer_from_tfidf(
    train: TrainingRows, evaluated: EvalPredictions, make_model: Callable[[], BaseEstimator]
) -> EvalPredictions:
    """The rows with the outputs of a model, which is fitted once for all rows that it answers."""
    if "tfidf" not in train.memo:
        train.memo["tfidf"] = _fit_tfidf(train, make_model)
    vectorizer, predict = train.memo["tfidf"]
    return replace(
        evaluated, outputs=predict(vectorizer.transform(joined_texts(evaluated.columns, train.inputs)))
    )


def joined_texts(columns: Values, inputs: Sequence[str]) -> list[str]:
    """The texts of each row as one, for what reads single texts."""
    parts = [columns[name] for name in inputs if name in columns]
    return ["\n".join(map(str, texts)) for texts in zip(*parts, strict=True)]


def new_vectorizer(n_texts: int) -> TfidfVectorizer:
    """A vectorizer of words and pairs of words; of many texts, without words that occur once."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(
        min_df=2 if n_texts > _MANY_ROWS else 1,
        ngram_range=(1, 2),
        sublinear_tf=True,
        tokenizer=segmentation.words,
        token_pattern=None,
        dtype=np.float32,
    )


def _fit_tfidf(
    train: TrainingRows, make_model: Callable[[], BaseEstimator]
) -> tuple[TfidfVectorizer, _Predict]:
    rows = np.arange(len(train.labels))
    if len(rows) > _MOST_ROWS:
        rows = np.sort(np.random.default_rng(0).choice(rows, _MOST_ROWS, replace=False))
    vectorizer = new_vectorizer(len(rows))
    texts = joined_texts(train.columns, train.inputs)
    known = vectorizer.fit_transform([texts[i] for i in rows])
    return vectorizer, _fit(make_model, known, np.asarray(train.labels)[rows], train.n_outputs)


def _fit(
    make_model: Callable[[], BaseEstimator], known: csr_matrix, labels: Array, n_outputs: int
) -> _Predict:
    if labels.ndim == 2:
        columns = [_fit_binary(make_model, known, labels[:, i]) for i in range(n_outputs)]
        return lambda new: np.stack([column(new) for column in columns], axis=1).astype(np.float32)
    if labels.dtype.kind == "f":
        ridge = make_model().fit(known, labels)
        return lambda new: np.asarray(ridge.predict(new), dtype=np.float32).reshape(-1, 1)
    if len(np.unique(labels)) == 1:
        return lambda new: _one_class(new.shape[0], int(labels[0]), n_outputs)
    model = make_model().fit(known, labels)

    def predict(new: csr_matrix) -> NDArray[np.float32]:
        logits = np.full((new.shape[0], n_outputs), _NEVER, dtype=np.float32)
        logits[:, model.classes_] = np.log(np.maximum(model.predict_proba(new), 1e-12))
        return logits

    return predict


def _one_class(n: int, label: int, n_outputs: int) -> NDArray[np.float32]:
    logits = np.full((n, n_outputs), _NEVER, dtype=np.float32)
    logits[:, label] = 0.0
    return logits


def _fit_binary(make_model: Callable[[], BaseEstimator], known: csr_matrix, labels: Array) -> _Predict:
    if labels.min() == labels.max():
        return lambda new: np.full(new.shape[0], -_NEVER if labels[0] else _NEVER)
    model = make_model().fit(known, labels)
    return lambda new: np.asarray(model.decision_function(new))
