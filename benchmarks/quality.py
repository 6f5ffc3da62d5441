"""Quality of the default recipe on public data sets: data and columns, no other option.

    python benchmarks/quality.py [--data DIR] [--only NAME ...]

Writes a dated JSON record into benchmarks/results/ and the table benchmarks/quality.md. Needs the data sets'
folder (`../shared/data` beside the checkout, or `--data`); nothing of them is kept.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

from tunesmith.environment import machine, versions

HERE = Path(__file__).parent
# Name, column of the label where it is not called `label`, published or aimed-at accuracy.
SETS = {
    "banking77": ({"label": "category"}, 0.93),
    "tweet_emotion": ({}, 0.79),
    "sst2": ({}, 0.885),
    "trec": ({"label": "label"}, 0.95),
}


_HEAD = """# Quality of the default recipe

Made by `python benchmarks/quality.py`: data and columns given, every other value a default, the embedded
model (all-MiniLM-L6-v2, 22.7 M parameters), seed 42. Accuracy on the test rows with its 95 % interval,
baselines on the same rows. `train` is the loop alone (for `probe`: features and fit), `all` everything to the
report, start of the process included, from a cold cache of encodings.
"""


def run_one(name: str, data: Path, method: str, folder: Path) -> dict:
    """One training in a process of its own, from a cold cache; everything it reports, and its wall time."""
    columns, target = SETS[name]
    run = folder / f"{name}-{method}"
    command = [sys.executable, "-m", "tunesmith", "train", "--json", "--data", str(data / name)]
    command += ["--output-dir", str(run), f"train.method={method}"]
    for ours, theirs in columns.items():
        command += ["--column", f"{ours}={theirs}"]
    environment = {**os.environ, "TUNESMITH_CACHE": str(folder / f"cache-{name}-{method}")}
    began = time.perf_counter()
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    total_s = time.perf_counter() - began
    metrics = json.loads(done.stdout)
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    return {
        "data": name,
        "method": method,
        "target": target,
        "rows": manifest["data"]["rows"],
        "primary": metrics["primary"],
        "f1_macro": metrics["splits"][metrics["primary"]["split"]]["f1_macro"],
        "baselines": {key: scores["accuracy"] for key, scores in metrics["baselines"].items()},
        "train_s": metrics["train"]["seconds"],
        "total_s": round(total_s, 1),
        "stages_s": manifest["stages_s"],
        "history": metrics["train"]["history"],
    }


def table(records: list[dict], facts: dict) -> str:
    """The page, from the records."""
    lines = [
        _HEAD,
        f"{facts['machine']['processor']}, {facts['machine']['cores']} cores; "
        f"torch {facts['versions']['torch']}, transformers {facts['versions']['transformers']}; "
        f"{facts['date']}.",
        "",
        "| data | method | accuracy | interval | macro F1 | majority | TF-IDF | probe | train | all |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in records:
        p, b = r["primary"], r["baselines"]
        lines.append(
            f"| {r['data']} | {r['method']} | **{p['value']:.4f}** | {p['low']:.3f} to {p['high']:.3f} "
            f"| {r['f1_macro']['value']:.4f} | {b['majority']:.3f} | {b['tfidf_logistic_regression']:.3f} "
            f"| {b['probe']:.3f} | {r['train_s']:.0f} s | {r['total_s']:.0f} s |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Runs every set, writes record and table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data")
    parser.add_argument("--only", nargs="*", default=list(SETS))
    arguments = parser.parse_args()
    if not arguments.data.is_dir():
        print(f"skipped: the data sets' folder {arguments.data} is absent")
        sys.exit(0)
    jobs = [(name, "full") for name in arguments.only]
    if "banking77" in arguments.only:
        jobs.append(("banking77", "probe"))
    with tempfile.TemporaryDirectory() as folder:
        records = [run_one(name, arguments.data, method, Path(folder)) for name, method in jobs]
    facts = {"date": date.today().isoformat(), "machine": machine(), "versions": versions()}
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    record = json.dumps({**facts, "records": records}, indent=2) + "\n"
    (results / f"quality-{facts['date']}.json").write_text(record, encoding="utf-8")
    (HERE / "quality.md").write_text(table(records, facts), encoding="utf-8")
    print(table(records, facts))


if __name__ == "__main__":
    main()
