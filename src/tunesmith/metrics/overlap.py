r"""Overlap of generated texts with reference texts: exact match, chrF, BLEU, ROUGE.

- **chrF** (Popović 2015) and **BLEU** (Papineni et al. 2002) with sacrebleu's defaults, over the corpus: chrF2 of
  character 1- to 6-grams, BLEU of 13a tokens up to 4-grams with exponential smoothing. sacrebleu counts; the
  formula here computes scores from the counts, for many resamples at once. Scores are fractions, 0 to 1, not 0 to
  100.
- **ROUGE-1, -2, -L** (Lin 2004): mean F-measure of word n-grams, or of the longest common subsequence. The usual
  tokeniser keeps only `[a-z0-9]`, and so nothing of a text in another script. Here words are runs of letters and
  digits with their marks, in lower case, which is the same for English. In scripts without spaces (Chinese,
  Japanese, Thai), each character is a word.

The three ROUGE metrics together take about 0.3 ms for a pair of 200 words: the subsequence is found with one big
integer whose bits are the positions in the text (Hyyrö 2004), not with a table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise, zip_longest
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.metrics import SHARE, Metric, Scores, Share, Shares, Statistics, selected
from tunesmith.segmentation import words

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

metrics = (
    Metric("exact_match", "maximize", SHARE, "exact match", "the share of rows whose whole answer is right"),
    Metric(
        "chrf",
        "maximize",
        SHARE,
        "chrF",
        "how many characters and short pieces of text are shared with the reference",
    ),
    Metric("bleu", "maximize", SHARE, "BLEU", "how many words and phrases are shared with the reference"),
    Metric("rouge1", "maximize", SHARE, "ROUGE-1", "how many words are shared with the reference", "rouge"),
    Metric(
        "rouge2",
        "maximize",
        SHARE,
        "ROUGE-2",
        "how many pairs of words are shared with the reference",
        "rouge",
    ),
    Metric(
        "rougeL",
        "maximize",
        SHARE,
        "ROUGE-L",
        "how many words are shared with the reference in the same order",
        "rouge",
    ),
)

_CHRF_ORDER = 6
_CHRF_BETA_SQUARED = 4
_BLEU_ORDER = 4
_ZERO = 1e-9

_Words = list[str]

_WIDTHS = {
    "exact_match": 1,  # 1 if equal
    "chrf": 3 * _CHRF_ORDER,  # of each order: n-grams of the text, of the best reference, of both
    "bleu": 2 + 2 * _BLEU_ORDER,  # words of the text, of the nearest reference; agreed n-grams; all n-grams
    "rouge1": 1,  # F-measure with the best reference
    "rouge2": 1,
    "rougeL": 1,
}
"""Number of columns of each measure; the first column of all is 1."""

MEASURES = tuple(_WIDTHS)


def statistics(
    texts: Sequence[str], references: Sequence[Sequence[str]], measures: Sequence[str]
) -> Statistics:
    """Per example: a 1, then the statistics of each measure.

    Args:
        texts: generated texts.
        references: one or several references of each text; their number may differ.
        measures: names in `MEASURES`; the columns have their order.

    Returns:
        Dense [examples, 1 + columns]: 1 column for exact match and each ROUGE, 18 for chrF, 10 for BLEU.
    """
    parts = [np.ones((len(texts), 1))]
    parts += [_COUNTERS[measure](texts, references) for measure in measures]
    return np.concatenate(parts, axis=1)


def formula(sums: NDArray[np.float64], measures: Sequence[str]) -> Scores:
    """The score of each measure, 0 to 1, from sums [..., s]; 0.0 if there is nothing to score."""
    n = np.maximum(sums[..., 0], 1.0)
    scores: Scores = {}
    start = 1
    for measure in measures:
        part = sums[..., start : start + _WIDTHS[measure]]
        start += _WIDTHS[measure]
        of_corpus = {"chrf": _chrf_score, "bleu": _bleu_score}.get(measure)
        scores[measure] = of_corpus(part) if of_corpus else part[..., 0] / n
    return scores


def shares(measures: Sequence[str], first: int = 0) -> Shares:
    """All measures as shares; in chrF and BLEU a text is one decision, weighted by the length of its reference.

    Args:
        measures: measures of the statistics.
        first: number of columns before them.
    """
    width = first + 1 + sum(_WIDTHS[measure] for measure in measures)
    found, start = {}, first + 1
    for measure in measures:
        length = {"chrf": start + 1, "bleu": start + 1}.get(measure)
        if length is None:
            found[measure] = Share(of=selected(width, [first]), right=selected(width, [start]))
        else:
            found[measure] = Share(of=selected(width, [length]))
        start += _WIDTHS[measure]
    return found


def _chrf_score(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """chrF2 [...] from sums [..., 18]: F of mean precision and mean recall over the orders of both texts."""
    n_text, n_reference, n_agreed = np.moveaxis(sums.reshape(*sums.shape[:-1], _CHRF_ORDER, 3), -1, 0)
    scored = (n_text > 0) & (n_reference > 0)
    n_orders = np.maximum(scored.sum(-1), 1)
    precision = np.where(scored, n_agreed / np.maximum(n_text, 1.0), 0.0).sum(-1) / n_orders
    recall = np.where(scored, n_agreed / np.maximum(n_reference, 1.0), 0.0).sum(-1) / n_orders
    weighted = _CHRF_BETA_SQUARED * precision + recall
    score = (1 + _CHRF_BETA_SQUARED) * precision * recall / np.where(weighted > 0, weighted, 1.0)
    return np.asarray(score, dtype=np.float64)


def _bleu_score(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """BLEU [...] from sums [..., 10]."""
    n_text, n_reference = sums[..., 0], sums[..., 1]
    agreed, counted = np.split(sums[..., 2:], 2, axis=-1)
    # Exponential smoothing (NIST): the first order without a hit gets half a hit, the next a quarter, ….
    missed = agreed < _ZERO  # a difference of sums may be a rounding error below 0
    hits = np.where(missed, 0.5 ** np.cumsum(missed, axis=-1), agreed)
    geometric_mean = np.exp(np.log(hits / np.maximum(counted, 1.0)).mean(-1))
    brevity = np.exp(np.minimum(0.0, 1 - n_reference / np.maximum(n_text, 1.0)))
    # As in sacrebleu, the score is 0 without any hit, or without an n-gram of the highest order.
    scored = agreed.any(-1) & (counted > 0).all(-1)
    return np.asarray(np.where(scored, brevity * geometric_mean, 0.0), dtype=np.float64)


def _exact_counts(texts: Sequence[str], references: Sequence[Sequence[str]]) -> NDArray[np.float64]:
    """1 if the text is one of the references, ignoring white space at both ends: [examples, 1]."""
    equal = [t.strip() in {r.strip() for r in refs} for t, refs in zip(texts, references, strict=True)]
    return np.array(equal, dtype=np.float64).reshape(-1, 1)


def _chrf_counts(texts: Sequence[str], references: Sequence[Sequence[str]]) -> NDArray[np.float64]:
    from sacrebleu.metrics.chrf import CHRF

    return _sacrebleu_counts(CHRF(), texts, references, _WIDTHS["chrf"])


def _bleu_counts(texts: Sequence[str], references: Sequence[Sequence[str]]) -> NDArray[np.float64]:
    from sacrebleu.metrics.bleu import BLEU

    # force: no warning on standard error about texts that look tokenised.
    return _sacrebleu_counts(BLEU(force=True), texts, references, _WIDTHS["bleu"])


def _sacrebleu_counts(
    metric: BLEU | CHRF, texts: Sequence[str], references: Sequence[Sequence[str]], width: int
) -> NDArray[np.float64]:
    """The counts of sacrebleu for each text: [examples, width]."""
    if not texts:
        return np.zeros((0, width))
    # It takes the first references of all texts, then the second, …, with None for texts without more.
    counts = metric._extract_corpus_statistics(texts, list(zip_longest(*references)))
    return np.array(counts, dtype=np.float64)


def _words(text: str) -> _Words:
    return words(text.lower())


def _rouge_counts(f_measure: Callable[[_Words, _Words], float]) -> Callable[..., NDArray[np.float64]]:
    """Counts the F-measure of each text with its best reference: [examples, 1]."""

    def counts(texts: Sequence[str], references: Sequence[Sequence[str]]) -> NDArray[np.float64]:
        best = []
        for text, refs in zip(texts, references, strict=True):
            ours = _words(text)
            best.append(max(f_measure(ours, _words(reference)) for reference in refs))
        return np.array(best, dtype=np.float64).reshape(-1, 1)

    return counts


def _rouge1(text: _Words, reference: _Words) -> float:
    shared = (Counter(text) & Counter(reference)).total()
    return _f_measure(shared, len(text), len(reference))


def _rouge2(text: _Words, reference: _Words) -> float:
    of_text, of_reference = Counter(pairwise(text)), Counter(pairwise(reference))
    return _f_measure((of_text & of_reference).total(), of_text.total(), of_reference.total())


def _rouge_l(text: _Words, reference: _Words) -> float:
    return _f_measure(_longest_common_subsequence(text, reference), len(text), len(reference))


def _f_measure(n_shared: int, n_text: int, n_reference: int) -> float:
    return 2 * n_shared / max(n_text + n_reference, 1)


def _longest_common_subsequence(a: _Words, b: _Words) -> int:
    """The length, bit-parallel (Hyyrö 2004): a 0 in `row` at i means that the length grows at a[i]."""
    positions: dict[str, int] = {}
    for i, word in enumerate(a):
        positions[word] = positions.get(word, 0) | (1 << i)
    all_ones = (1 << len(a)) - 1
    row = all_ones
    for word in b:
        matched = row & positions.get(word, 0)
        row = ((row + matched) | (row - matched)) & all_ones
    return len(a) - row.bit_count()


_COUNTERS: dict[str, Callable[..., NDArray[np.float64]]] = {
    "exact_match": _exact_counts,
    "chrf": _chrf_counts,
    "bleu": _bleu_counts,
    "rouge1": _rouge_counts(_rouge1),
    "rouge2": _rouge_counts(_rouge2),
    "rougeL": _rouge_counts(_rouge_l),
}
