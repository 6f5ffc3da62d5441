"""The dropout of a model's layers, as its config names it: one key in BERT, another in GPT-2, two in BART.

The head's own dropout (`classifier_dropout`) stays as it is where a config names it; elsewhere it is that of the
layers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunesmith.errors import RecipeError

if TYPE_CHECKING:
    from tunesmith.types import Config

_KEYS = (
    "hidden_dropout_prob", "hidden_dropout", "dropout", "dropout_rate", "residual_dropout", "resid_dropout",
    "resid_pdrop", "embedding_dropout", "embed_dropout", "embd_pdrop", "mlp_dropout",
    "attention_probs_dropout_prob", "attention_dropout", "attn_pdrop",
)  # fmt: skip
"""Keys of configs for the dropout of hidden states and of attention weights."""


def dropout_of(config: Config) -> float | None:
    """The dropout probability of all layers; None where the config has none, or several that differ."""
    found = {float(getattr(config, key)) for key in _keys_of(config)}
    return found.pop() if len(found) == 1 else None


def set_dropout(config: Config, probability: float, name: str) -> None:
    """Sets the dropout of hidden states and of attention weights.

    Args:
        config: config that a model will be made from.
        probability: dropout probability.
        name: name of the model, for the error.

    Raises:
        RecipeError: models of this type have no dropout.
    """
    keys = _keys_of(config)
    if not keys:
        raise RecipeError(
            f"train.dropout is {probability}, and `{name}` has no dropout: its type, `{config.model_type}`, has "
            "no such key in its config.",
            remedy="Leave `train.dropout` at `auto`; `train.neftune_noise_alpha` and `train.weight_decay` work "
            "for every model.",
        )
    for key in keys:
        setattr(config, key, probability)


def _keys_of(config: Config) -> list[str]:
    return [key for key in _KEYS if isinstance(getattr(config, key, None), int | float)]
