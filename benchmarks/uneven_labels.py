"""Rare labels: what `evaluate.decision` chooses, gains and costs, beside a loss that weighs them.

    python benchmarks/uneven_labels.py [--data DIR] [--method full] [--steps 100] [--seeds 2] [--page]

Two sets with all-MiniLM-L6-v2: tweet_emotion as it is (a label has 9 % of the rows), and tweet_hate with `hate`
thinned to one row in ten, in all splits. Each is trained with `evaluate.decision: auto` by the default loss and,
unless it is by a probe, with `train.class_weights: balanced`. What offsets would gain where they were refused is
not measured on test rows. Adds to a JSON record in benchmarks/results/, without texts, and writes the page
benchmarks/uneven-labels.md. Needs the data sets' folder (`../shared` beside the checkout).
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import tempfile
from datetime import date
from itertools import product
from pathlib import Path
from typing import Any

from tunesmith.environment import machine

HERE = Path(__file__).parent
RESULTS = HERE / "results"
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
SETS: dict[str, dict[str, float]] = {"tweet_emotion": {}, "tweet_hate": {"hate": 0.1}}
"""The shares of rows of a label that stay; all of the others."""
LOSSES = ("none", "balanced")
METRICS = ("f1_macro", "accuracy")
MOST_ROWS = {"train": 3000, "validation": 1000, "test": 3000}


def rows_of(path: Path, kept: dict[str, float], n: int) -> list[dict[str, str]]:
    """Some rows of a split, drawn by chance, with labels thinned."""
    draw = random.Random(0)
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["text"].strip()]
    draw.shuffle(rows)
    return [row for row in rows if draw.random() < kept.get(row["label"], 1.0)][:n]


def measured(data: Path, name: str, method: str, loss: str, seed: int, steps: int) -> dict[str, Any]:
    """The scores of one training, and what the offsets changed of them."""
    import tunesmith

    splits = {split: rows_of(data / name / f"{split}.csv", SETS[name], n) for split, n in MOST_ROWS.items()}
    with tempfile.TemporaryDirectory() as folder:
        run = tunesmith.train(
            splits["train"], validation=splits["validation"], test=splits["test"], model=MODEL,
            output_dir=str(Path(folder) / "run"), progress=False,
            overrides={
                "seed": seed, "train.method": method, "data.check": "off", "evaluate.baselines": False,
                **(_of_loop(loss, steps) if method != "probe" else {}),
            },
        )  # fmt: skip
        found, manifest = run.metrics, json.loads((run.path / "manifest.json").read_text(encoding="utf-8"))
    scores = found["splits"]["test"]
    return {
        "rows": {split: len(rows) for split, rows in splits.items()},
        "fitted": manifest["decision"],
        "test": {metric: scores[metric] for metric in METRICS},
        "gain": found.get("decision", {}).get("gain"),
    }


def _of_loop(loss: str, steps: int) -> dict[str, Any]:
    return {"train.max_steps": steps, "train.eval_steps": steps, "train.class_weights": loss}


def _signed(of: dict[str, float] | None) -> str:
    if of is None:
        return "–"
    return f"{100 * of['difference']:+.1f} ({100 * of['low']:.1f} to {100 * of['high']:.1f})"


def page(record: dict[str, Any]) -> str:
    """The page with the table."""
    heads = (
        "set", "method", "loss", "seed", "chosen", "macro F1, by cross-validation", "macro F1 on test",
        "accuracy on test", "macro F1", "accuracy",
    )  # fmt: skip
    lines = [
        "# Rare labels", "",
        "Made by `python benchmarks/uneven_labels.py`: all-MiniLM-L6-v2, by a probe, or in full for",
        f"{record['steps']} steps. The gain by cross-validation is what `evaluate.decision: auto` decides",
        "by; that on the test rows is what came of it. In points, with 95 % intervals. Of what was",
        "refused, nothing is known on the test rows.", "",
        f"| {' | '.join(heads)} |", "|---" * len(heads) + "|",
    ]  # fmt: skip
    for found in record["records"].values():
        fitted, gain, test = found["fitted"], found["gain"] or {}, found["test"]
        tried = fitted.get("tried", {})
        way = fitted["method"] if fitted["method"] != "none" else max(
            tried, key=lambda name: tried[name]["f1_macro"]["difference"], default=""
        )  # fmt: skip
        cells = [
            *(found[name] for name in ("set", "method", "loss", "seed")), fitted["method"],
            _signed(tried[way]["f1_macro"] if way else None), *(_signed(gain.get(name)) for name in METRICS),
            *(f"{test[name]['value']:.3f}" for name in METRICS),
        ]  # fmt: skip
        lines.append(f"| {' | '.join(map(str, cells))} |")
    first = {found["set"]: found for found in record["records"].values()}
    lines += ["", *(
        f"- {name}: the rarest label is `{found['fitted']['rarest']['label']}` with "
        f"{found['fitted']['rarest']['rows']:,} of {found['rows']['train']:,} training rows; "
        f"{found['rows']['validation']:,} validation and {found['rows']['test']:,} test rows."
        for name, found in first.items()
    )]  # fmt: skip
    return "\n".join([*lines, ""])


def main() -> None:
    """Measures what is not in the record yet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=str(HERE.parents[1] / "shared" / "data"))
    parser.add_argument("--method", choices=("full", "probe"), default="full")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--page", action="store_true", help="only write the page")
    given = parser.parse_args()
    file = max(RESULTS.glob("uneven_labels-*.json"), default=RESULTS / f"uneven_labels-{date.today()}.json")
    record = json.loads(file.read_text()) if file.is_file() else {"steps": given.steps, "records": {}}
    if record["steps"] != given.steps and not given.page:
        parser.error(f"{file} is of {record['steps']} steps: give these, or move it away")
    losses = LOSSES if given.method == "full" else LOSSES[:1]
    wanted = product(range(0 if given.page else given.seeds), SETS, losses)
    for seed, name, loss in wanted:
        if (key := f"{name}, {given.method}, {loss}, seed {seed}") not in record["records"]:
            found = measured(Path(given.data), name, given.method, loss, seed, given.steps)
            known = {"set": name, "method": given.method, "loss": loss, "seed": seed}
            record["records"][key] = {**known, **found}
            print(key, found["fitted"]["method"], found["test"], flush=True)
            file.write_text(json.dumps({"machine": machine(), **record}, indent=1) + "\n")
    (HERE / "uneven-labels.md").write_text(page(record))


if __name__ == "__main__":
    main()
