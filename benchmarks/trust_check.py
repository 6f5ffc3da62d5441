"""The checks of the data: how many planted copies they find, how many rows they wrongly take for copies, and time.

    python benchmarks/trust_check.py [copies] [scale] [--rows 10000 100000 1000000] [--with-model] [--data DIR]

`copies`: 100 test rows of each real set are copied into its training rows, each with one small edit (a word
changed, a word added, other case, other punctuation), with three seeds. Found: those of the 100 that `leakage`
names. False: other test rows that it names only because of the planted ones. Named without planting: test rows
that resemble training rows as the data are.

`scale`: `tunesmith check --fast` in a process of its own, on short rows of the real sets. Where more rows are
asked for than there are, rows are repeated with noise (one word of each changed). `--with-model` runs the checks
that need the model, too.

Writes a dated JSON record into benchmarks/results/ and the page benchmarks/trust-check.md. What is not asked for
comes from the last record.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

from tunesmith.checks import CHECKS, CheckedData
from tunesmith.data.preparing import prepare
from tunesmith.environment import machine, versions
from tunesmith.recipe import Recipe
from tunesmith.tasks import TASKS
from tunesmith.testing.edited_texts import EDITS, edited

HERE = Path(__file__).parent
RESULTS = HERE / "results"
SHARED = HERE.parents[1] / "shared" / "data"
SETS = (
    "tweet_hate",
    "tweet_emotion",
    "sst2",
    "rotten_tomatoes",
    "ag_news",
    "go_emotions",
    "banking77",
    "trec",
)
SHORT = ("sst2", "rotten_tomatoes", "go_emotions", "banking77", "trec", "tweet_hate", "tweet_emotion")
SEEDS = (0, 1, 2)
_MOST_TRAIN, _MOST_TEST = 20_000, 3_000


def read(folder: Path, split: str) -> list[dict[str, str]]:
    """The texts of a set, with a label."""
    file = next(
        folder / f"{split}{ending}" for ending in (".csv", ".jsonl") if (folder / f"{split}{ending}").exists()
    )
    with file.open(encoding="utf-8", newline="") as handle:
        rows = (
            list(csv.DictReader(handle)) if file.suffix == ".csv" else [json.loads(line) for line in handle]
        )
    return [{"text": row["text"], "label": str(row.get("label", "x"))} for row in rows if row["text"].strip()]


def leaked(train: list[dict[str, str]], test: list[dict[str, str]]) -> tuple[set[int], dict[str, Any]]:
    """The test rows that `leakage` names, and its evidence."""
    with tempfile.TemporaryDirectory() as folder:
        data = {}
        for split, rows in (("train", train), ("validation", test[:20]), ("test", test)):
            path = Path(folder) / f"{split}.jsonl"
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
            data[split] = [str(path)]
        task, recipe = TASKS.get("fill-mask"), Recipe.model_validate({"task": "fill-mask", "data": data})
        found = prepare(task, recipe)
        checked = CheckedData(task, recipe, found.splits, found.label_schema)
        findings = [it for it in CHECKS.get("leakage").find(checked) if it.evidence["source"] == "train"]
    of_test = [it for it in findings if it.evidence["split"] == "test"]
    return {row.row for it in of_test for row in it.rows}, of_test[0].evidence if of_test else {}


def measure_copies(folder: Path) -> Iterator[dict[str, Any]]:
    """What is found of planted copies, by set."""
    for name in SETS:
        rng = random.Random(0)
        train, test = (read(folder / name, split) for split in ("train", "test"))
        train = rng.sample(train, min(len(train), _MOST_TRAIN))
        test = rng.sample(test, min(len(test), _MOST_TEST))
        words = [word for row in train for word in row["text"].split()]
        natural, _ = leaked(train, test)
        entry = {"set": name, "train": len(train), "test": len(test), "named": len(natural), "seeds": []}
        for seed in SEEDS:
            rng = random.Random(seed)
            planted = rng.sample(range(len(test)), 100)
            copies = [
                {**test[row], "text": edited(test[row]["text"], EDITS[i % 4], rng, words)}
                for i, row in enumerate(planted)
            ]
            found, evidence = leaked([*train, *copies], test)
            missed = [i % 4 for i, row in enumerate(planted) if row not in found]
            entry["level"] = [evidence["least_similarity"], evidence["least_shared_bits"]]
            entry["seeds"].append(
                {
                    "found": 100 - len(missed),
                    "false": len(found - natural - set(planted)),
                    "missed": {kind: missed.count(number) for number, kind in enumerate(EDITS)},
                }
            )
        print(json.dumps(entry))
        yield entry


def write_short_rows(path: Path, folder: Path, n: int) -> None:
    """Short rows of the real sets; beyond their number, repeated with one word changed."""
    rng = random.Random(0)
    rows = [{**row, "label": name} for name in SHORT for row in read(folder / name, "train")]
    rng.shuffle(rows)
    words = [word for row in rows[:5000] for word in row["text"].split()]
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, ["text", "label"])
        writer.writeheader()
        for number in range(n):
            row = rows[number % len(rows)]
            text = row["text"] if number < len(rows) else edited(row["text"], "changed", rng, words)
            writer.writerow({"text": text, "label": row["label"]})


def measure_scale(folder: Path, n: int, *, with_model: bool) -> dict[str, Any]:
    """Time and memory of `tunesmith check` on `n` short rows."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("TUNESMITH_BENCH_SCRATCH")) as scratch:
        path = Path(scratch) / "rows.csv"
        write_short_rows(path, folder, n)
        command = [
            sys.executable,
            "-m",
            "tunesmith",
            "check",
            str(path),
            "--json",
            *([] if with_model else ["--fast"]),
        ]
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 3):
        raise SystemExit(done.stderr)
    entry = {
        "rows": n,
        "with_model": with_model,
        "wall_s": round(time.perf_counter() - began, 1),
        "cpu_s": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
        "peak_gb": round(after.ru_maxrss * 1024 / 1e9, 2),
        "findings": len(json.loads(done.stdout)["findings"]),
    }
    print(json.dumps(entry))
    return entry


