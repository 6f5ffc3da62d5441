"""Exact match and F1 of extracted answers, as in SQuAD 2.0's official `evaluate-v2.0.py`.

Rajpurkar et al. 2016 and 2018. Written by hand, because the definition is short and the script is not a package.
The script is made for English: articles are a, an and the, punctuation is ASCII, white space separates words. Two
rules are added for other scripts, as in the evaluation of MLQA (Lewis et al. 2020): their punctuation is removed
too (`。`, `،`, `।`), and in scripts without spaces (Chinese, Japanese, Thai) each character is a word.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.metrics import SHARE, Metric, Scores, Share, Shares, Statistics, selected
from tunesmith.segmentation import has_unspaced, without_punctuation, words

if TYPE_CHECKING:
    from numpy.typing import NDArray

metrics = (
    Metric("f1", "maximize", SHARE, "F1", "precision and recall in one number: high only if both are"),
    Metric("exact_match", "maximize", SHARE, "exact match", "the share of rows whose whole answer is right"),
    Metric(
        "f1_answerable",
        "maximize",
        SHARE,
        "F1 of answerable questions",
        "F1 of the questions that have an answer in their text",
        "f1",
    ),
    Metric(
        "accuracy_unanswerable",
        "maximize",
        SHARE,
        "accuracy of unanswerable questions",
        "the share of the questions without an answer that got none",
        "accuracy",
    ),
)

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise(text: str) -> str:
    """Lower case, without punctuation, articles and superfluous white space, in the official order."""
    plain = text.lower().translate(_NO_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", without_punctuation(plain)).split())


def _words(normal: str) -> list[str]:
    """The words of a normalised text."""
    if not has_unspaced(normal):
        return normal.split()
    return [word for part in normal.split() for word in (words(part) if has_unspaced(part) else [part])]


def exact_match(prediction: str, golds: Sequence[str]) -> float:
    """1.0 if the prediction is one of the answers, both normalised; see `f1` for no answer."""
    guess = normalise(prediction)
    return float(any(guess == gold for gold in _normal_golds(golds)))


def f1(prediction: str, golds: Sequence[str]) -> float:
    """The best F1 of shared words between the prediction and an answer.

    Args:
        prediction: predicted answer; empty for no answer.
        golds: acceptable answers. An empty list, or only empty answers, means that there is no answer: then the
            score is 1.0 if the prediction is empty too (after normalisation, `the` is empty), else 0.0.
    """
    guess = _words(normalise(prediction))
    return max(_word_f1(guess, _words(gold)) for gold in _normal_golds(golds))


def _normal_golds(golds: Sequence[str]) -> list[str]:
    """The normalised answers, without empty ones; only an empty one if there is no other."""
    return [gold for gold in map(normalise, golds) if gold] or [""]


def _word_f1(guess: list[str], gold: list[str]) -> float:
    if not guess or not gold:
        return float(guess == gold)
    n_shared = (Counter(guess) & Counter(gold)).total()
    return 2 * n_shared / (len(guess) + len(gold))


def statistics(predictions: Sequence[str], golds: Sequence[Sequence[str]]) -> Statistics:
    """Per example: the scores, separately for questions with and without an answer.

    Args:
        predictions: answer to each question; empty for no answer.
        golds: acceptable answers of each question; none, or only empty ones, if it has no answer.

    Returns:
        Dense [examples, 5]: exact match, F1 and 1 of the answerable; right and 1 of the unanswerable.
    """
    rows = np.zeros((len(predictions), 5))
    for row, prediction, answers in zip(rows, predictions, golds, strict=True):
        if any(answer.strip() for answer in answers):
            row[:3] = exact_match(prediction, answers), f1(prediction, answers), 1.0
        else:
            row[3:] = exact_match(prediction, answers), 1.0
    return rows


def has_both_kinds(sums: NDArray[np.float64]) -> bool:
    """Whether sums [5] include questions with and without an answer."""
    return bool(sums[2] > 0 and sums[4] > 0)


def formula(sums: NDArray[np.float64], *, with_unanswerable: bool = False) -> Scores:
    """F1 and exact match from sums [..., 5]; 0.0 without questions of the kind.

    Args:
        sums: sums of the statistics.
        with_unanswerable: whether to add the F1 of the answerable questions, and the share of the unanswerable
            questions without a predicted answer. The data set decides (`has_both_kinds`), since a resample may
            lack one kind.
    """
    exact, overlap, n_answerable, right, n_unanswerable = np.moveaxis(sums, -1, 0)
    n = np.maximum(n_answerable + n_unanswerable, 1.0)
    scores = {"f1": (overlap + right) / n, "exact_match": (exact + right) / n}
    if with_unanswerable:
        scores["f1_answerable"] = overlap / np.maximum(n_answerable, 1.0)
        scores["accuracy_unanswerable"] = right / np.maximum(n_unanswerable, 1.0)
    return scores


def shares(*, with_unanswerable: bool = False) -> Shares:
    """All metrics as shares, for statistics of 5 columns."""

    def share(right: Sequence[int], of: Sequence[int]) -> Share:
        return Share(of=selected(5, of), right=selected(5, right))

    found = {"f1": share([1, 3], [2, 4]), "exact_match": share([0, 3], [2, 4])}
    if with_unanswerable:
        found |= {"f1_answerable": share([1], [2]), "accuracy_unanswerable": share([3], [4])}
    return found
