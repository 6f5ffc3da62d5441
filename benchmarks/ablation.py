"""What each trick of `tunesmith.acceleration` gains today: trainings with all of them, and with each left out.

    python benchmarks/ablation.py [--steps 150] [--rounds 3] [--sets banking77 ag_news] [--only encoder dropout]
    python benchmarks/ablation.py --from RECORD [RECORD …]      the page again, from records of one machine

Every training is a process of its own. A round begins and ends with one that leaves nothing out. The others come
in between, in reverse order in every second round, so that a machine that becomes slower or faster favours none.
Writes a dated JSON record into benchmarks/results/ and the page benchmarks/ablation.md.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import random
import sys
import tempfile
from collections.abc import Sequence, Set
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from _ablation_page import BATCH, EPOCHS, FROZEN_LAYERS, Record, difference, page
from _child_ablation import EVERYTHING, PROCESS
from _children import measure

from tunesmith.acceleration import TRICKS
from tunesmith.environment import machine, versions

HERE = Path(__file__).parent
LABELS = {"banking77": "category", "ag_news": "label"}
"""The data sets, each with its column of labels."""
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
TEXTS = 500
LEAST_ROWS = 512
"""With fewer rows, labels of banking77 would not repeat; a short measurement has fewer epochs instead."""


@dataclass(frozen=True)
class Variant:
    """One training of a round.

    Args:
        left_out: name of the trick that it leaves out; empty for the training that others are compared with.
        frozen: number of frozen layers; only trainings with the same number are compared.
    """

    left_out: str = ""
    frozen: int = 0


def variants(only: Sequence[str] = ()) -> list[Variant]:
    """A training for each trick, or only for these; the trick for frozen layers is tried with frozen layers."""
    names = [*TRICKS, *PROCESS, EVERYTHING]
    return [
        Variant(name, FROZEN_LAYERS if name == "frozen_cache" else 0)
        for name in names
        if not only or name in only
    ]


def order(tried: Sequence[Variant], number: int) -> list[Variant]:
    """The trainings of a round: those that leave nothing out first and last, the others in between."""
    whole = sorted({Variant(frozen=variant.frozen) for variant in tried}, key=lambda v: v.frozen)
    between = list(tried) if number % 2 == 0 else list(reversed(tried))
    return [*whole, *between, *reversed(whole)]


def write_rows(source: Path, label: str, target: Path, most: int, labels: Set[str] = frozenset()) -> Set[str]:
    """Some rows of a file, with columns `text` and `label`.

    Args:
        source: the file.
        label: column of labels in the file.
        target: file to write.
        most: number of rows to draw.
        labels: if there are any, only rows with one of these labels are drawn.

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
            # A cache of its own, so that the frozen layers are computed anew each time.
            result = measure("_child_ablation.py", spec, cache=Path(folder) / "cache")
            made[-1].append({"left_out": variant.left_out, "frozen": variant.frozen, **result})
            print(
                json.dumps({"set": data.name, "round": number, **made[-1][-1]}), file=sys.stderr, flush=True
            )
    return made


def measure_all(asked: argparse.Namespace) -> Record:
    """Measures all rounds on all data sets."""
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name in asked.sets:
            tried = variants(asked.only)
            found[name] = measure_set(
                asked.data / name, LABELS[name], Path(scratch), tried, asked.steps, asked.rounds
            )
    about = {"date": date.today().isoformat(), "machine": machine(), "versions": versions()}
    return {**about, "steps": asked.steps, "rounds": found}


def write_record(record: Record, folder: Path) -> Path:
    """Writes a record under a name with its date; one of the same day stays."""
    folder.mkdir(exist_ok=True)
    names = (f"ablation-{record['date']}{f'-{n}' if n > 1 else ''}.json" for n in itertools.count(1))
    path = next(folder / name for name in names if not (folder / name).exists())
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return path


def write_page(records: Sequence[Record], folder: Path) -> None:
    """Writes and prints the page.

    Raises:
        SystemExit: the records are of different machines, versions or numbers of steps.
    """
    differs = difference(records)
    if differs:
        raise SystemExit(f"the records differ in their {differs}: their rounds cannot be put together")
    text = page(records)
    (folder / "ablation.md").write_text(text, encoding="utf-8")
    print(text)


def main() -> None:
    """Measures, or reads records; writes the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data")
    parser.add_argument("--sets", nargs="+", choices=sorted(LABELS), default=list(LABELS))
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", default=[], choices=[*TRICKS, *PROCESS, EVERYTHING])
    parser.add_argument("--from", nargs="+", type=Path, default=[], dest="records", metavar="RECORD")
    parser.add_argument("--output", type=Path, default=HERE, help="folder of the page and of results/")
    asked = parser.parse_args()
    if asked.records:
        write_page([json.loads(path.read_text(encoding="utf-8")) for path in asked.records], asked.output)
        return
    absent = [name for name in asked.sets if not (asked.data / name).is_dir()]
    if absent:
        print(f"skipped: {asked.data / absent[0]} is absent")
        return
    record = measure_all(asked)
    write_record(record, asked.output / "results")
    write_page([record], asked.output)


if __name__ == "__main__":
    main()
