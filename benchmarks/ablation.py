"""What each trick of `tunesmith.acceleration` is worth today: trainings with all of them, and with each left out.

    python benchmarks/ablation.py [--steps 150] [--rounds 3] [--sets banking77 ag_news] [--only encoder dropout]

Every training is a process of its own. A round begins and ends with one that leaves nothing out, and the others
stand in between, in the other order in every second round, so that a machine that becomes slower or faster favours
none. Writes a dated JSON record into benchmarks/results/ and the page benchmarks/ablation.md.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import sys
import tempfile
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from _child_ablation import EVERYTHING, PROCESS
from _children import measure
from _page import spread

from tunesmith.acceleration import TRICKS
from tunesmith.environment import machine, versions

HERE = Path(__file__).parent
LABELS = {"banking77": "category", "ag_news": "label"}
"""The data sets, each with its column of labels."""
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
BATCH, EPOCHS, TEXTS, FROZEN_LAYERS = 32, 3, 500, 4
LEAST_ROWS = 512
"""So few steps make fewer epochs: below this, labels of banking77 would not repeat."""
MEASURES = {"step_s": "a training step", "run_s": "the whole run", "text_s": "a prediction"}

Record = dict[str, Any]


@dataclass(frozen=True)
class Variant:
    """What is left out.

    Args:
        left_out: its name; nothing for the training that others are compared with.
        frozen: layers that are frozen; only those of the same number are compared.
    """

    left_out: str = ""
    frozen: int = 0


def variants(only: Sequence[str] = ()) -> list[Variant]:
    """Everything that can be left out, or only these; what belongs to frozen layers is tried with some frozen."""
    names = [*TRICKS, *PROCESS, EVERYTHING]
    return [
        Variant(name, FROZEN_LAYERS if name == "frozen_cache" else 0)
        for name in names
        if not only or name in only
    ]


def order(tried: Sequence[Variant], number: int) -> list[Variant]:
    """The trainings of a round: those with nothing left out first and last, the others in turn in between."""
    whole = sorted({Variant(frozen=variant.frozen) for variant in tried}, key=lambda v: v.frozen)
    between = list(tried) if number % 2 == 0 else list(reversed(tried))
    return [*whole, *between, *reversed(whole)]


def ratios(rounds: Sequence[Sequence[Record]]) -> dict[str, dict[str, list[float]]]:
    """By what is left out and measure: times as long as with everything, one number a round.

    Args:
        rounds: records with `left_out`, `frozen` and the measures.
    """
    found: dict[str, dict[str, list[float]]] = {}
    for records in rounds:
        for record in (r for r in records if r["left_out"]):
            whole = [r for r in records if not r["left_out"] and r["frozen"] == record["frozen"]]
            for name in MEASURES:
                usual = sum(r[name] for r in whole) / len(whole)
                found.setdefault(record["left_out"], {}).setdefault(name, []).append(record[name] / usual)
    return found


def page(found: Mapping[str, list[list[Record]]], about: Mapping[str, Any], steps: int) -> str:
    """The page: a table for each data set."""
    where, packages = about["machine"], about["versions"]
    text = [
        "# What each trick is worth\n",
        f"Made by `python benchmarks/ablation.py --steps {steps}`: all-MiniLM-L6-v2, {BATCH} rows a step,",
        f"{EPOCHS} epochs.",
        "Times as long without it: 1.25 means that it saves a fifth. Median of the rounds, lowest and highest.",
        f"`frozen_cache` is measured with {FROZEN_LAYERS} frozen layers; `{EVERYTHING}` is",
        "`train.acceleration: false`.\n",
        f"{where['processor']}, {where['threads']} threads; torch {packages['torch']}, transformers",
        f"{packages['transformers']}; {about['date']}.\n",
    ]
    for name, rounds in found.items():
        text += [f"## {name}\n", f"| without | {' | '.join(MEASURES.values())} |", "|---|---|---|---|"]
        for left_out, measures in ratios(rounds).items():
            text.append(f"| `{left_out}` | {' | '.join(_shown(measures[m]) for m in MEASURES)} |")
        text.append("")
    return "\n".join(text)


def _shown(values: Sequence[float]) -> str:
    found = spread(values)
    return f"**{found['median']:.2f}** ({found['low']:.2f}–{found['high']:.2f})"


def write_rows(source: Path, label: str, target: Path, most: int, labels: Set[str] = frozenset()) -> Set[str]:
    """Some rows of a file, with columns `text` and `label`.

    Args:
        source: the file.
        label: its column of labels.
        target: the file to write.
        most: rows that are drawn.
        labels: only rows with one of these, if there are any.

    Returns:
        The labels that were written.
    """
    with source.open(encoding="utf-8", newline="") as handle:
        rows = [(row["text"], row[label]) for row in csv.DictReader(handle)]
    rows = [row for row in rows if not labels or row[1] in labels]
    rows = random.Random(0).sample(rows, min(most, len(rows)))
    with target.open("w", encoding="utf-8", newline="") as handle:
        csv.writer(handle).writerows([("text", "label"), *rows])
    return {row[1] for row in rows}


def measure_set(
    data: Path, label: str, scratch: Path, tried: Sequence[Variant], steps: int, rounds: int
) -> list[list[Record]]:
    """All rounds on one data set."""
    rows = max(steps * BATCH // EPOCHS, LEAST_ROWS)
    files = {split: scratch / f"{data.name}-{split}.csv" for split in ("train", "test")}
    labels = write_rows(data / "train.csv", label, files["train"], rows)
    write_rows(data / "test.csv", label, files["test"], TEXTS, labels)
    made = []
    for number in range(rounds):
        made.append([])
        for variant in order(tried, number):
            folder = tempfile.mkdtemp(dir=scratch)
            spec = {"model": MODEL, "folder": f"{folder}/run", "steps": steps, "batch": BATCH}
            spec |= {name: str(file) for name, file in files.items()}
            spec |= {"frozen": variant.frozen, "left_out": variant.left_out}
            # A cache of its own: what frozen layers make is computed anew each time.
            result = measure("_child_ablation.py", spec, cache=Path(folder) / "cache")
            made[-1].append({"left_out": variant.left_out, "frozen": variant.frozen, **result})
            print(
                json.dumps({"set": data.name, "round": number, **made[-1][-1]}), file=sys.stderr, flush=True
            )
    return made


def main() -> None:
    """Measures, writes the record and the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data")
    parser.add_argument("--sets", nargs="+", choices=sorted(LABELS), default=list(LABELS))
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", default=[], choices=[*TRICKS, *PROCESS, EVERYTHING])
    parser.add_argument("--output", type=Path, default=HERE, help="folder of the page and of results/")
    asked = parser.parse_args()
    absent = [name for name in asked.sets if not (asked.data / name).is_dir()]
    if absent:
        print(f"skipped: {asked.data / absent[0]} is absent")
        return
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name in asked.sets:
            found[name] = measure_set(
                asked.data / name,
                LABELS[name],
                Path(scratch),
                variants(asked.only),
                asked.steps,
                asked.rounds,
            )
    about = {"date": date.today().isoformat(), "machine": machine(), "versions": versions()}
    results = asked.output / "results"
    results.mkdir(exist_ok=True)
    record = {**about, "steps": asked.steps, "rounds": found}
    (results / f"ablation-{about['date']}.json").write_text(
        json.dumps(record, indent=2) + "\n", encoding="utf-8"
    )
    text = page(found, about, asked.steps)
    (asked.output / "ablation.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
