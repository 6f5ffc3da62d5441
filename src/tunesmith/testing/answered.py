"""Rows with answers, made without a model: what the tests of analyses read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tunesmith.data.examples import Examples
from tunesmith.encoded import Encoded, Ragged
from tunesmith.evaluation.analyses import Answered
from tunesmith.evaluation.scoring import Scored
from tunesmith.recipe import EvaluateRecipe
from tunesmith.run import Run
from tunesmith.tasks import TASKS, EvalPredictions

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STEMS = (
    "amber", "bolt", "chain", "dial", "edge", "flute", "glass", "hinge", "iron", "jar", "knob", "lamp", "mirror",
    "nail", "oak", "pipe", "quilt", "rope", "screw", "tile", "urn", "valve", "wheel", "yarn", "zinc",
)  # fmt: skip
# So many that each is in fewer rows than a word of grammar.
_WORDS = tuple(stem + ending for stem in _STEMS for ending in ("", "s", "less", "like"))


def random_texts(n: int, rng: np.random.Generator) -> list[str]:
    """Texts of three to thirty words."""
    return [" ".join(rng.choice(_WORDS, size=length)) for length in rng.integers(3, 30, size=n)]


def random_rows(n: int, rng: np.random.Generator, *, right: float) -> Scored:
    """Texts with one of three labels at random; each is answered right with the same probability."""
    return classified(random_texts(n, rng), rng.integers(3, size=n), rng.random(n) < right)


def classified(
    texts: Sequence[str],
    labels: Sequence[int] | NDArray[np.int64],
    is_right: NDArray[np.bool_],
    *,
    names: Sequence[str] = ("a", "b", "c"),
    margins: float | NDArray[np.float64] = 4.0,
    extra: Mapping[str, Sequence[Any]] | None = None,
    group_by: str | None = None,
    file: str = "test.csv",
) -> Scored:
    """Rows of text-classification, answered right or with the next label.

    Args:
        texts: [rows].
        labels: [rows], number of the true label.
        is_right: [rows], whether the answer is right.
        names: names of the labels.
        margins: logit of the answer; that of the other labels is 0.
        extra: columns besides those of the task.
        group_by: column of `extra` whose values are groups of rows.
        file: name of the file.
    """
    known, n = np.asarray(labels, dtype=np.int64), len(texts)
    answers = np.where(is_right, known, (known + 1) % len(names))
    outputs = (
        np.asarray(margins, dtype=np.float32).reshape(-1, 1) * np.eye(len(names), dtype=np.float32)[answers]
    )
    columns: dict[str, Any] = {"text": list(texts), "label": [names[i] for i in known]}
    tokens = Ragged(np.zeros(n, dtype=np.int32), np.arange(n + 1))
    encoded = Encoded({"input_ids": tokens}, {"labels": known}, np.arange(n), n)
    examples = Examples(columns, (file,), np.zeros(n, dtype=np.int32), np.arange(2, n + 2), dict(extra or {}))
    evaluated = EvalPredictions(columns, encoded, outputs)
    return Scored(TASKS.get("text-classification"), {"labels": list(names)}, examples, evaluated, group_by)


def answered(final: Scored, *, seed: int = 0, run: Run | None = None, **known: Any) -> Answered:
    """What an analysis reads of some rows; `known` are other fields of `Answered`."""
    how = EvaluateRecipe(bootstrap_samples=100)
    return Answered(final, how, seed, Run("unused") if run is None else run, **known)
