"""How far scores are probabilities, before and after calibration: `python benchmarks/trust_calibration.py`.

Trains the default recipe on each set, or reads finished runs of it from `--runs DIR` (`DIR/banking77`, …). A run
of an earlier version is calibrated by resuming a copy of it after its last step. Writes
`benchmarks/trust-calibration.md` and `benchmarks/results/trust-calibration-DATE.json`.
"""

from __future__ import annotations

import argparse
import json
import shutil
from datetime import date
from pathlib import Path
from typing import Any

from tunesmith import pipeline
from tunesmith.recipe import Recipe
from tunesmith.run import Run, write_json

HERE = Path(__file__).parent
DATA = HERE.parents[1] / "shared" / "data"
SETS = {
    "banking77": {"train": "train.csv", "test": "test.csv"},
    "tweet_emotion": {"train": "train.csv", "validation": "validation.csv", "test": "test.csv"},
    "trec": {"train": "train.csv", "test": "test.csv"},
    "sst2": {"train": "train.csv", "validation": "validation.csv", "test": "test.csv"},
}
Record = dict[str, Any]

HEAD = """# Calibration

Made by `python benchmarks/trust_calibration.py`. Default recipe, the embedded model; test rows. Scores are
calibrated on the validation rows ([how](../docs/trust.md#calibration)).

`ECE`: the expected calibration error, debiased, with its 95 % interval. `plain`: the same without debiasing, as
other tools show it. `chance`: 95 of 100 perfectly calibrated models would show a smaller ECE on these rows.
`validation`: rows that it is fitted on. Percent, but for the log loss.

The method is chosen by log loss on validation rows, and the log loss falls on all four sets. A calibration holds
for rows like the validation rows: those of trec, held out of its training file, are harder than its test rows
(94.1 % and 96.7 % right), so the scores are too low on the test rows, and the ECE grows.

"""
COLUMNS = (
    "data", "validation", "method", "accuracy", "ECE before", "ECE after", "chance", "plain before", "plain after",
    "chance", "log loss before", "after",
)  # fmt: skip
TABLE = f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|\n"


def main() -> None:
    """Every set, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, help="folder of finished runs, by the names of the sets")
    parser.add_argument("--work", type=Path, default=Path("runs/trust-calibration"))
    parser.add_argument("--only", nargs="*", choices=list(SETS), default=list(SETS))
    arguments = parser.parse_args()
    file = HERE / "results" / f"trust-calibration-{date.today()}.json"
    records = {one["data"]: one for one in json.loads(file.read_text())} if file.is_file() else {}
    for name in arguments.only:
        records[name] = record_of(name, run_of(name, arguments.runs, arguments.work))
        found = [records[one] for one in SETS if one in records]
        file.write_text(json.dumps(found, indent=1) + "\n")
        (HERE / "trust-calibration.md").write_text(HEAD + TABLE + "".join(map(line_of, found)))


def run_of(name: str, runs: Path | None, work: Path) -> Run:
    """A finished run of this version."""
    if runs is None or not (runs / name).is_dir():
        sources = {split: [str(DATA / name / file)] for split, file in SETS[name].items()}
        return pipeline.train(Recipe.model_validate({"data": sources, "output_dir": str(work / name)}))
    run = Run.open(runs / name)
    return run if "calibration" in run.metrics else resumed(run, work / name)


def resumed(run: Run, folder: Path) -> Run:
    """A copy of a run of an earlier version that begins again after its last step."""
    left_out = shutil.ignore_patterns("model", "predictions", "metrics.json", "report.html", ".lock")
    copy = Run(shutil.copytree(run.path, folder, ignore=left_out))
    manifest = copy.manifest()
    write_json(copy.manifest_file, {**manifest, "finished": False})
    requested = Recipe.model_validate(manifest["requested"])
    return pipeline.train(requested.model_copy(update={"output_dir": str(folder)}))


def record_of(name: str, run: Run) -> Record:
    """What the page shows of a run."""
    metrics, found = run.metrics, run.metrics["calibration"]
    kept = ("ece", "ece_plug_in", "log_loss", "brier", "mean_score", "right")
    return {
        "data": name,
        "validation_rows": run.manifest()["data"]["rows"]["validation"],
        "accuracy": metrics["primary"]["value"],
        "n": found["n"],
        "fitted": found["fitted"],
        **{when: {key: found[when][key] for key in kept} for when in ("before", "after")},
    }


def line_of(record: Record) -> str:
    """A line of the table."""
    fitted, before, after = (record[key] for key in ("fitted", "before", "after"))
    method = f"temperature {fitted['temperature']:.2f}" if "temperature" in fitted else fitted["method"]
    plain = [
        before["ece_plug_in"]["value"],
        after["ece_plug_in"]["value"],
        after["ece_plug_in"]["noise_floor"],
    ]
    cells = [
        record["data"],
        f"{record['validation_rows']:,}",
        method,
        f"{100 * record['accuracy']:.1f}",
        _interval(before["ece"]),
        f"**{_interval(after['ece'])}**",
        f"{100 * after['ece']['noise_floor']:.1f}",
        *(f"{100 * value:.1f}" for value in plain),
        f"{before['log_loss']['value']:.3f}",
        f"{after['log_loss']['value']:.3f}",
    ]
    return f"| {' | '.join(cells)} |\n"


def _interval(ece: Record) -> str:
    return f"{100 * ece['value']:.1f} [{100 * ece['low']:.1f}, {100 * ece['high']:.1f}]"


if __name__ == "__main__":
    main()
