"""How well wrong labels are found, and how often chance is called shift: `python benchmarks/trust_labels.py`.

Labels of real training rows are flipped: by chance, or to the label that a cross-validated probe ranks first
among the others, as people confuse them. Then the order of `checks/label_errors.py` is compared with cleanlab's
default pipeline (scikit-learn's logistic regression in five folds, label quality by self-confidence) on the same
features. Real sets are also split by chance, many times, and tested for shift. About half an hour on one core.
Features are computed once and kept in `--features`. Writes `benchmarks/trust-labels.md` and
`benchmarks/results/trust-labels-DATE.json`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from tunesmith.checks._probing import held_out_logits, items_of
from tunesmith.checks._suspects import suspects
from tunesmith.checks._two_samples import tell_apart
from tunesmith.checks.label_errors import log_softmax
from tunesmith.checks.shift import compare_counts
from tunesmith.encoded import Encoded
from tunesmith.tasks import TASKS

HERE = Path(__file__).parent
SETS = ("banking77", "tweet_emotion", "trec", "sst2")
SHARES = (0.05, 0.1, 0.2)
SEEDS = (0, 1, 2)
KINDS = {"chance": SHARES, "confused": (0.05,)}
TOP = 200
SPLITS = 50
TASK = TASKS.get("text-classification")


def compute_features(name: str, data: Path, folder: Path) -> None:
    """Features and labels of the training rows, by the frozen default model."""
    from tunesmith.acceleration import accelerated
    from tunesmith.acceleration.bf16 import bf16_is_faster
    from tunesmith.cache import cache_folder
    from tunesmith.data.encoding import encode_splits
    from tunesmith.data.preparing import prepare
    from tunesmith.models import heads
    from tunesmith.models.loading import load_for_training
    from tunesmith.models.resolve import resolve_model
    from tunesmith.recipe import Recipe
    from tunesmith.training.probe import take_features

    recipe = Recipe.model_validate({
        "task": TASK.name,
        "model": TASK.suggested_model,
        "data": {"train": [str(data / name / "train.csv")], "bad_rows": "set_aside"},
    })  # fmt: skip
    prepared = prepare(TASK, recipe)
    model = load_for_training(
        resolve_model(recipe.model), TASK, prepared.label_schema, pooling="auto", seed=recipe.seed
    )
    model = accelerated(model, wanted=True)
    encoded = encode_splits(
        TASK,
        {"train": prepared.splits["train"]},
        model.tokenizer,
        prepared.label_schema,
        choose_max_length=lambda longest: min(longest, 512),
        overlap=None,
        cache=cache_folder(),
    ).splits["train"]
    head = heads.find_head(model.model, len(prepared.label_schema["labels"]))
    features = take_features(
        TASK,
        model.model,
        encoded,
        head=head,
        pad_token_id=model.tokenizer.pad_token_id,
        bf16=bf16_is_faster("cpu"),
        location=str,
    )
    (folder / name).mkdir(parents=True, exist_ok=True)
    np.save(folder / name / "train.npy", features)
    np.save(folder / name / "train_labels.npy", encoded.dense["labels"])


def load(name: str, data: Path, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Features [rows, d] and labels [rows] of the training rows."""
    if not (folder / name / "train_labels.npy").is_file():
        compute_features(name, data, folder)
    return np.load(folder / name / "train.npy"), np.load(folder / name / "train_labels.npy").astype(np.int64)


