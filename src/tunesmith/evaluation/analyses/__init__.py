"""What is found out about a model besides its scores.

A file in this folder is an analysis; its name is the key in metrics.json. Each reads the answers of a finished
model, in `train` and in `evaluate` alike, and gives a JSON object. It gives None where it says nothing about this
task or these rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tunesmith.registry import Registry

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tunesmith.data.sentence_pairs import SentencePair
    from tunesmith.evaluation.neighbours import TrainingVectors
    from tunesmith.evaluation.previous import Previous
    from tunesmith.evaluation.scoring import Scored
    from tunesmith.inference.harm import Harm
    from tunesmith.recipe import EvaluateRecipe
    from tunesmith.run import Run
    from tunesmith.tasks import Prediction
    from tunesmith.types import JsonObject


def _nothing(split: str) -> None:
    return None


def _no_vectors() -> None:
    return None


def _no_texts() -> None:
    return None


@dataclass(frozen=True)
class Answered:
    """What analyses read.

    Args:
        final: rows that count, as the model answers them.
        how: the recipe's `evaluate`.
        seed: random seed for resampling.
        run: run folder, whose files earlier phases wrote.
        scored: from `train` or `validation` to its rows as the model answers them; None where they are not at hand
            (in `evaluate` on other data). Of many training rows, a sample.
        features: from `train`, `validation` or `final` to the inputs of the head [rows, d], of the same rows; None
            where a row has no vector of its own.
        metrics: what the scores, earlier phases and earlier analyses put into metrics.json.
        training: gives training rows with the inputs of the head, for neighbours; None where they are not at hand.
        base_texts: gives what the base model writes for the rows, of which the first have texts, and whether each
            text ended by itself; None where it is not at hand.
        general_text: gives nats and bytes of the paragraphs of a general text [paragraphs, 2], before and after
            the training; None where they are not at hand.
        training_texts: gives the texts of all training rows; None where they are not at hand, or the model does
            not write.
        harm: gives what the models before and after the training give away and refuse; None for one that does not
            write.
        previous: gives rows of the previous task, before and after; None where the base model is no run.
        pair_likelihoods: gives the scores [pairs, 2] of pairs of sentences; None where the model is not a language
            model, or not at hand.
        answer: gives the model's answers to other rows, each as the task reads it; None where the model is not at
            hand.
    """

    final: Scored
    how: EvaluateRecipe
    seed: int
    run: Run
    scored: Callable[[str], Scored | None] = _nothing
    features: Callable[[str], NDArray[np.float32] | None] = _nothing
    metrics: Mapping[str, object] = field(default_factory=dict)
    training: Callable[[], TrainingVectors | None] = _no_vectors
    base_texts: Callable[[], tuple[Sequence[str], Sequence[bool]] | None] = _no_texts
    general_text: Callable[[], tuple[NDArray[np.float64], NDArray[np.float64]] | None] = _no_texts
    training_texts: Callable[[], Iterable[str] | None] = _no_texts
    harm: Callable[[], Harm | None] = _no_texts
    previous: Callable[[], Previous | None] = _no_texts
    pair_likelihoods: Callable[[Sequence[SentencePair]], NDArray[np.float64]] | None = None
    answer: Callable[[list[JsonObject]], list[Prediction]] | None = None


@dataclass(frozen=True)
class Analysis:
    """One analysis.

    Args:
        summary: what it finds out, in a few words without a full stop.
        find: its entry of metrics.json; None for none.
        after: analyses whose entries it reads in `metrics`.
    """

    summary: str
    find: Callable[[Answered], JsonObject | None]
    after: tuple[str, ...] = ()


ANALYSES: Registry[Analysis] = Registry("tunesmith.evaluation.analyses", "analysis", Analysis, hyphens=False)


def analyse(answered: Answered) -> JsonObject:
    """The entries of metrics.json that the analyses give, by name."""
    found: JsonObject = {}
    for name in sorted(ANALYSES.names(), key=lambda name: (len(ANALYSES.get(name).after), name)):
        known = replace(answered, metrics={**answered.metrics, **found})
        if (entry := ANALYSES.get(name).find(known)) is not None:
            found[name] = entry
    return found
