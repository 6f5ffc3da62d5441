"""The first stage of a cascade: logistic regression on TF-IDF of words and pairs of words, without scikit-learn.

The folder holds `cascade.json` (labels, words, and of which weights it is), and `cascade.safetensors`: the model,
and how both stages answered the validation rows, from which a threshold follows for any promise. Answers take some
ten microseconds a word.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tunesmith import segmentation
from tunesmith.errors import RunError
from tunesmith.run import read_json, write_atomically, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from tunesmith.types import JsonObject

FACTS_FILE, _TENSORS_FILE = "cascade.json", "cascade.safetensors"
_MODEL = ("idf", "weights", "bias")


@dataclass(frozen=True)
class FirstStage:
    """A linear model on TF-IDF.

    Args:
        words: words and pairs of words, in the order of the features.
        idf: [features], inverse document frequencies.
        weights: [features, labels].
        bias: [labels].
    """

    words: Sequence[str]
    idf: NDArray[np.float32]
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words)}

    def logits(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """[texts, labels], whose softmax is the probabilities of the labels."""
        return np.stack([self._of_text(text) for text in texts])

    def _of_text(self, text: str) -> NDArray[np.float32]:
        words = segmentation.words(text.lower())
        terms = Counter([*words, *map(" ".join, itertools.pairwise(words))])
        numbers = self._numbers
        found = {numbers[term]: n for term, n in terms.items() if term in numbers}
        if not found:
            return self.bias
        rows = np.fromiter(found, dtype=np.int64)
        counts = np.array([1.0 + math.log(n) for n in found.values()], dtype=np.float32)
        values = counts * self.idf[rows]
        values /= np.sqrt(values @ values)
        return np.asarray(values @ self.weights[rows] + self.bias, dtype=np.float32)

    def save(self, folder: Path, facts: JsonObject, validation: Mapping[str, NDArray[np.generic]]) -> None:
        """Writes the folder.

        Args:
            folder: folder to write to.
            facts: what `cascade.json` says besides the words.
            validation: how both stages answered the validation rows.
        """
        from safetensors.numpy import save

        folder.mkdir(parents=True, exist_ok=True)
        tensors = {name: np.ascontiguousarray(getattr(self, name)) for name in _MODEL}
        write_atomically(folder / _TENSORS_FILE, save({**tensors, **validation}))
        write_json(folder / FACTS_FILE, {**facts, "words": list(self.words)})


def read_first_stage(folder: Path) -> tuple[FirstStage, JsonObject, dict[str, NDArray[np.float32]]]:
    """The model, the facts, and how the validation rows were answered.

    Raises:
        RunError: a file is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    facts = read_json(folder / FACTS_FILE)
    try:
        tensors = load_file(folder / _TENSORS_FILE)
        model = FirstStage(facts.pop("words"), *(tensors.pop(name) for name in _MODEL))
    except (OSError, SafetensorError, KeyError) as error:
        raise RunError(
            f"the first stage in `{folder}` cannot be read: {error}",
            remedy="Remove the folder; `tunesmith serve --cascade` makes it again where the training data are.",
        ) from None
    return model, facts, tensors
