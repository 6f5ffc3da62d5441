"""Exact match and F1 of extracted answers, as SQuAD 2.0's official `evaluate-v2.0.py` has them.

Rajpurkar et al. 2016 and 2018. Written by hand, because the definition is short and the script is no package.
That script is made for English: articles are a, an and the, punctuation is ASCII, white space parts words. For
other scripts two rules are added, as in the evaluation of MLQA (Lewis et al. 2020): their punctuation goes too
(`。`, `،`, `।`), and where blanks part no words (Chinese, Japanese, Thai) each character is a word.
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
    Metric("f1", "maximize", SHARE, "F1"),
    Metric("exact_match", "maximize", SHARE, "exact match"),
    Metric("f1_answerable", "maximize", SHARE, "F1 of answerable questions"),
    Metric("accuracy_unanswerable", "maximize", SHARE, "accuracy of unanswerable questions"),
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
    """1.0 where the prediction is one of the answers, both normalised; see `f1` for no answer."""
    guess = normalise(prediction)
    return float(any(guess == gold for gold in _normal_golds(golds)))


def f1(prediction: str, golds: Sequence[str]) -> float:
    """The best F1 of words that the prediction and an answer share.

    Args:
        prediction: the predicted answer; empty for none.
        golds: the acceptable answers. None of them, or only empty ones, says that there is no answer: then
            the score is 1.0 where the prediction is empty too (after normalising: `the` is), else 0.0.
    """
    guess = _words(normalise(prediction))
    return max(_word_f1(guess, _words(gold)) for gold in _normal_golds(golds))


def _normal_golds(golds: Sequence[str]) -> list[str]:
    """The answers, normalised, without the empty ones; the empty one alone where there is no other."""
    return [gold for gold in map(normalise, golds) if gold] or [""]


def _word_f1(guess: list[str], gold: list[str]) -> float:
    if not guess or not gold:
        return float(guess == gold)
    n_shared = (Counter(guess) & Counter(gold)).total()
    return 2 * n_shared / (len(guess) + len(gold))


def statistics(predictions: Sequence[str], golds: Sequence[Sequence[str]]) -> Statistics:
    """Per example: its scores, apart for those with and without an answer.

    Args:
        predictions: one a question; empty for no answer.
        golds: the acceptable answers of each question; none, or only empty ones, where it has no answer.

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
    """Whether questions with and without an answer are among those of sums [5]."""
    return bool(sums[2] > 0 and sums[4] > 0)


def formula(sums: NDArray[np.float64], *, with_unanswerable: bool = False) -> Scores:
    """F1 and exact match from sums [..., 5]; 0.0 where there is no question of the kind.

    Args:
        sums: of the statistics.
        with_unanswerable: adds the F1 of the answerable questions, and the part of the unanswerable ones that
            got no answer. The data set decides (`has_both_kinds`), as a resample may lack one kind.
    """
    exact, overlap, n_answerable, right, n_unanswerable = np.moveaxis(sums, -1, 0)
    n = np.maximum(n_answerable + n_unanswerable, 1.0)
    scores = {"f1": (overlap + right) / n, "exact_match": (exact + right) / n}
    if with_unanswerable:
        scores["f1_answerable"] = overlap / np.maximum(n_answerable, 1.0)
        scores["accuracy_unanswerable"] = right / np.maximum(n_unanswerable, 1.0)
    return scores


def shares(*, with_unanswerable: bool = False) -> Shares:
    """All of them, as shares, for statistics of 5 columns."""

    def share(right: Sequence[int], of: Sequence[int]) -> Share:
        return Share(of=selected(5, of), right=selected(5, right))

    found = {"f1": share([1, 3], [2, 4]), "exact_match": share([0, 3], [2, 4])}
    if with_unanswerable:
        found |= {"f1_answerable": share([1], [2]), "accuracy_unanswerable": share([3], [4])}
    return found
