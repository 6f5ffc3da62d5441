"""Flipped labels in real data, found with the default model; `benchmarks/trust_labels.py` has whole sets."""

import csv

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from tunesmith import pipeline
from tunesmith.recipe import Recipe
from tunesmith.testing.tiny import write_rows

ROWS = 400


def rows_of(path, labels):
    """The first rows of a file; of banking77, those of its first labels."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = {"text": next(it for it in rows[0] if it in ("text", "sentence")),
             "label": next(it for it in rows[0] if it in ("label", "category"))}  # fmt: skip
    found = [{ours: row[theirs] for ours, theirs in names.items()} for row in rows]
    kept = sorted({row["label"] for row in found})[:labels]
    return [row for row in found if row["label"] in kept][:: max(1, 5000 // ROWS) if labels > 10 else 1][
        :ROWS
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "least"), [("banking77", 0.8), ("trec", 0.4), ("tweet_emotion", 0.3), ("sst2", 0.3)]
)
def test_flipped_labels_come_first(name, least, shared, tmp_path):
    """By chance, the average precision would be 0.1."""
    rows = rows_of(shared / "data" / name / "train.csv", labels=8)
    rng = np.random.default_rng(0)
    labels = sorted({row["label"] for row in rows})
    wrong = rng.choice(len(rows), len(rows) // 10, replace=False)
    for row in wrong:
        others = [label for label in labels if label != rows[row]["label"]]
        rows[row] = {**rows[row], "label": str(rng.choice(others))}
    file = write_rows(tmp_path / "train.csv", rows)
    recipe = Recipe.model_validate({
        "task": "text-classification",
        "model": "sentence-transformers/all-MiniLM-L6-v2",
        "data": {"train": [str(file)], "validation": [str(write_rows(tmp_path / "validation.csv", rows[:40]))]},
    })  # fmt: skip
    (finding,) = [it for it in pipeline.check(recipe).findings if it.check == "label_errors"]
    scores = np.full(len(rows), -1.0)
    for found in finding.rows:
        scores[found.row] = found.score
    assert average_precision_score(np.isin(np.arange(len(rows)), wrong), scores) >= least
    share = finding.evidence["estimate"]["share"]
    assert share["low"] <= 0.1 <= share["high"]
