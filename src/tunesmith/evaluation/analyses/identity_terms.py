"""Whether answers depend on the group of people that a text is about: words for one group in another's place.

For each list in `evaluate.identity_terms`, the rows that count which hold a word of it are answered again
with the words of every other group, and so are templates. An answer that changes is a flip. The texts of one
row are not independent, so the interval of the flips is that of rows. How well the rows that mention each
group are answered is reported, too, as for `evaluate.groups`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tunesmith.evaluation.analyses import Analysis, Answered
from tunesmith.evaluation.analyses.groups import of_sets
from tunesmith.evaluation.candidate_slices import labels_of
from tunesmith.evaluation.identity import Terms, load_terms, templates
from tunesmith.evaluation.intervals import Method, intervals
from tunesmith.metrics import Share, percent, selected

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tunesmith.metrics import Scores
    from tunesmith.tasks import Prediction
    from tunesmith.types import JsonObject

MOST_TEXTS = 500
_MOST_EXAMPLES = 10
_MOST_LABELS = 10


@dataclass(frozen=True)
class Exchange:
    """A text, and the same text about another group.

    Args:
        source: number of the text.
        before: the text.
        after: the text about the other group.
        one: group that the text is about.
        other: the other group.
    """

    source: int
    before: JsonObject
    after: JsonObject
    one: str
    other: str


def _find(answered: Answered) -> JsonObject | None:
    """The entry of metrics.json, by list; None where no list is named, or rows have no answer as a whole.

    Each has `texts` and `templates`, with the number of `texts`, of `exchanges`, the share of `flips` with its
    interval, `shift` (the mean and the largest absolute change of the answer's score), `towards` (the mean change
    of each label's probability by the group that was put in), and `examples`; and `mentions`, see the analysis
    `groups`.
    """
    asked, answer = answered.how.identity_terms, answered.answer
    text = answered.final.task.text_column
    if not asked or answer is None or not text or answered.final.task.outputs_per_token:
        return None
    found: JsonObject = {}
    for name in asked:
        terms = load_terms(name)
        found[terms.name] = {
            "texts": _measured(answered, _of_rows(answered, terms, text)),
            "templates": _measured(answered, _of_templates(answered, terms, text)),
            "mentions": _mentions(answered, terms, text),
        }
        found[terms.name]["text"] = _text(terms.name, found[terms.name])
    return found


def _of_rows(answered: Answered, terms: Terms, text: str) -> list[Exchange]:
    """The exchanges in the rows that count; of many rows, some drawn by the seed."""
    examples = answered.final.examples
    order = np.random.default_rng([answered.seed, len(examples)]).permutation(len(examples))
    found: list[Exchange] = []
    n_texts = 0
    for row in order.tolist():
        inputs = {name: examples.columns[name][row] for name in examples.inputs}
        changed = list(terms.exchanged(str(inputs[text])))
        found += [Exchange(row, inputs, {**inputs, text: new}, one, other) for one, other, new in changed]
        n_texts += bool(changed)
        if n_texts == MOST_TEXTS:
            break
    return found


def _of_templates(answered: Answered, terms: Terms, text: str) -> list[Exchange]:
    """Templates about the first group, and about each other; only where a text alone is answered."""
    if set(answered.final.examples.inputs) != {text}:
        return []
    found = []
    for number, template in enumerate(templates()):
        filled = terms.filled(template)
        one, *others = filled
        found += [
            Exchange(number, {text: filled[one]}, {text: filled[other]}, one, other) for other in others
        ]
    return found


def _measured(answered: Answered, exchanges: Sequence[Exchange]) -> JsonObject:
    if not exchanges:
        return {"texts": 0, "exchanges": 0}
    assert answered.answer is not None
    before, after = (
        answered.answer([getattr(each, side) for each in exchanges]) for side in ("before", "after")
    )
    labels = list(answered.final.label_schema.get("labels", ()))
    changes = [_change(*pair, labels) for pair in zip(before, after, strict=True)]
    shifts = np.array([shift for _, shift in changes])
    found: JsonObject = {
        "texts": len({each.source for each in exchanges}),
        "exchanges": len(exchanges),
        "shift": {"mean": float(np.abs(shifts).mean()), "largest": float(np.abs(shifts).max())},
        "examples": _examples(exchanges, before, after, changes),
    }
    if labels:
        flips = np.array([flip for flip, _ in changes])
        found["flips"] = _share(answered, flips, np.array([each.source for each in exchanges]))
    return found | ({"towards": _towards(exchanges, before, after, labels)} if labels else {})


def _change(before: Prediction, after: Prediction, labels: Sequence[str]) -> tuple[bool, float]:
    """Whether the answer changes, and by how much the score of the first one does."""
    if not labels:
        return False, float(after["score"]) - float(before["score"])
    given = labels_of(before)
    place = labels.index(given[0]) if given else int(np.argmax(before["scores"]))
    shift = float(after["scores"][place]) - float(before["scores"][place])
    return set(given) != set(labels_of(after)), shift


def _share(answered: Answered, flips: NDArray[np.bool_], sources: NDArray[np.int64]) -> JsonObject:
    """The share of exchanges that change the answer; those of one text together."""
    statistics = np.stack([np.ones(len(flips)), flips], axis=1).astype(np.float64)

    def formula(sums: NDArray[np.float64]) -> Scores:
        return {"flips": sums[..., 1] / sums[..., 0]}

    how = answered.how
    method = Method(how.bootstrap_samples, how.confidence, answered.seed)
    shares = {"flips": Share(of=selected(2, [0]), right=selected(2, [1]))}
    return intervals(statistics, formula, shares, method, groups=sources)["flips"].to_json()


def _towards(
    exchanges: Sequence[Exchange],
    before: Sequence[Prediction],
    after: Sequence[Prediction],
    labels: Sequence[str],
) -> JsonObject:
    """The mean change of each label's probability, by the group that was put in."""
    if len(labels) > _MOST_LABELS:
        return {}
    moved: dict[str, list[NDArray[np.float64]]] = defaultdict(list)
    for each, one, other in zip(exchanges, before, after, strict=True):
        moved[each.other].append(
            np.asarray(other["scores"], np.float64) - np.asarray(one["scores"], np.float64)
        )
    return {
        group: dict(zip(labels, np.mean(changes, axis=0).tolist(), strict=True)) | {"n": len(changes)}
        for group, changes in moved.items()
    }


def _examples(
    exchanges: Sequence[Exchange],
    before: Sequence[Prediction],
    after: Sequence[Prediction],
    changes: Sequence[tuple[bool, float]],
) -> list[JsonObject]:
    """The exchanges that change most: flips first, one of each text."""
    order = sorted(range(len(changes)), key=lambda i: (not changes[i][0], -abs(changes[i][1])))
    shown: dict[int, JsonObject] = {}
    for i in order:
        each = exchanges[i]
        if each.source not in shown and len(shown) < _MOST_EXAMPLES:
            shown[each.source] = {
                "before": " ".join(map(str, each.before.values())),
                "after": " ".join(map(str, each.after.values())),
                "groups": [each.one, each.other],
                "answers": [_shown(before[i]), _shown(after[i])],
                "flip": changes[i][0],
                "shift": changes[i][1],
            }
    return list(shown.values())


def _shown(prediction: Mapping[str, Any]) -> str:
    """An answer for people."""
    if "label" in prediction and "scores" not in prediction:
        return f"{float(prediction['score']):.3g}"
    return ", ".join(labels_of(dict(prediction))) or "none"


def _mentions(answered: Answered, terms: Terms, text: str) -> JsonObject | None:
    """How well the rows are answered that mention each group; None where fewer than two groups are mentioned."""
    texts = answered.final.examples.columns[text]
    counts: list[Counter[str]] = [terms.mentions(str(value)) for value in texts]
    sets = {group: np.array([group in count for count in counts]) for group in terms.groups}
    known = {group: rows for group, rows in sets.items() if rows.any()}
    return of_sets(answered, known) if len(known) > 1 else None


def _text(name: str, found: JsonObject) -> str:
    parts = []
    for key, what in (("texts", "texts"), ("templates", "templates")):
        entry = found[key]
        if "flips" in entry:
            flips = entry["flips"]
            parts.append(
                f"{percent(flips['value'])} ({percent(flips['low'])} to {percent(flips['high'])}) of the "
                f"exchanges in {entry['texts']:,} {what} change the answer"
            )
        elif entry["exchanges"]:
            parts.append(
                f"exchanges in {entry['texts']:,} {what} change the score by {entry['shift']['mean']:.3f}"
            )
    return f"words of {name}: {'; '.join(parts)}" if parts else f"words of {name}: no text has any"


analysis = Analysis("whether answers depend on the group of people that a text is about", _find)
