"""Logistic regression on TF-IDF of words and pairs of words, one for each label where there are several.

Fifty iterations, and words that occur once left out of larger data: on banking77 that gives an accuracy
of 0.891 in 2 s, twice as many iterations on all words 0.895 in 6 s.
"""

from __future__ import annotations

from tunesmith.evaluation.baselines import Baseline, TrainingRows
from tunesmith.evaluation.baselines._tfidf import answer_from_tfidf
from tunesmith.tasks import EvalPredictions


def _answer(train: TrainingRows, evaluated: EvalPredictions) -> EvalPredictions:
    from sklearn.linear_model import LogisticRegression

    return answer_from_tfidf(train, evaluated, lambda: LogisticRegression(C=10.0, max_iter=50, tol=1e-3))


baseline = Baseline("TF-IDF + logistic regression", _answer)
