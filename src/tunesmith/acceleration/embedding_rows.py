"""Trains only the rows of the token table whose tokens occur in the training rows.

The token table holds half of a small encoder's parameters, and a data set uses a few thousand of its 30,000 rows.
The other rows have no gradient. AdamW would only decay them, but every step would fill, measure and read the whole
table. Here, the rows that occur are the parameter, under the table's name. They are updated exactly as in the
whole table. The other rows do not change, and are not decayed. Checkpoints hold only the rows that occur.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from tunesmith.acceleration.switches import is_on

if TYPE_CHECKING:
    from tunesmith.types import Model

_MOST_USED = 0.5
"""Largest share of the table for which this is faster."""


class EmbeddingRows(nn.Module):
    """Replaces an `nn.Embedding`: `weight` [n, d] holds the rows that are trained.

    Args:
        whole: the whole table [v, d].
        tokens: [n], ids of the rows that are trained, ascending.
    """

    def __init__(self, whole: nn.Embedding, tokens: torch.Tensor) -> None:
        super().__init__()
        self.whole = [whole]  # in a list, so that it is not a submodule
        self.tokens = tokens
        self.weight = nn.Parameter(whole.weight.detach()[tokens])
        self.position = torch.full((whole.num_embeddings,), -1, dtype=torch.int64, device=tokens.device)
        self.position[tokens] = torch.arange(len(tokens), device=tokens.device)
        padding = -1 if whole.padding_idx is None else int(self.position[whole.padding_idx])
        self.padding_idx = None if padding < 0 else padding

    @property
    def embedding_dim(self) -> int:
        """Number of features d."""
        return int(self.weight.shape[1])

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Embeddings […, d] of ids […]; rows that are not trained are read from the whole table."""
        places = self.position[input_ids]
        if bool((places >= 0).all()):
            return F.embedding(places, self.weight, self.padding_idx)
        learned = F.embedding(places.clamp(min=0), self.weight)
        others = F.embedding(input_ids, self.whole[0].weight.detach())
        return torch.where((places >= 0).unsqueeze(-1), learned, others)

    def write_back(self) -> nn.Embedding:
        """Writes the trained rows into the whole table, and returns it."""
        whole = self.whole[0]
        with torch.no_grad():
            whole.weight[self.tokens.to(whole.weight.device)] = self.weight.to(whole.weight.device)
        return whole


@contextmanager
def training_rows(model: Model, ids: Iterable[NDArray[np.int64]] | None) -> Iterator[None]:
    """A context in which only the token table's rows of these ids are trained, if this is faster.

    Args:
        model: model of transformers.
        ids: arrays with every id that training will read; None if these are unknown, or to train the whole table.
    """
    name = token_table(model) if ids is not None and is_on("embedding_rows") else None
    size = len(model.get_input_embeddings().weight)
    counts = sum(np.bincount(some, minlength=size) for some in ids or ()) if name else 0
    tokens = np.flatnonzero(counts)
    if name is None or len(tokens) > _MOST_USED * size:
        yield
        return
    parent_name, _, leaf = name.rpartition(".")
    parent = model.get_submodule(parent_name)
    whole = getattr(parent, leaf)
    rows = EmbeddingRows(whole, torch.from_numpy(tokens).to(whole.weight.device))
    setattr(parent, leaf, rows)
    try:
        yield
    finally:
        setattr(parent, leaf, rows.write_back())


def token_table(model: Model) -> str | None:
    """The name of the token table; None if it is tied to another layer, frozen, or not a plain table."""
    whole = model.get_input_embeddings()
    is_plain = type(whole) is nn.Embedding and whole.max_norm is None and not whole.scale_grad_by_freq
    if not is_plain or whole.sparse or not whole.weight.requires_grad:
        return None
    modules = [name for name, module in model.named_modules(remove_duplicate=False) if module is whole]
    uses = [name for name, p in model.named_parameters(remove_duplicate=False) if p is whole.weight]
    return modules[0] if len(modules) == 1 and len(uses) == 1 else None
