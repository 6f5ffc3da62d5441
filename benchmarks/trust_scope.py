"""Texts out of scope, on snips without one intent: `python benchmarks/trust_scope.py DATA SCRATCH`.

Each intent in turn is left out; a model is trained on 1,000 rows of the other six, and the intent's test rows
are out of scope. Several scores are compared by the area under the ROC curve, on features of the fine-tuned
model and of the frozen one. Writes `benchmarks/trust-scope.md` and `benchmarks/results/trust-scope-DATE.json`.
About ten minutes on two cores; SCRATCH keeps the features, so that a second start only computes the scores.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import shutil
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_auc_score

from tunesmith.inference.scope import Scope

HERE = Path(__file__).parent
TRAIN_ROWS, VALIDATION_ROWS, EPOCHS = 1000, 400, 3
PARTS = ("train", "validation", "test", "out")

Score = Callable[[np.ndarray], np.ndarray]


def train(
    data: Path, scratch: Path, out: str, rows: list[dict[str, Any]], test: list[dict[str, Any]]
) -> None:
    """Trains without an intent, and saves the features of all parts."""
    from tunesmith import pipeline
    from tunesmith.inference.predictor import Predictor
    from tunesmith.recipe import Recipe

    folder = scratch / out
    folder.mkdir(parents=True, exist_ok=True)
    known = [row for row in rows if row["intent"] != out]
    parts = {
        "train": known[:TRAIN_ROWS],
        "validation": known[TRAIN_ROWS : TRAIN_ROWS + VALIDATION_ROWS],
        "test": [row for row in test if row["intent"] != out],
        "out": [row for row in test if row["intent"] == out],
    }
    for name, some in parts.items():
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as handle:
            writer = csv.writer(handle)
            writer.writerow(("text", "label"))
            writer.writerows((row["text"], row["intent"]) for row in some)
    recipe = Recipe.model_validate({
        "output_dir": str(folder / "run"),
        "data": {name: [str(folder / f"{name}.csv")] for name in PARTS[:3]},
        "train": {"num_train_epochs": EPOCHS},
        "evaluate": {"baselines": False},
    })  # fmt: skip
    run = pipeline.train(recipe, force=True)
    predictor = Predictor.from_run(run.path)
    for name, some in parts.items():
        np.save(folder / f"{name}.npy", predictor.embed([row["text"] for row in some]))
        np.save(folder / f"{name}_labels.npy", np.array([row["intent"] for row in some]))
    shutil.rmtree(run.checkpoints)


def add_frozen(folder: Path) -> None:
    """Saves the features of the frozen model."""
    from tunesmith.inference.embedding import open_embedder

    if (folder / "out_frozen.npy").is_file():
        return
    frozen = open_embedder("sentence-transformers/all-MiniLM-L6-v2")
    for name in PARTS:
        with (folder / f"{name}.csv").open(newline="", encoding="utf-8") as handle:
            texts = [row["text"] for row in csv.DictReader(handle)]
        np.save(folder / f"{name}_frozen.npy", frozen(texts))


def scores_of(train: np.ndarray, labels: np.ndarray, validation: np.ndarray) -> dict[str, Score]:
    """The scores that are compared, by name."""
    scope = Scope.fit(train, validation)
    assert scope is not None
    classes = np.unique(labels)
    means = np.stack([train[labels == label].mean(0) for label in classes])
    shared = LedoitWolf(assume_centered=True).fit(train - means[np.searchsorted(classes, labels)])
    whole = LedoitWolf().fit(train)
    centred = train - whole.location_
    _, directions = np.linalg.eigh(centred.T @ centred)

    def mahalanobis(x: np.ndarray) -> np.ndarray:
        return np.min([np.einsum("ij,jk,ik->i", x - m, shared.precision_, x - m) for m in means], axis=0)

    def residual(x: np.ndarray) -> np.ndarray:
        outside = (x - whole.location_) @ directions[:, :-50]
        return np.linalg.norm(outside, axis=1) / np.linalg.norm(x - whole.location_, axis=1)

    def nearest(k: int) -> Score:
        unit = _unit(centred)
        return lambda x: -np.partition(_unit(x - whole.location_) @ unit.T, -k, axis=1)[:, -k]

    return {
        "ours": scope.scores,
        "Mahalanobis, with classes": mahalanobis,
        "Mahalanobis, without classes": whole.mahalanobis,
        "residual of 50 directions": residual,
        "nearest training text": nearest(1),
        "tenth training text": nearest(10),
    }


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def measure(folder: Path, kind: str) -> dict[str, Any]:
    """The area under the ROC curve of each score, and what our threshold calls out of scope."""
    parts = {name: np.load(folder / f"{name}{kind}.npy").astype(np.float64) for name in PARTS}
    labels = np.load(folder / "train_labels.npy")
    truth = np.repeat([0, 1], [len(parts["test"]), len(parts["out"])])
    both = np.concatenate([parts["test"], parts["out"]])
    scores = scores_of(parts["train"], labels, parts["validation"])
    found: dict[str, Any] = {
        "auroc": {name: float(roc_auc_score(truth, score(both))) for name, score in scores.items()}
    }
    scope = Scope.fit(parts["train"], parts["validation"])
    assert scope is not None
    found["called_out"] = {name: float((scope.scores(parts[name]) > 1).mean()) for name in ("test", "out")}
    return found


def page(found: dict[str, Any]) -> Iterator[str]:
    tuned, frozen = found["fine-tuned"], found["frozen"]
    names = list(next(iter(tuned.values()))["auroc"])
    yield f"""# Texts out of scope

