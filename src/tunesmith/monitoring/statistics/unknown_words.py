"""The share of a text's words that fewer than five training texts had: new products, typing errors, names."""

from __future__ import annotations

from collections import Counter

import numpy as np

from tunesmith.checks._words import tokens_of
from tunesmith.monitoring.statistics import Compared, Measured, Statistic
from tunesmith.types import JsonObject

_SHOWN_WORDS = 10
_FEWEST_TEXTS = 3


def _measure(compared: Compared) -> Measured:
    reference, window = compared.pair("unknown_words")
    value, usual = float(window.mean()), float(reference.mean())
    error = 1.96 * float(window.std()) / np.sqrt(len(window))
    return Measured(
        value,
        f"on average {value:.1%} of a text's words are not in the vocabulary of the training, of the reference "
        f"{usual:.1%}",
        reference=usual,
        low=max(value - error, 0.0),
        high=min(value + error, 1.0),
        p=compared.test_numbers("unknown_words").p,
    )


def _explain(compared: Compared) -> JsonObject:
    """The new words that most texts of the window have."""
    known, counts = compared.reference.vocabulary.shares, Counter[str]()
    for text in compared.window.texts:
        counts.update({word for word in tokens_of(text) if word not in known})
    frequent = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:_SHOWN_WORDS]
    return {"new_words": [{"word": word, "texts": n} for word, n in frequent if n >= _FEWEST_TEXTS]}


statistic = Statistic("words that training did not have", "Unknown words", "share", _measure, _explain)
