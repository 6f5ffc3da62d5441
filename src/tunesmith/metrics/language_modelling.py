"""How well a model predicts text: loss, perplexity, bits per byte, accuracy of the next token.

Perplexity depends on the tokenizer. Bits per byte does not, so it can be compared across tokenizers (Gao et al.
2020, "The Pile", section 3.1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tunesmith.metrics import SHARE, Metric, Scores, Share, Shares, Statistics, selected

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tunesmith.types import Array

metrics = (
    Metric(
        "loss",
        "minimize",
        "nats",
        "loss",
        "how unlikely the model finds what is true, in nats per token or pair",
    ),
    Metric(
        "perplexity",
        "minimize",
        "tokens",
        "perplexity",
        "between how many equally likely tokens the model hesitates",
    ),
    Metric(
        "bits_per_byte",
        "minimize",
        "bits per byte",
        "bits per byte",
        "bits that the model needs for a byte of text; comparable across tokenizers",
    ),
    Metric("accuracy", "maximize", SHARE, "accuracy", "the share of answers that are right"),
)

_LARGEST_EXPONENT = 700.0
"""exp() of more than 709 is infinite."""


def statistics(
    nll: Array,
    tokens: Array,
    n_bytes: Array | None = None,
    correct: Array | None = None,
) -> Statistics:
    """Per example: the likelihood, and the counts by which it is divided.

    Args:
        nll: [examples], negative log likelihood in nats, summed over the scored tokens; finite.
        tokens: [examples], scored tokens.
        n_bytes: [examples], UTF-8 bytes of the scored text.
        correct: [examples], scored tokens that were the model's first choice.

    Returns:
        Dense [examples, 4]: nll, tokens, bytes, correct; zeros for arguments that are not given.
    """
    columns = [nll, tokens, n_bytes, correct]
    zeros = np.zeros(len(nll))
    return np.stack([zeros if c is None else np.asarray(c, np.float64) for c in columns], axis=1)


def formula(sums: NDArray[np.float64], *, with_bytes: bool = False, with_accuracy: bool = False) -> Scores:
    """Loss in nats per token, perplexity, and optionally bits per byte and accuracy, from sums [..., 4].

    If no token was scored, all are 0.0, except the perplexity, which is exp(0) = 1. A perplexity above e^700 is
    given as e^700.
    """
    nll, tokens, n_bytes, correct = np.moveaxis(sums, -1, 0)
    loss = nll / np.maximum(tokens, 1.0)
    scores = {"loss": loss, "perplexity": np.exp(np.minimum(loss, _LARGEST_EXPONENT))}
    if with_bytes:
        scores["bits_per_byte"] = np.where(n_bytes > 0, nll / np.log(2) / np.maximum(n_bytes, 1.0), 0.0)
    if with_accuracy:
        scores["accuracy"] = correct / np.maximum(tokens, 1.0)
    return scores


def shares() -> Shares:
    """Accuracy as a share of the scored tokens, for statistics of 4 columns."""
    return {"accuracy": Share(of=selected(4, [1]), right=selected(4, [3]))}
