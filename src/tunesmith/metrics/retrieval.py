"""Whether a text finds the text that belongs to it, among the texts of all rows.

Definitions as in sentence-transformers' `InformationRetrievalEvaluator`: a query is a distinct first text, its
right answers are the second texts of its rows, and the documents are all distinct second and third texts. The text
of a query is no document for it, unless it is a right answer. Rows of one query share its score.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tunesmith.metrics import SHARE, Metric, Scores, Share, Shares, Statistics, selected

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from tunesmith.types import Array

metrics = (
    Metric(
        "ndcg_at_10",
        "maximize",
        SHARE,
        "nDCG at 10",
        "how high the right text ranks among the first ten; the ranks further down count less",
    ),
    Metric(
        "mrr_at_10",
        "maximize",
        SHARE,
        "mean reciprocal rank at 10",
        "1 divided by the rank of the right text, 0 below rank ten",
    ),
    Metric(
        "recall_at_1",
        "maximize",
        SHARE,
        "recall at 1",
        "the share of texts whose partner is the most similar of all",
    ),
    Metric(
        "recall_at_10",
        "maximize",
        SHARE,
        "recall at 10",
        "the share of texts whose partner is among the ten most similar",
    ),
    Metric(
        "triplet_accuracy",
        "maximize",
        SHARE,
        "triplet accuracy",
        "the share of triplets whose positive is more similar than the negative",
    ),
)

_NAMES = ("ndcg_at_10", "mrr_at_10", "recall_at_1", "recall_at_10")
_K = 10
_BLOCK = 256


def ranks(vectors: Any, keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rank of the right answer of each row, and the row whose text comes first.

    Args:
        vectors: k matrices [rows, d] of unit rows, dense or sparse: of the first texts, the second, and the third.
        keys: [rows, k], equal for equal texts, 0 for an absent one.

    Returns:
        [rows], the rank of the row's second text, from 1; and [rows, 2], row and position (1 or 2) of the text
        that is ranked first.
    """
    queries, of_query = (
        np.unique(keys[:, 0], return_index=True)[1],
        np.unique(keys[:, 0], return_inverse=True)[1],
    )
    documents, places = _documents(keys)
    own = np.searchsorted(documents, keys[:, 1])
    texts = _rows_of(vectors, places)
    rank = np.empty(len(keys), dtype=np.int64)
    best = np.empty((len(keys), 2), dtype=np.int64)
    rows_of = np.split(np.argsort(of_query, kind="stable"), np.cumsum(np.bincount(of_query))[:-1])
    for query, scores in _scored(vectors[0], queries, texts):
        rows = rows_of[query]
        right = own[rows]
        itself = np.searchsorted(documents, keys[rows[0], 0])
        if itself < len(documents) and documents[itself] == keys[rows[0], 0] and itself not in right:
            scores[itself] = -np.inf
        rank[rows] = [_rank(scores, document) for document in right.tolist()]
        best[rows] = places[int(scores.argmax())]
    return rank, best


def _documents(keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sorted keys of the distinct second and third texts, and where each first occurs: [documents, 2]."""
    documents, first = np.unique(keys[:, 1:].T.ravel(), return_index=True)
    there = documents != 0
    position, row = np.divmod(first[there], len(keys))
    return documents[there], np.stack([row, position + 1], axis=1)


def _rows_of(vectors: Any, places: NDArray[np.int64]) -> Any:
    """[documents, d] from the matrices of the second and third texts."""
    from scipy import sparse

    n, is_sparse = vectors[0].shape[0], sparse.issparse(vectors[0])
    every = sparse.csr_matrix(sparse.vstack(vectors[1:])) if is_sparse else np.concatenate(vectors[1:])
    return every[(places[:, 1] - 1) * n + places[:, 0]]


def _scored(
    vectors: Any, queries: NDArray[np.int64], texts: Any
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """The number of each query, and its cosines with all documents; a block at a time."""
    for start in range(0, len(queries), _BLOCK):
        product = vectors[queries[start : start + _BLOCK]] @ texts.T
        block = product if isinstance(product, np.ndarray) else product.toarray()
        yield from enumerate(np.array(block), start)


def _rank(scores: NDArray[np.float32], document: int) -> int:
    """Equal cosines are ranked in the order of the documents' keys, which says nothing of them."""
    own = scores[document]
    return 1 + int((scores > own).sum()) + int((scores[:document] == own).sum())


def statistics(rank: NDArray[np.int64], queries: NDArray[np.int64], margins: Array | None) -> Statistics:
    """Per row: its share of the scores of its query, and whether its second text is nearer than its third.

    Args:
        rank: [rows], see `ranks`.
        queries: [rows], equal for equal first texts.
        margins: [rows], cosine with the second text minus that with the third, NaN without a third; None where no
            row has one.

    Returns:
        Dense [rows, 5 or 7]: weight, nDCG, reciprocal rank, recall at 1 and at 10, each times the weight; whether
        there is a third text; 1, 0.5 or 0 for nearer, tied or farther.
    """
    _, of_query, n_rows = np.unique(queries, return_inverse=True, return_counts=True)
    weight = 1.0 / n_rows[of_query]
    # The right answers of a query are distinct texts, each with a rank of its own.
    n_right = np.bincount(np.unique(np.stack([of_query, rank]), axis=1)[0], minlength=len(n_rows))
    is_first_of_rank = np.zeros(len(rank), dtype=bool)
    is_first_of_rank[np.unique(np.stack([of_query, rank]), axis=1, return_index=True)[1]] = True

    def summed(values: NDArray[np.float64]) -> NDArray[np.float64]:
        each = np.bincount(of_query, weights=values * is_first_of_rank, minlength=len(n_rows))
        return each.astype(np.float64)

    gains = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(_K) + 2))])
    best = np.full(len(n_rows), np.iinfo(np.int64).max)
    np.minimum.at(best, of_query, rank)
    scores = (
        summed((rank <= _K) / np.log2(rank + 1)) / gains[np.minimum(n_right, _K)],
        (best <= _K) / best,
        summed((rank <= 1).astype(np.float64)) / n_right,
        summed((rank <= _K).astype(np.float64)) / n_right,
    )
    columns = [weight, *(weight * score[of_query] for score in scores)]
    if margins is not None:
        there = ~np.isnan(margins)
        columns += [there.astype(np.float64), np.where(there, (np.sign(margins) + 1) / 2, 0.0)]
    return np.stack(columns, axis=1)


def formula(sums: NDArray[np.float64]) -> Scores:
    """Every metric from sums [..., 5 or 7]; 0.0 without rows."""
    n = np.maximum(sums[..., 0], 1e-9)
    found = {name: sums[..., 1 + i] / n for i, name in enumerate(_NAMES)}
    if sums.shape[-1] > 5:
        found["triplet_accuracy"] = sums[..., 6] / np.maximum(sums[..., 5], 1e-9)
    return found


def shares(*, has_third: bool) -> Shares:
    """All as shares, for statistics of 5 or 7 columns."""
    width = 7 if has_third else 5
    found = {
        name: Share(of=selected(width, [0]), right=selected(width, [1 + i])) for i, name in enumerate(_NAMES)
    }
    if has_third:
        found["triplet_accuracy"] = Share(of=selected(width, [5]), right=selected(width, [6]))
    return found
