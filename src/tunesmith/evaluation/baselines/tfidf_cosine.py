"""The cosine of TF-IDF vectors of words and pairs of words; their weights come from the training texts."""

from __future__ import annotations

from dataclasses import replace

from tunesmith.evaluation.baselines import Baseline, TrainingRows
from tunesmith.evaluation.baselines._tfidf import new_vectorizer
from tunesmith.tasks import EvalPredictions

_TEXTS = ("text", "text_pair", "negative")


def _answer(train: TrainingRows, evaluated: EvalPredictions) -> EvalPredictions:
    if "tfidf" not in train.memo:
        known = [text for name in _TEXTS for text in train.columns.get(name, ()) if text is not None]
        train.memo["tfidf"] = new_vectorizer(len(known)).fit(known)
    found = [
        train.memo["tfidf"].transform(["" if text is None else text for text in evaluated.columns[name]])
        for name in _TEXTS
        if name in evaluated.columns
    ]
    return replace(evaluated, outputs=found)


baseline = Baseline("TF-IDF + cosine", _answer)
