"""How many errors each fix would remove at most, from counts, so that the largest comes first.

Each number is the most that the fix can bring: a merged label is not confused any more, but its rows may still be
answered with a third one.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tunesmith.evaluation.candidate_slices import labels_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from tunesmith.evaluation.scoring import Scored
    from tunesmith.types import JsonObject

_FEWEST = 2
_MOST = 8


@dataclass(frozen=True)
class Wrong:
    """The wrong rows, for counting.

    Args:
        scored: rows with their answers.
        is_wrong: [rows].
        suspected: [rows], whether a true label is probably wrong.
    """

    scored: Scored
    is_wrong: NDArray[np.bool_]
    suspected: NDArray[np.bool_]


def count_fixes(wrong: Wrong, weak: Sequence[JsonObject], train: Mapping[str, int]) -> list[JsonObject]:
    """The fixes, the largest first, each with `kind`, `text`, `errors` (at most so many vanish) and `evidence`.

    Args:
        wrong: the wrong rows.
        weak: weak slices, as in metrics.json.
        train: number of training rows by label; empty where it is not known.
    """
    found = [*_merged(wrong), *_relabelled(wrong), *_strengthened(wrong, weak), *_more_rows(wrong, train)]
    usable = [fix for fix in found if fix["errors"] >= _FEWEST]
    return sorted(usable, key=lambda fix: -fix["errors"])[:_MOST]


def _pairs(wrong: Wrong) -> Iterator[tuple[str, str]]:
    """The true and the answered label of every wrong row with one label."""
    scored = wrong.scored
    for row in np.flatnonzero(wrong.is_wrong).tolist():
        if isinstance(scored.gold[row], str) and "label" in scored.predictions[row]:
            yield scored.gold[row], str(scored.predictions[row]["label"])


def _merged(wrong: Wrong) -> Iterator[JsonObject]:
    if len(wrong.scored.label_schema.get("labels", ())) < 3:
        return  # of two labels made one, nothing would be left to answer
    counts = Counter(tuple(sorted(pair)) for pair in _pairs(wrong))
    for (one, other), n in counts.most_common(3):
        yield {
            "kind": "merge_labels",
            "labels": [one, other],
            "text": f"make one label of `{one}` and `{other}`, or find a rule that tells them apart",
            "errors": n,
            "evidence": f"{n:,} rows of the one are answered with the other",
        }


def _relabelled(wrong: Wrong) -> Iterator[JsonObject]:
    n = int((wrong.is_wrong & wrong.suspected).sum())
    yield {
        "kind": "suspected_labels",
        "text": "check the rows whose true label is suspected to be wrong",
        "errors": n,
        "evidence": f"in {n:,} wrong rows, the model and the nearest training rows agree on another label",
    }


def _strengthened(wrong: Wrong, weak: Sequence[JsonObject]) -> Iterator[JsonObject]:
    """The weakest slices, were they answered like the other rows; for metrics that are the share of right rows."""
    n_right = (~wrong.is_wrong).mean()
    for entry in weak:
        others = _rest(n_right, len(wrong.is_wrong), entry)
        if others is None:
            continue
        n = int(entry["n"] * (others - entry["value"]) + 0.5)
        yield {
            "kind": "weak_slice",
            "text": f"add training rows like those {entry['name']}",
            "errors": n,
            "evidence": f"of {entry['n']:,} rows {entry['name']}, {100 * entry['value']:.1f} % are right, and "
            f"{100 * others:.1f} % of the others",
        }


def _rest(share_right: float, n: int, entry: JsonObject) -> float | None:
    """The share of right rows outside a slice; None where the slice's metric is not the share of right rows."""
    inside, outside = entry["n"] * entry["value"], (n - entry["n"]) * entry["rest"]
    return entry["rest"] if abs(inside + outside - share_right * n) < 0.5 else None


def _more_rows(wrong: Wrong, train: Mapping[str, int]) -> Iterator[JsonObject]:
    """Labels with less than half of the training rows that labels usually have, by their wrong rows."""
    if not train:
        return
    median = float(np.median(list(train.values())))
    missed = Counter(
        label
        for row in np.flatnonzero(wrong.is_wrong).tolist()
        for label in set(labels_of(wrong.scored.gold[row]))
    )
    rare = [(n, label) for label, n in missed.items() if train.get(label, median) < median / 2]
    for n, label in sorted(rare, key=lambda found: (-found[0], found[1]))[:3]:
        yield {
            "kind": "more_rows",
            "label": label,
            "text": f"add training rows of `{label}`",
            "errors": n,
            "evidence": f"it has {train[label]:,} training rows, and half of the labels have {median:,.0f} or "
            f"more; {n:,} of its rows are wrong",
        }


def training_counts(details: Any) -> dict[str, int]:
    """Number of training rows by label, from `details` of metrics.json; empty where it is not there."""
    table = details.get("per_class", {}) if isinstance(details, dict) else {}
    return dict(zip(table["labels"], table["train"], strict=True)) if "train" in table else {}
