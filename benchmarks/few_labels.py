"""Few labelled rows: the default recipe beside SetFit and the probe, on the same rows, with the same body.

    pip install --no-deps --target DIR setfit evaluate
    python benchmarks/few_labels.py --setfit DIR [--data DIR] [--sets NAME,…] [--rows 8,16] [--draws 10] [--page]

A draw is some rows of each label from the training file; all methods learn from the same ones, and answer the same
test rows. tunesmith gets the drawn rows as validation rows too, so that none is held out: they choose nothing but
how strongly the head is regularised. SetFit has its own defaults, with `num_iterations=20`. Times are seconds of
the processor, from the texts to the model. Adds to a dated JSON record in benchmarks/results/ and writes the page
benchmarks/few-labels.md. Needs the data sets' folder (`../shared` beside the checkout); nothing of it is kept.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from datetime import date
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from tunesmith.environment import machine

HERE = Path(__file__).parent
RESULTS = HERE / "results"
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
SETS = {
    "sst2": ("text", "label", "validation.csv"),
    "trec": ("text", "label", "test.csv"),
    "tweet_emotion": ("text", "label", "test.csv"),
    "ag_news": ("text", "label", "test.csv"),
    "banking77": ("text", "category", "test.csv"),
}
"""Text column, label column, and file of the test rows."""
TEST_ROWS = 600
METHODS = ("default", "full", "probe", "setfit")

Rows = tuple[list[str], list[str]]


def read(path: Path, text: str, label: str) -> Rows:
    """Texts and labels of a file."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [row[text] for row in rows], [row[label] for row in rows]


def draw(rows: Rows, n: int, seed: int) -> Rows:
    """Some rows of each label."""
    rng, by_label = random.Random(seed), defaultdict(list)
    for text, label in zip(*rows, strict=True):
        by_label[label].append(text)
    drawn = [(text, label) for label in sorted(by_label) for text in rng.sample(by_label[label], n)]
    rng.shuffle(drawn)
    return [text for text, _ in drawn], [label for _, label in drawn]


def by_tunesmith(method: str, train: Rows, test: Rows, folder: Path) -> tuple[float, float]:
    """Accuracy, and seconds of the processor for encoding, probe and training."""
    import pandas as pd

    import tunesmith

    frames = [pd.DataFrame({"text": texts, "label": labels}) for texts, labels in (train, test)]
    run = tunesmith.train(
        frames[0], label="label", validation=frames[0], test=frames[1], task="text-classification", model=MODEL,
        method="auto" if method == "default" else method, output_dir=folder, force=True, progress=False,
        overrides={"data.check": "off", "evaluate.baselines": False},
    )  # fmt: skip
    spent = json.loads((folder / "manifest.json").read_text())["processor_s"]
    seconds = sum(spent.get(stage, 0.0) for stage in ("encode", "probe", "train"))
    return float(run.metrics["primary"]["value"]), seconds


def by_setfit(train: Rows, test: Rows) -> tuple[float, float]:
    """Accuracy, and seconds of the processor from the texts to the model."""
    from datasets import Dataset
    from setfit import SetFitModel, Trainer, TrainingArguments

    from tunesmith.models.resolve import resolve_model

    labels = sorted(set(train[1]))
    model = SetFitModel.from_pretrained(str(resolve_model(MODEL).path))
    data = Dataset.from_dict({"text": train[0], "label": [labels.index(label) for label in train[1]]})
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            num_iterations=20, output_dir=folder, report_to="none", save_strategy="no", logging_strategy="no",
            show_progress_bar=False,
        )  # fmt: skip
        began = time.process_time()
        Trainer(model=model, args=settings, train_dataset=data).train()
        seconds = time.process_time() - began
    answers = model.predict(test[0], show_progress_bar=False)
    right = [labels[int(answer)] == label for answer, label in zip(answers, test[1], strict=True)]
    return mean(right), seconds


