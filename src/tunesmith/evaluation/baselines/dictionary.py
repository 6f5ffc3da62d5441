"""Every word tagged as it was tagged most often in training, the longest known entity first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tunesmith.evaluation.baselines import Baseline, TrainingRows
from tunesmith.tasks import EvalPredictions, Values

if TYPE_CHECKING:
    from tunesmith.types import JsonObject


def _answer(train: TrainingRows, evaluated: EvalPredictions) -> EvalPredictions:
    names = _entity_names(train.columns)
    longest = max((len(name) for name in names), default=0)
    entities = [
        _looked_up(text, words, names, longest)
        for text, words in zip(evaluated.columns["text"], evaluated.columns["words"], strict=True)
    ]
    found = replace(evaluated)
    found.memo["entities"] = [{"entities": row} for row in entities]
    return found


def _entity_names(columns: Values) -> dict[tuple[str, ...], str]:
    """The words of each training entity, and the label it has most often."""
    counts: dict[tuple[str, ...], Counter[str]] = {}
    for text, words, entities in zip(columns["text"], columns["words"], columns["entities"], strict=True):
        for start, end, label in entities:
            name = tuple(text[a:b].casefold() for a, b in words if a < end and b > start)
            counts.setdefault(name, Counter())[label] += 1
    return {name: count.most_common(1)[0][0] for name, count in counts.items() if name}


def _looked_up(
    text: str, words: Sequence[Sequence[int]], names: dict[tuple[str, ...], str], longest: int
) -> list[JsonObject]:
    folded, found, at = [text[a:b].casefold() for a, b in words], [], 0
    while at < len(words):
        sizes = range(min(longest, len(words) - at), 0, -1)
        size = next((n for n in sizes if tuple(folded[at : at + n]) in names), 0)
        if size:
            start, end = words[at][0], words[at + size - 1][1]
            label = names[tuple(folded[at : at + size])]
            found.append(
                {"entity_group": label, "score": 1.0, "word": text[start:end], "start": start, "end": end}
            )
        at += size or 1
    return found


baseline = Baseline(
    "dictionary of the training entities", _answer, short="the dictionary of the training entities"
)