_COPIES = """## Edited copies of test rows in the training rows

100 test rows were copied into the training rows, each with one edit: a word changed, a word added, other case,
other punctuation. Found are those of the 100, with three seeds; false are rows that are named only because of the
planted ones. `least` is what a copy must have in these data: similarity, and shared bits. The last column has the
test rows that are named without planting: copies that were there, and paraphrases.

| set | training rows | least | found | false | named without planting |
|---|---|---|---|---|---|
"""
_SCALE = """
In `banking77` and `trec`, people ask the same in other words, and questions follow templates. A test question
that differs in one word from a training question is usual there, and no sign of a copy. So copies must share more.

## Time and memory

`tunesmith check` on short rows of seven sets, in a process of its own. Beyond the rows of the sets, they repeat
with one word changed. `wall` depends on what else the machine did; `cpu` is the time of the process on its cores.

| rows | checks | wall | cpu | peak memory |
|---|---|---|---|---|
"""


def page(record: dict[str, Any]) -> str:
    """The page of a record."""
    cores = record["machine"].get("cores", "?")
    head = (
        f"# The checks of the data\n\nMade by `python benchmarks/trust_check.py` on {record['date']}, on {cores} "
        "cores that other programs used too.\n\n"
    )
    copies = "".join(f"| {' | '.join(cells)} |\n" for cells in map(_copies_cells, record["copies"]))
    scale = "".join(f"| {' | '.join(cells)} |\n" for cells in map(_scale_cells, record["scale"]))
    return head + _COPIES + copies + _SCALE + scale


def _copies_cells(it: dict[str, Any]) -> list[str]:
    found, false = (", ".join(str(seed[key]) for seed in it["seeds"]) for key in ("found", "false"))
    least = f"{it['level'][0]:g}, {it['level'][1]:g} bits"
    return [it["set"], f"{it['train']:,}", least, found, false, f"{it['named']:,} of {it['test']:,}"]


def _scale_cells(it: dict[str, Any]) -> list[str]:
    which = "all" if it["with_model"] else "of texts and labels"
    return [
        f"{it['rows']:,}",
        which,
        f"{it['wall_s']:,.0f} s",
        f"{it['cpu_s']:,.0f} s",
        f"{it['peak_gb']:.1f} GB",
    ]


def main() -> None:
    """Measures what is asked for, and writes the record and the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", default=["copies", "scale"])
    parser.add_argument("--rows", nargs="*", type=int, default=[10_000, 100_000])
    parser.add_argument("--with-model", action="store_true")
    parser.add_argument("--data", type=Path, default=SHARED)
    asked = parser.parse_args()
    earlier = sorted(RESULTS.glob("trust_check-*.json"))
    record = json.loads(earlier[-1].read_text()) if earlier else {"copies": [], "scale": []}
    record |= {"date": date.today().isoformat(), "machine": machine(), "versions": versions()}
    if "copies" in asked.parts:
        record["copies"] = list(measure_copies(asked.data))
    if "scale" in asked.parts:
        new = [measure_scale(asked.data, n, with_model=asked.with_model) for n in asked.rows]
        known = {(it["rows"], it["with_model"]): it for it in [*record["scale"], *new]}
        record["scale"] = [known[key] for key in sorted(known)]
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"trust_check-{record['date']}.json").write_text(json.dumps(record, indent=1) + "\n")
    (HERE / "trust-check.md").write_text(page(record), encoding="utf-8")


if __name__ == "__main__":
    main()
