"""Rows picked by `tunesmith label` beside rows drawn at random: how many labels give the same accuracy.

    python benchmarks/labelling.py [--data DIR] [--sets banking77,trec] [--seeds 5] [--page]

What a person would do is simulated: the first rows are picked with the base model alone, then the probe of all
rows that have labels picks the next 50, and so on. Rows drawn at random are the other arm, and their accuracy is
the target. Both arms have the same embeddings (all-MiniLM-L6-v2, computed once), the same probe, and a strength of
its regularisation that is chosen in the same way, by cross-validation on the rows that have labels. The test rows
choose nothing. Adds to a dated JSON record in benchmarks/results/ and writes the page benchmarks/labelling.md.
"""

from __future__ import annotations

import argparse
import csv
import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunesmith.checks._probing import Items, held_out_logits
from tunesmith.environment import machine
from tunesmith.inference.label_choice import Worth, choose
from tunesmith.tasks import TASKS
from tunesmith.training.probe import solver, standardisation

HERE = Path(__file__).parent
RESULTS = HERE / "results"
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
BATCH = 50
AGAIN = 100
"""The strength of the regularisation is chosen anew after so many labels."""
TASK = TASKS.get("text-classification")


@dataclass(frozen=True)
class Plan:
    """What is asked of a set.

    Args:
        text: column of the texts.
        label: column of the labels.
        first: rows that are picked with the base model alone.
        random: number of rows drawn at random whose accuracy is to be reached.
        share: share of them that must be enough.
    """

    text: str
    label: str
    first: int
    random: int
    share: float


PLANS = {
    "banking77": Plan("text", "category", 150, 1500, 0.6),
    "trec": Plan("text", "label", 50, 600, 0.85),
}


@dataclass(frozen=True)
class Texts:
    """Embeddings and labels of a set.

    Args:
        pool: [rows, d], embeddings of the training rows, each text once.
        labels: [rows], numbers of their labels.
        test: [test rows, d].
        test_labels: [test rows].
        names: names of the labels.
    """

    pool: NDArray[np.float32]
    labels: NDArray[np.int64]
    test: NDArray[np.float32]
    test_labels: NDArray[np.int64]
    names: list[str]


def texts_of(data: Path, name: str, cache: Path) -> Texts:
    """The embeddings of a set, from the cache if they are there."""
    import tunesmith

    plan = PLANS[name]
    parts = {}
    for split in ("train", "test"):
        with (data / name / f"{split}.csv").open(encoding="utf-8", newline="") as file:
            rows = list({row[plan.text]: row for row in csv.DictReader(file)}.values())
        stored = cache / f"{name}-{split}.npy"
        if not stored.is_file():
            cache.mkdir(parents=True, exist_ok=True)
            np.save(stored, tunesmith.embed(MODEL, [row[plan.text] for row in rows]))
        parts[split] = np.load(stored), [row[plan.label] for row in rows]
    names = sorted(set(parts["train"][1]))
    numbers = {split: np.array([names.index(it) for it in labels]) for split, (_, labels) in parts.items()}
    return Texts(parts["train"][0], numbers["train"], parts["test"][0], numbers["test"], names)


