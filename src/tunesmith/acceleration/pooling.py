"""Computes the mean of the pooling layer of a sentence encoder directly, for one token instead of all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunesmith.acceleration import patching
from tunesmith.models import heads

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers.models.bert.modeling_bert import BertLayer


def install(model: nn.Module) -> str:
    """Replaces the forward pass of the pooling layer, if the model has one; results and weights stay the same.

    Returns:
        An empty string, since there is nothing to note.

    Raises:
        ModelError: the layer does not compute a mean.
    """
    if heads.has_pooling_layer(model):
        patching.install(heads.pooling_layer(model), _pool)
    return ""


def _pool(
    layer: BertLayer,
    hidden_states: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    *_: object,
    **__: object,
) -> torch.Tensor:
    """The outputs [b, 1, d] of hidden states [b, s, d] (sequences, tokens, features), not in half precision."""
    if hidden_states.dtype.itemsize < 4:
        hidden_states = hidden_states.float()
    real = _weights_of_tokens(hidden_states, attention_mask)  # [b, s, 1]
    mean = (hidden_states * real).sum(1, keepdim=True) / real.sum(1, keepdim=True)
    pooled = layer.attention.output.LayerNorm(hidden_states[:, :1] + heads.MEAN_SCALE * mean)
    features: torch.Tensor = layer.output.LayerNorm(pooled)
    return features


def real_tokens(mask: torch.Tensor | None) -> torch.Tensor | None:
    """Whether each token is real, [b, s], from the mask that transformers passes to a layer; None without padding.

    The mask is None, or [b, 1, q, s] with True or 0.0 for real tokens.
    """
    import torch

    if mask is None:
        return None
    row = mask[:, 0, 0, :]
    real: torch.Tensor = row if row.dtype == torch.bool else row == 0
    return real


def _weights_of_tokens(hidden_states: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """1 for real tokens and 0 for padding, [b, s, 1]."""
    real = real_tokens(mask)
    if real is None:
        return hidden_states.new_ones(hidden_states.shape[:2]).unsqueeze(-1)
    return real.unsqueeze(-1).to(hidden_states.dtype)