def our_answers(features: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
    """Log-probabilities [rows, k] of the cross-validated probe."""
    n, k = len(labels), int(labels.max()) + 1
    items = items_of(features, Encoded({}, {"labels": labels}, np.arange(n), n))
    folds = np.random.default_rng(seed).permutation(np.arange(n) % 5)
    logits, _ = held_out_logits(TASK, {"labels": [str(i) for i in range(k)]}, items, folds, seed)
    return log_softmax(logits)


def cleanlab_scores(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How little cleanlab's default pipeline trusts each label."""
    from cleanlab.rank import get_label_quality_scores
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict

    probabilities = cross_val_predict(
        LogisticRegression(max_iter=1000), features, labels, cv=5, method="predict_proba"
    )
    return -get_label_quality_scores(labels, probabilities)


def flipped(
    features: np.ndarray, labels: np.ndarray, kind: str, share: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Labels, of which a share is wrong, and which of them."""
    rng = np.random.default_rng(seed)
    n, k = len(labels), int(labels.max()) + 1
    at = rng.choice(n, round(share * n), replace=False)
    given = labels.copy()
    if kind == "chance":
        given[at] = (labels[at] + rng.integers(1, k, len(at))) % k
    else:
        others = our_answers(features, labels, seed + 100)
        others[np.arange(n), labels] = -np.inf
        given[at] = others.argmax(axis=1)[at]
    is_wrong = np.zeros(n, dtype=bool)
    is_wrong[at] = True
    return given, is_wrong


def measure(name: str, features: np.ndarray, labels: np.ndarray, kind: str, share: float, seed: int) -> Any:
    """One cell of the table."""
    from sklearn.metrics import average_precision_score

    given, is_wrong = flipped(features, labels, kind, share, seed)
    began = time.process_time()
    logp = our_answers(features, given, seed)
    found = suspects(logp, given)
    seconds = time.process_time() - began
    theirs = cleanlab_scores(features, given)
    cell = {"set": name, "flips": kind, "share": share, "seed": seed, "wrong": int(is_wrong.sum())}
    for who, scores in (("ours", found.margin), ("cleanlab", theirs)):
        cell[who] = float(average_precision_score(is_wrong, scores))
        cell[f"{who}_top"] = float(is_wrong[np.argsort(-scores, kind="stable")[:TOP]].mean())
    cell |= {
        "estimate": found.share,
        "low": found.low,
        "high": found.high,
        "suspects": len(found.listed),
        "suspects_wrong": float(is_wrong[found.listed].sum() / is_wrong.sum()),
        "cpu_s": seconds,
    }
    return cell


def shift_alarms(name: str, features: np.ndarray, labels: np.ndarray) -> Any:
    """How often rows of one set, split by chance, are called shifted at p <= 0.01."""
    _, first = np.unique(features.round(4), axis=0, return_index=True)  # one row of each text
    texts, by_label, aucs = 0, 0, []
    for seed in range(SPLITS):
        order = np.random.default_rng(seed).permutation(first)
        train, test = order[:1500], order[1500:2250]
        difference = tell_apart(features[train], features[test], seed=1000 + seed)
        texts += difference.p <= 0.01
        aucs.append(difference.auc)
        counts = [{str(k): int(n) for k, n in enumerate(np.bincount(labels[rows]))} for rows in (train, test)]
        by_label += compare_counts(*counts)[0] <= 0.01
    return {
        "set": name,
        "splits": SPLITS,
        "texts": int(texts),
        "labels": int(by_label),
        "auc": float(np.mean(aucs)),
    }


def page(cells: list[Any], alarms: list[Any]) -> str:
    """The page, from the figures alone."""
    return "\n".join([HEAD, *_table(cells), *_means(cells), *_alarm_table(alarms)]) + "\n"


HEAD = """# Wrong labels, found

Made by `python benchmarks/trust_labels.py`. Labels of the training rows of four sets were flipped, with three
seeds: by chance, or (`confused`) to the label that a probe ranks first among the others. With two labels, both are
one.

- `ours`, `cleanlab`: average precision of the order; cleanlab's is that of its default pipeline on the same
  features.
- `top 200`: share of flipped labels among the first 200 rows. The rows also have the errors that they came with,
  which count as false here.
- `estimate`: share of wrong labels as it is reported, with its interval, in the mean over seeds.
- `suspects`: number of rows that the probe contradicts, and the share of all flipped labels that are among them.
- `s`: seconds of one core for the cross-validated probe.
"""


def _table(cells: list[Any]) -> Iterator[str]:
    yield "| set | flips | share | ours | cleanlab | ours, top 200 | cleanlab, top 200 | estimate | suspects | s |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for name, kind, share in dict.fromkeys((c["set"], c["flips"], c["share"]) for c in cells):
        of = [c for c in cells if (c["set"], c["flips"], c["share"]) == (name, kind, share)]

        def mean(key: str, of: list[Any] = of) -> float:
            return statistics.mean(c[key] for c in of)

        estimate = f"{mean('estimate'):.1%} ({mean('low'):.1%} to {mean('high'):.1%})"
        yield (
            f"| {name} | {kind} | {share:.0%} | {mean('ours'):.3f} | {mean('cleanlab'):.3f} "
            f"| {mean('ours_top'):.3f} | {mean('cleanlab_top'):.3f} | {estimate} "
            f"| {mean('suspects'):.0f}, {mean('suspects_wrong'):.0%} | {mean('cpu_s'):.1f} |"
        )


def _means(cells: list[Any]) -> Iterator[str]:
    yield ""
    for kind in KINDS:
        of = [c for c in cells if c["flips"] == kind]
        ours, theirs = (statistics.mean(c[who] for c in of) for who in ("ours", "cleanlab"))
        yield f"Mean average precision, {kind}: ours {ours:.4f}, cleanlab {theirs:.4f} ({len(of)} cells)."
    of = [c for c in cells if c["flips"] == "chance"]
    held = sum(c["low"] <= c["share"] <= c["high"] for c in of)
    yield f"The interval of the estimate holds the share of flipped labels in {held} of {len(of)} cells by chance."


def _alarm_table(alarms: list[Any]) -> Iterator[str]:
    yield from (
        "",
        "# Chance, called shift",
        "",
        f"Each set split by chance {SPLITS} times (1,500 rows and 750), and tested as `shift` does, at p ≤ 0.01.",
        "",
        "| set | alarms by texts | alarms by labels | mean AUC |",
        "|---|---|---|---|",
    )
    for it in alarms:
        n = it["splits"]
        yield f"| {it['set']} | {it['texts']} of {n} | {it['labels']} of {n} | {it['auc']:.3f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data")
    parser.add_argument("--features", type=Path, default=Path.home() / ".cache" / "tunesmith" / "benchmarks")
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    asked = parser.parse_args()
    warnings.filterwarnings("ignore")
    cells, alarms = [], []
    for name in asked.sets:
        features, labels = load(name, asked.data, asked.features)
        alarms.append(shift_alarms(name, features, labels))
        print(alarms[-1], flush=True)
        for kind, shares in KINDS.items():
            for share in shares:
                for seed in SEEDS:
                    cells.append(measure(name, features, labels, kind, share, seed))
                    print(cells[-1], flush=True)
    result = {"date": str(date.today()), "cells": cells, "alarms": alarms}
    (HERE / "results" / f"trust-labels-{date.today()}.json").write_text(json.dumps(result, indent=1) + "\n")
    (HERE / "trust-labels.md").write_text(page(cells, alarms), encoding="utf-8")


if __name__ == "__main__":
    main()