`python benchmarks/trust_scope.py DATA SCRATCH` writes this page. snips has seven intents. Each in turn is left
out of training ({TRAIN_ROWS:,} rows of the other six, {EPOCHS} epochs, the default model). Its test rows are out
of scope, the other test rows are in scope. The figures are areas under the ROC curve: 1 is a perfect separation,
0.5 is chance. Ours needs no classes. The residual (Wang et al. 2022) is relative to the distance from the mean,
and the distances to training texts (Sun et al. 2022) are cosines.
"""
    yield f"| intent left out | {' | '.join(names)} | ours, frozen model |"
    yield "|---|" + "--:|" * (len(names) + 1)
    rows = [
        (intent, [row["auroc"][name] for name in names], frozen[intent]["auroc"][names[0]])
        for intent, row in tuned.items()
    ]
    means = np.mean([[*scores, other] for _, scores, other in rows], axis=0)
    for intent, scores, other in [*rows, ("mean", means[:-1], means[-1])]:
        yield f"| {intent} | {' | '.join(f'{value:.3f}' for value in [*scores, other])} |"
    yield """
The threshold calls 1 % of the validation texts out of scope:

| intent left out | called out of scope, of the rows in scope | called out of scope, of the intent's rows |
|---|--:|--:|"""
    for intent, row in tuned.items():
        yield f"| {intent} | {100 * row['called_out']['test']:.1f} % | {100 * row['called_out']['out']:.1f} % |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("scratch", type=Path)
    asked = parser.parse_args()
    rows, test = (
        [json.loads(line) for line in (asked.data / f"{name}.jsonl").open()] for name in ("train", "test")
    )
    random.Random(0).shuffle(rows)
    intents = sorted({row["intent"] for row in rows})
    for out in intents:
        if not (asked.scratch / out / "out_labels.npy").is_file():
            train(asked.scratch, out, rows, test)
        add_frozen(asked.scratch / out)
    found = {
        name: {out: measure(asked.scratch / out, kind) for out in intents}
        for name, kind in (("fine-tuned", ""), ("frozen", "_frozen"))
    }
    (HERE / "results" / f"trust-scope-{date.today()}.json").write_text(json.dumps(found, indent=1) + "\n")
    (HERE / "trust-scope.md").write_text("\n".join(page(found)) + "\n")


if __name__ == "__main__":
    main()