def child(spec: dict[str, Any]) -> None:
    """One method on one draw, in a process of its own."""
    text, label, file = SETS[spec["set"]]
    home = Path(spec["data"]) / spec["set"]
    train = draw(read(home / "train.csv", text, label), spec["rows"], spec["draw"])
    texts, labels = read(home / file, text, label)
    chosen = random.Random(0).sample(range(len(texts)), min(TEST_ROWS, len(texts)))
    test = [texts[i] for i in chosen], [labels[i] for i in chosen]
    if spec["method"] == "setfit":
        sys.path.append(spec["setfit"])
        accuracy, seconds = by_setfit(train, test)
    else:
        with tempfile.TemporaryDirectory() as folder:
            accuracy, seconds = by_tunesmith(spec["method"], train, test, Path(folder) / "run")
    print("\n" + json.dumps({"accuracy": accuracy, "seconds": round(seconds, 2)}))


def measured(spec: dict[str, Any]) -> dict[str, Any]:
    """What a child found."""
    command = [sys.executable, __file__, "--child", json.dumps(spec)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def page(records: dict[str, Any]) -> str:
    """The page with a table for each number of rows."""
    lines = [
        "# Few labelled rows", "",
        "Made by `python benchmarks/few_labels.py`, with all-MiniLM-L6-v2. Accuracy on the same test rows (mean",
        "and standard deviation over the draws), and seconds of the processor from the texts to the model.",
        "`default` is the default recipe, which is `contrastive` here; `full` and `probe` are `train.method`.", "",
    ]  # fmt: skip
    for rows in sorted({it["rows"] for it in records.values()}):
        lines += [f"## {rows} rows of each label", "", f"| set | draws | {' | '.join(METHODS)} |"]
        lines += ["|---|---|" + "---|" * len(METHODS)]
        for name in SETS:
            of = {m: _found(records, name, rows, m) for m in METHODS}
            if n := max(map(len, of.values())):
                lines.append(f"| {name} | {n} | {' | '.join(map(_cell, of.values()))} |")
        lines.append("")
    return "\n".join(lines)


def _found(records: dict[str, Any], name: str, rows: int, method: str) -> list[dict[str, Any]]:
    wanted = (name, rows, method)
    return [it for it in records.values() if (it["set"], it["rows"], it["method"]) == wanted]


def _cell(found: list[dict[str, Any]]) -> str:
    if not found:
        return "–"
    values = [it["accuracy"] for it in found]
    spread = f" ± {stdev(values):.3f}" if len(values) > 1 else ""
    return f"{mean(values):.3f}{spread}, {mean(it['seconds'] for it in found):.1f} s"


def main() -> None:
    """Measures what is asked for and is not in the record yet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=str(HERE.parents[1] / "shared" / "data"))
    parser.add_argument("--setfit", default="", help="folder that holds the packages setfit and evaluate")
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--rows", default="8,16")
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--page", action="store_true", help="only write the page")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(json.loads(given.child))
        return
    file = max(RESULTS.glob("few_labels-*.json"), default=RESULTS / f"few_labels-{date.today()}.json")
    records = json.loads(file.read_text())["records"] if file.is_file() else {}
    for rows in [] if given.page else map(int, given.rows.split(",")):
        for name in given.sets.split(","):
            for number in range(given.draws):
                for method in given.methods.split(","):
                    spec = {"set": name, "rows": rows, "draw": number, "method": method}
                    key = " ".join(map(str, spec.values()))
                    if key in records or (method == "setfit" and not given.setfit):
                        continue
                    records[key] = {**spec, **measured({**spec, "data": given.data, "setfit": given.setfit})}
                    print(key, records[key]["accuracy"], records[key]["seconds"], flush=True)
                    file.write_text(json.dumps({"machine": machine(), "records": records}, indent=1) + "\n")
    (HERE / "few-labels.md").write_text(page(records))


if __name__ == "__main__":
    main()
