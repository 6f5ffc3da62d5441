"""How often the search for weak slices reports something where nothing is weak, and how often it finds what is.

Writes `benchmarks/results/trust-slices.json` and `benchmarks/trust-slices.md`. Run it with
`python benchmarks/trust_slices.py`; it takes about ten minutes on one core.

The rows are texts of banking77's test set with their labels, where it is at hand, else random texts; which of them
are answered right is drawn: with one probability for all rows (nothing is weak), or lower in one slice.
"""

from __future__ import annotations

import csv
import json
from datetime import date
from pathlib import Path

import numpy as np
from scipy.stats import beta

from tunesmith.evaluation.analyses import ANALYSES
from tunesmith.testing.answered import answered, classified, random_texts

HERE = Path(__file__).parent
BANKING = HERE.parents[1] / "shared" / "data" / "banking77" / "test.csv"
NULL_RUNS, PLANTED_RUNS = 200, 40


def rows_of(n, rng):
    """Texts with the numbers of their labels, and the names of the labels."""
    if not BANKING.is_file():
        return random_texts(n, rng), rng.integers(3, size=n), ("a", "b", "c")
    with BANKING.open(encoding="utf-8") as file:
        read = list(csv.DictReader(file))
    label = next(name for name in read[0] if name != "text")
    names = sorted({row[label] for row in read})
    chosen = [read[i] for i in rng.choice(len(read), n, replace=False)]
    return [row["text"] for row in chosen], np.array([names.index(row[label]) for row in chosen]), names


def features_of(labels, rng):
    """Vectors that lie near one of 77 centres, as those of a trained head do."""
    centres = np.random.default_rng(0).normal(size=(100, 32))
    return (centres[labels] + rng.normal(size=(len(labels), 32))).astype(np.float32)


def search(texts, labels, names, right, rng, seed):
    final = classified(texts, labels, rng.random(len(texts)) < right, names=names)
    vectors = features_of(labels, rng)
    return ANALYSES.get("weak_slices").find(answered(final, seed=seed, features={"final": vectors}.get))


def nothing_weak(n, accuracy):
    reported, tried = 0, []
    for run in range(NULL_RUNS):
        rng = np.random.default_rng([1, n, run])
        entry = search(*rows_of(n, rng), np.full(n, accuracy), rng, run)
        reported += bool(entry["found"])
        tried.append(entry["tried"])
    low, high = beta.ppf([0.025, 0.975], [max(reported, 1e-9), reported + 1],
                         [NULL_RUNS - reported + 1, max(NULL_RUNS - reported, 1e-9)])  # fmt: skip
    return {
        "rows": n,
        "accuracy": accuracy,
        "runs": NULL_RUNS,
        "slices_tried": int(np.median(tried)),
        "reported": reported,
        "share": reported / NULL_RUNS,
        "low": float(low),
        "high": float(high),
    }


def one_weak(n, share, drop, accuracy=0.93):
    """The longest texts are answered worse; found if a slice by length is among those reported."""
    found, wrong = 0, 0
    for run in range(PLANTED_RUNS):
        rng = np.random.default_rng([2, n, run])
        texts, labels, names = rows_of(n, rng)
        lengths = np.array([len(text.split()) for text in texts])
        weak = lengths > np.quantile(lengths, 1 - share)
        entry = search(texts, labels, names, np.where(weak, accuracy - drop, accuracy), rng, run)
        by_length = [each for each in entry["found"] if each["kind"] == "length"]
        found += bool(by_length)
        wrong += len(entry["found"]) - len(by_length)
    return {
        "rows": n,
        "weak_rows": float(share),
        "accuracy": accuracy,
        "weak_accuracy": accuracy - drop,
        "runs": PLANTED_RUNS,
        "found": found / PLANTED_RUNS,
        "others_reported": wrong / PLANTED_RUNS,
    }


def table(rows, columns):
    head = "| " + " | ".join(columns) + " |\n|" + "---|" * len(columns) + "\n"
    return head + "".join("| " + " | ".join(f(row) for f in columns.values()) + " |\n" for row in rows)


def main():
    null = [nothing_weak(n, accuracy) for n, accuracy in ((500, 0.93), (2000, 0.93), (2000, 0.7))]
    planted = [one_weak(n, share, drop) for n, share, drop in
               ((2000, 0.1, 0.1), (2000, 0.1, 0.2), (2000, 0.25, 0.1), (500, 0.1, 0.3))]  # fmt: skip
    result = {"date": date.today().isoformat(), "nothing_weak": null, "one_weak": planted}
    (HERE / "results" / "trust-slices.json").write_text(json.dumps(result, indent=2) + "\n")
    write_page(result)


def write_page(result):
    null, planted = result["nothing_weak"], result["one_weak"]
    reported, runs = (sum(row[key] for row in null) for key in ("reported", "runs"))
    percent = "{:.1f} %".format
    page = "# The search for weak slices\n\n" + (
        "How often `weak_slices` reports something where nothing is weak, and how often it finds what is.\n"
        f"Measured on {result['date']} with `python benchmarks/trust_slices.py`, on texts and labels of\n"
        "banking77; which rows are answered right is drawn.\n\n## Nothing is weak\n\n"
    )
    page += table(null, {
        "rows": lambda r: f"{r['rows']:,}", "accuracy": lambda r: percent(100 * r["accuracy"]),
        "slices tried": lambda r: str(r["slices_tried"]), "searches": lambda r: str(r["runs"]),
        "that report any": lambda r: percent(100 * r["share"]),
        "95 % interval": lambda r: f"{percent(100 * r['low'])} to {percent(100 * r['high'])}",
    })  # fmt: skip
    page += (
        f"\nTogether {reported} of {runs} searches, {percent(100 * reported / runs)}; 5 % are promised. The\n"
        "promise is exact for slices that do not depend on the answers, and nearly so for slices by answer.\n\n"
        "## Long texts are weak\n\n"
    )
    page += table(planted, {
        "rows": lambda r: f"{r['rows']:,}", "weak rows": lambda r: percent(100 * r["weak_rows"]),
        "accuracy": lambda r: percent(100 * r["accuracy"]),
        "of the weak rows": lambda r: percent(100 * r["weak_accuracy"]),
        "found": lambda r: percent(100 * r["found"]),
        "other slices a search": lambda r: f"{r['others_reported']:.2f}",
    })  # fmt: skip
    (HERE / "trust-slices.md").write_text(page)


if __name__ == "__main__":
    main()
