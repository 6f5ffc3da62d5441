"""What the model writes, beside what the base model writes for the same rows."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from tunesmith.evaluation.analyses import Analysis, Answered
from tunesmith.evaluation.intervals import Method, intervals
from tunesmith.metrics import writing
from tunesmith.tasks import Generation, Task, displays

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tunesmith.evaluation.scoring import Scored
    from tunesmith.types import JsonObject

_SHOWN = 8
"""Rows whose texts stand side by side in metrics.json."""


def _find(answered: Answered) -> JsonObject | None:
    """The entry of metrics.json; None where no texts were written.

    `model` and `base_model` have every measure with its interval; `texts` the first rows side by side. The base
    model is left out where its texts are not at hand (in `evaluate`, and without baselines).
    """
    final = answered.final
    generation, texts, ended = final.task.generation, final.evaluated.texts, final.evaluated.ended
    if generation is None or not texts or ended is None:
        return None
    base = answered.base_texts()
    expected = _expected(final, generation, len(texts))
    found: JsonObject = {"n": len(texts), "model": _measures(answered, texts, ended, expected)}
    if base is not None:
        found["base_model"] = _measures(answered, *base, expected)
    return {**found, "texts": _side_by_side(final, texts, base[0] if base is not None else ())}


def _expected(final: Scored, generation: Generation, n: int) -> list[writing.Expected]:
    """What the texts of the first n rows are compared with: the references, where the metrics read these."""
    if not generation.scores_texts:
        return generation.expected({name: values[:n] for name, values in final.examples.columns.items()})
    return [writing.Expected(tuple(gold) if isinstance(gold, list) else (gold,)) for gold in final.gold[:n]]


def _measures(
    answered: Answered, texts: Sequence[str], ended: Sequence[bool], expected: Sequence[writing.Expected]
) -> JsonObject:
    statistics, groups = writing.statistics(texts, ended, expected), answered.final.groups
    how = answered.how
    known = writing.measurable(statistics.sum(axis=0))
    found = intervals(
        statistics,
        lambda sums: {name: value for name, value in writing.formula(sums).items() if name in known},
        {name: share for name, share in writing.shares().items() if name in known},
        Method(how.bootstrap_samples, how.confidence, answered.seed),
        groups=None if groups is None else groups[: len(texts)],
    )
    return {name: found[name].to_json() for name in known}


def _side_by_side(final: Scored, texts: Sequence[str], base: Sequence[str]) -> list[JsonObject]:
    """The first rows: the name of the row, what was read, the reference, and what the two models write."""
    return [
        {
            "row": line["row"],
            "read": _read(final.task, line),
            "reference": line["gold"][0] if isinstance(line["gold"], list) else line["gold"],
            "model": texts[row],
            **({"base_model": base[row]} if row < len(base) else {}),
        }
        for row, line in enumerate(itertools.islice(final.lines(), min(_SHOWN, len(texts))))
    ]


def prompts_of(final: Scored, n: int) -> list[str]:
    """What the first n rows read, as the report shows it."""
    return [_read(final.task, line) for line in itertools.islice(final.lines(), n)]


def _read(task: Task, line: JsonObject) -> str:
    """The prompt of a row as the report shows it."""
    display = task.display or displays.PLAIN
    return "".join(text for text, _, _ in display.cells(line, task.shown)[0])


analysis = Analysis("what the model writes, and what the base model writes", _find)
