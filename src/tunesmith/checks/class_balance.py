"""Labels that are too rare to be learned or measured, and one label that most rows have."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from tunesmith.checks import Check, CheckedData, Finding
from tunesmith.checks._targets import has_labels, label_command, labels_of
from tunesmith.evaluation.result import final_split

_FEWEST_TO_LEARN = 8
_FEWEST_TO_MEASURE = 10
_MOST_SHARE = 0.8
_SHOWN = 5


def find(data: CheckedData) -> Iterator[Finding]:
    """What is wrong with the numbers of rows by label; only for tasks with labels."""
    if not has_labels(data):
        return
    names = [label for label in dict.fromkeys(map(_plain, data.label_schema["labels"])) if label]
    split = final_split(data.splits)
    train, final = (Counter(_rows_by_label(data, name)) for name in ("train", split))
    yield from _too_few(data, names, train, "train")
    yield from _too_few(data, names, final, split)
    yield from _majority(data, train)


def _plain(label: str) -> str:
    """A label without the mark of its place in an entity; empty for the label of no entity."""
    return "" if label == "O" else label.removeprefix("B-").removeprefix("I-")


def _rows_by_label(data: CheckedData, split: str) -> Iterator[str]:
    """The labels of each row, each once."""
    yield from (label for _, label in dict.fromkeys(labels_of(data, split)))


def _too_few(data: CheckedData, names: Sequence[str], counts: Counter[str], split: str) -> Iterator[Finding]:
    least, what = (_FEWEST_TO_LEARN, "learned") if split == "train" else (_FEWEST_TO_MEASURE, "measured")
    rare = sorted((counts[name], name) for name in names if counts[name] < least)
    if not rare:
        return
    listed = ", ".join(f"`{name}` ({n:,})" for n, name in rare[:_SHOWN])
    more = f" and {len(rare) - _SHOWN} more" if len(rare) > _SHOWN else ""
    half_width = "" if split == "train" else (
        f"; with {least} rows, a label's recall is known to within ±{0.98 / math.sqrt(least):.0%} at best"
    )  # fmt: skip
    yield Finding(
        "class_balance",
        "warn" if not rare[0][0] or split == "train" else "note",
        f"{len(rare)} of {len(names)} labels have fewer than {least} {split} rows, too few to be {what}: "
        f"{listed}{more}{half_width}",
        _remedy(data, split),
        evidence={
            "split": split,
            "least": least,
            "labels": len(names),
            "rare": {name: n for n, name in rare},
        },
    )


def _remedy(data: CheckedData, split: str) -> str:
    picked = label_command(data) if split == "train" else ""
    return f"Add rows of these labels to {split}, or merge labels that mean nearly the same" + (
        f"; {picked}." if picked else "."
    )


def _majority(data: CheckedData, counts: Counter[str]) -> Iterator[Finding]:
    n_rows = len(data.splits["train"])
    label, n = counts.most_common(1)[0] if counts else ("", 0)
    if n < _MOST_SHARE * n_rows or len(counts) < 2:
        return
    yield Finding(
        "class_balance",
        "note",
        f"{n:,} of {n_rows:,} train rows have the label `{label}`: who always answers it is right on "
        f"{n / n_rows:.0%}",
        "Judge the model by a metric that counts every label (macro F1), or add rows of the other labels.",
        evidence={"split": "train", "label": label, "label_rows": n, "rows": n_rows, "share": n / n_rows},
    )


check = Check("labels that are too rare to be learned or measured, and a label that most rows have", find)
