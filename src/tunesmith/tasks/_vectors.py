"""Sentence vectors: pooled from the last hidden states of a model, compared by their cosine.

What is pooled is an entry of the model's config, so that a task, a saved model and a graph of it agree. The losses
are those of sentence-transformers: CoSENT for pairs with scores, in-batch negatives for pairs of one meaning.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from tunesmith.tasks import Batch
    from tunesmith.types import Array, Model

VECTORS_KEY = "tunesmith_sentence_vectors"
"""Entry of config.json: `pooling` (`mean` or `cls`) and `normalize`."""
POOLINGS = ("mean", "cls")
FIELDS = ("", "pair_", "negative_")
"""Prefixes of the texts of a row, in the order in which their vectors stand."""
SCALE = 20.0
"""λ of both losses: the inverse of a temperature of 0.05 as in sentence-transformers."""
_LEAST_LENGTH = 1e-12


def pooled(states: torch.Tensor, mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """Vectors [b, d] of hidden states [b, s, d]: the mean over real tokens, or the first of them.

    Args:
        states: of the last layer.
        mask: [b, s], 1 for real tokens.
        pooling: `mean` or `cls`.
    """
    states = states.float() if states.dtype.itemsize < 4 else states
    if pooling == "cls":
        import torch

        return states[torch.arange(len(states), device=states.device), mask.argmax(1)]
    weights = mask.unsqueeze(-1).to(states.dtype)
    return (states * weights).sum(1) / weights.sum(1).clamp(min=1e-9)


def text_vectors(model: Model, batch: Batch) -> torch.Tensor:
    """Vectors [b, k, d] of the k texts of each row, in one pass; a text that is absent has the zero vector.

    Args:
        model: of transformers, whose config says what is pooled.
        batch: `input_ids` and `attention_mask`, and the same for the other texts, under the prefixes of `FIELDS`.
    """
    import torch

    fields = [field for field in FIELDS if f"{field}input_ids" in batch]
    ids, mask = (_stacked([batch[f"{field}{name}"] for field in fields]) for name in _INPUTS)
    there = mask.any(1)
    is_whole = bool(there.all())
    given = (ids, mask) if is_whole else (ids[there], mask[there])
    states = model(**dict(zip(_INPUTS, given, strict=True))).last_hidden_state
    found = pooled(states, given[1], getattr(model.config, VECTORS_KEY, {}).get("pooling", "mean"))
    if not is_whole:
        found = found.new_zeros(len(ids), found.shape[1]).index_put((there.nonzero()[:, 0],), found)
    return torch.stack(found.chunk(len(fields)), dim=1)


_INPUTS = ("input_ids", "attention_mask")


def _stacked(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """All [b, …] padded to one width and stacked: [k·b, s]. A masked place may hold any token."""
    import torch
    from torch.nn import functional as F

    width = max(part.shape[1] for part in parts)
    return torch.cat([F.pad(part, (0, width - part.shape[1])) for part in parts])


def cosines(vectors: torch.Tensor) -> torch.Tensor:
    """[b], the cosine of the first two vectors of each row [b, k, d]."""
    from torch.nn import functional as F

    return (F.normalize(vectors[:, 0], dim=-1) * F.normalize(vectors[:, 1], dim=-1)).sum(-1)


def cosent_loss(vectors: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """CoSENT (Su 2022; Huang et al. 2024): log(1 + Σ exp(λ(cos_j - cos_i))) over all i, j with score_i > score_j.

    Args:
        vectors: [b, k, d], of a whole batch.
        scores: [b]; only their order has a part.

    Returns:
        The loss of the batch times its number of rows, so that its mean over the rows is CoSENT's.
    """
    import torch

    similarity = SCALE * cosines(vectors)
    wrong = similarity[None, :] - similarity[:, None]  # [i, j]: by how much j is above i
    above = wrong.masked_fill(scores[:, None] <= scores[None, :], -torch.inf).flatten()
    return len(scores) * torch.cat([above.new_zeros(1), above]).logsumexp(0)


def in_batch_loss(vectors: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """In-batch negatives (Henderson et al. 2017, arXiv 1705.00652), summed over the rows.

    Each row's first text must find its second among the second and third texts of the whole batch. A copy of its
    own second text, and the second text of an equal first one, are right answers too, and so no negatives.

    Args:
        vectors: [b, k, d], of a whole batch.
        keys: [b, k], equal for equal texts, 0 for an absent one.
    """
    import torch
    from torch.nn import functional as F

    n = len(vectors)
    unit = F.normalize(vectors, dim=-1)
    candidates = torch.cat(unit[:, 1:].unbind(1))  # the second texts, then the third ones
    candidate_keys = torch.cat(keys[:, 1:].unbind(1))
    hidden = (candidate_keys[None, :] == keys[:, 1:2]) | (candidate_keys == 0)[None, :]
    hidden[:, :n] |= keys[None, :, 0] == keys[:, :1]
    hidden.fill_diagonal_(fill_value=False)
    similarity = (SCALE * unit[:, 0] @ candidates.T).masked_fill(hidden, -torch.inf)
    return F.cross_entropy(similarity, torch.arange(n, device=similarity.device), reduction="sum")


def text_keys(texts: Sequence[str | None]) -> NDArray[np.int64]:
    """[texts], a number for each text, equal for equal ones; 0 for an absent one."""
    return np.array([0 if text is None else _key(text) for text in texts], dtype=np.int64)


def _key(text: str) -> int:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True) or 1


def unit_vectors(vectors: Any) -> Any:
    """Rows [n, d] of length 1, dense or sparse; rows of zeros stay."""
    from scipy import sparse

    if sparse.issparse(vectors):
        lengths = np.sqrt(np.asarray(vectors.multiply(vectors).sum(1)).ravel())
        return sparse.diags(1 / np.maximum(lengths, _LEAST_LENGTH)) @ vectors
    vectors = np.asarray(vectors, dtype=np.float32)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), _LEAST_LENGTH)


def pair_cosines(one: Any, other: Any) -> Array:
    """[n], the cosine of each row of one [n, d] and of the other."""
    from scipy import sparse

    first, second = unit_vectors(one), unit_vectors(other)
    product = first.multiply(second) if sparse.issparse(first) else first * second
    return np.asarray(product.sum(1)).ravel()