class Learner:
    """The probe of the rows that have labels.

    Args:
        texts: embeddings and labels.
        seed: random seed.
    """

    def __init__(self, texts: Texts, seed: int) -> None:
        self.texts, self.seed = texts, seed
        mean, deviation = standardisation(texts.pool)
        self.pool, self.test = (
            ((vectors - mean) / deviation).astype(np.float32) for vectors in (texts.pool, texts.test)
        )
        self.schema = {"labels": texts.names}
        self.strength, self.chosen_at = 0.0, -AGAIN

    def fit(self, rows: NDArray[np.int64], *, anew: bool = False) -> None:
        """Fits the head on rows with labels."""
        labels = self.texts.labels[rows]
        if anew or len(rows) >= self.chosen_at + AGAIN:
            items = Items(np.arange(len(rows)), self.pool[rows], labels)
            folds = np.random.default_rng(self.seed).permutation(len(rows)) % 5
            _, self.strength = held_out_logits(TASK, self.schema, items, folds, self.seed)
            self.chosen_at = len(rows)
        self.weight, self.bias = solver(TASK, self.schema, self.pool[rows], labels)(self.strength)

    def logits(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits [rows, k] of standardised vectors."""
        return (vectors @ self.weight.T + self.bias).astype(np.float32)

    def accuracy(self) -> float:
        """The accuracy on the test rows."""
        return float((self.logits(self.test).argmax(axis=1) == self.texts.test_labels).mean())


def at_random(texts: Texts, n: int, seed: int) -> float:
    """The accuracy with rows drawn at random."""
    learner = Learner(texts, seed)
    learner.fit(np.random.default_rng([seed, 1]).choice(len(texts.pool), n, replace=False))
    return learner.accuracy()


def picked(texts: Texts, plan: Plan, seed: int) -> list[tuple[int, float]]:
    """Numbers of labels and accuracies, as rows are picked."""
    learner, most = Learner(texts, seed), round(plan.share * plan.random)
    # A pool of its own for each seed: rows come in another order, and a tenth of them is not there.
    left = np.random.default_rng([seed, 2]).permutation(len(texts.pool))[: int(0.9 * len(texts.pool))]
    first = choose(Worth(texts.pool[left]), plan.first, seed)
    rows, left = left[first], np.delete(left, first)
    curve = []
    while True:
        learner.fit(rows, anew=len(rows) >= most)
        curve.append((len(rows), learner.accuracy()))
        if len(rows) >= most:
            return curve
        logits = learner.logits(learner.pool[left])
        worth = Worth(texts.pool[left], TASK.uncertainty.of(logits, learner.schema))
        found = choose(worth, min(BATCH, most - len(rows)), seed)
        rows, left = np.concatenate([rows, left[found]]), np.delete(left, found)


def measure(texts: Texts, name: str, seed: int) -> dict[str, Any]:
    """Both arms with one seed."""
    plan = PLANS[name]
    return {
        "set": name,
        "seed": seed,
        "random": {"labels": plan.random, "accuracy": at_random(texts, plan.random, seed)},
        "random_as_many": at_random(texts, round(plan.share * plan.random), seed),
        "picked": picked(texts, plan, seed),
    }


def page(records: dict[str, Any]) -> str:
    """The page with the table."""
    lines = [
        "# Rows worth labelling",
        "",
        "Made by `python benchmarks/labelling.py`, with the probe on all-MiniLM-L6-v2: accuracy on the test rows,",
        "mean over the seeds. `tunesmith label` picks the first rows with the base model alone, then 50 at a time",
        "with the probe of those that have labels. `reached with` is the least number of picked labels from which",
        "on the accuracy (mean over the seeds) is that of the random rows.",
        "",
        "| set | seeds | random rows | accuracy | picked rows | accuracy | as many random rows | reached with |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in PLANS:
        found = [it for it in records.values() if it["set"] == name]
        if found:
            lines.append(_row(name, found))
    lines += ["", "## As labels come in", "", "| set | labels picked | accuracy |", "|---|---|---|"]
    for name in PLANS:
        found = [it for it in records.values() if it["set"] == name]
        for n, accuracy in _curve(found) if found else ():
            lines.append(f"| {name} | {n:,} | {accuracy:.3f} |")
    return "\n".join([*lines, ""])


def _curve(found: list[dict[str, Any]]) -> list[tuple[int, float]]:
    values = np.array([[value for _, value in it["picked"]] for it in found]).mean(axis=0)
    return [(n, float(value)) for (n, _), value in zip(found[0]["picked"], values, strict=True)]


def _row(name: str, found: list[dict[str, Any]]) -> str:
    target = float(np.mean([it["random"]["accuracy"] for it in found]))
    as_many = float(np.mean([it["random_as_many"] for it in found]))
    curve, n_random = _curve(found), found[0]["random"]["labels"]
    below = [n for n, value in curve if value < target]
    reached = next((n for n, _ in curve if not below or n > max(below)), None)
    shown = "not" if reached is None else f"{reached:,} ({reached / n_random:.2f})"
    n, accuracy = curve[-1]
    cells = (
        name,
        len(found),
        f"{n_random:,}",
        f"{target:.3f}",
        f"{n:,}",
        f"{accuracy:.3f}",
        f"{as_many:.3f}",
        shown,
    )
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    """Measures what is asked for and is not in the record yet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=str(HERE.parents[1] / "shared" / "data"))
    parser.add_argument("--cache", default=str(HERE / ".labelling"), help="folder for the embeddings")
    parser.add_argument("--sets", default=",".join(PLANS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--page", action="store_true", help="only write the page")
    given = parser.parse_args()
    file = max(RESULTS.glob("labelling-*.json"), default=RESULTS / f"labelling-{date.today()}.json")
    records = json.loads(file.read_text())["records"] if file.is_file() else {}
    for name in [] if given.page else given.sets.split(","):
        texts = texts_of(Path(given.data), name, Path(given.cache))
        for seed in range(given.seeds):
            if (key := f"{name} {seed}") not in records:
                records[key] = measure(texts, name, seed)
                print(key, records[key]["random"], records[key]["picked"][-1], flush=True)
                file.write_text(json.dumps({"machine": machine(), "records": records}, indent=1) + "\n")
    (HERE / "labelling.md").write_text(page(records))


if __name__ == "__main__":
    main()
