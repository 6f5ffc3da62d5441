"""Quality of the default recipe on public data sets: data, columns and model, no other option unless named.

    python benchmarks/quality.py [--data DIR] [--models DIR] [--only NAME ...] [--runs DIR]

Writes a dated JSON record into benchmarks/results/ and the table benchmarks/quality.md; entries that were not
run keep their last record. Needs the data sets' and models' folders (`../shared` beside the checkout); nothing
of them is kept. With `--runs`, finished runs of these entries are read instead of trained: whoever made them
beside other work has scores, but no times to report.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

import numpy as np

from tunesmith.environment import machine, versions
from tunesmith.evaluation.intervals import Method, intervals
from tunesmith.metrics import Share, selected

HERE = Path(__file__).parent
RESULTS = HERE / "results"


@dataclass(frozen=True)
class Entry:
    """One line of the table.

    Args:
        name: of the entry.
        train: file or folder below the data folder.
        task: of the recipe.
        test: file, where the folder does not say.
        columns: of the file, by the task's.
        model: folder below the models' folder; the embedded default when empty.
        after: another entry, whose run is the model instead.
        options: `key=value`, beyond data, columns and model.
        target: the figure that was aimed at, in words.
        folds: parts that `train`, a JSON file of few rows, is cut into. Each is the test of a training on the
            others, and the answers of all are scored together: for data too few for a test split of their own,
            where the primary metric is the share of right answers.
    """

    name: str
    train: str
    task: str = "text-classification"
    test: str = ""
    columns: dict[str, str] = field(default_factory=dict)
    model: str = ""
    after: str = ""
    options: tuple[str, ...] = ()
    target: str = ""
    folds: int = 0


_SMOKE = ("data.max_length=64", "generate.max_new_tokens=40")
ENTRIES = (
    Entry("banking77", "banking77", columns={"label": "category"}, target="0.93"),
    Entry("banking77-probe", "banking77", columns={"label": "category"}, options=("train.method=probe",)),
    Entry("tweet_emotion", "tweet_emotion", target="0.79"),
    Entry("sst2", "sst2", target="0.885"),
    Entry("trec", "trec", columns={"label": "label"}, target="0.95"),
    Entry("mrpc", "mrpc", target="0.75"),
    Entry("go_emotions", "go_emotions", "multi-label-classification", target="micro 0.52, macro 0.40"),
    Entry("stsb", "stsb", "text-regression", target="0.85"),
    Entry("ncbi_disease", "ncbi_disease", "token-classification", target="0.78"),
    Entry("wnut17", "wnut17", "token-classification", target="0.38"),
    Entry("wikigold", "wikigold", "token-classification"),
    Entry("snips", "snips/train.jsonl", "token-classification", test="snips/test.jsonl", target="0.90"),
    Entry("policyqa", "policyqa/train.json", "question-answering", test="policyqa/test.json", target="0.42"),
    Entry("xquad-en", "xquad/en.train.json", "question-answering", test="xquad/en.test.json"),
    Entry(
        "g2p_gb",
        "g2p_gb",
        "text2text-generation",
        columns={"source": "word", "target": "phonemes"},
        model="bart-g2p-en-us",
        target="0.60",
    ),
    Entry(
        "multi30k (smoke)",
        "multi30k/validation.csv",
        "translation",
        test="multi30k/test_2016_flickr.csv",
        columns={"source": "en", "target": "de"},
        model="bart-g2p-en-us",
        options=(*_SMOKE, "train.max_steps=100"),
    ),
    Entry(
        "scitldr (smoke)",
        "scitldr",
        "summarization",
        model="bart-g2p-en-us",
        options=(*_SMOKE, "train.max_steps=60"),
    ),
    Entry(
        "tinyshakespeare-260k",
        "tinyshakespeare",
        "text-generation",
        model="stories260K",
        target="a third below the base model",
    ),
    Entry(
        "tinyshakespeare-656k",
        "tinyshakespeare",
        "text-generation",
        model="tinystories-656k",
        target="a third below the base model",
    ),
    Entry("sgd_chat", "sgd_chat", "chat", model="tinystories-656k", target="below the base model"),
    Entry(
        "alpaca_demo",
        "alpaca_demo/train.json",
        "chat",
        test="alpaca_demo/test.json",
        model="tinystories-656k",
        target="below the base model",
    ),
    Entry(
        "dpo_demo",
        "dpo_demo/train.json",
        "preference",
        after="alpaca_demo",
        target="above 0.5",
        folds=4,
    ),
)
_HEAD = """# Quality of the default recipe

Made by `python benchmarks/quality.py`: data, columns and model given, every other value a default unless the
line names it; without a model, the embedded one (all-MiniLM-L6-v2, 22.7 M parameters); seed 42. The primary
metric on the test rows with its 95 % interval, baselines on the same rows. `train` is the loop alone (for the
probe: features and fit), `all` everything to the report from a cold cache of encodings; a dash stands where the
run was made beside other work. The lines marked `smoke` start from a model of phonemes with 0.75 million
parameters: they show that the task runs and is scored, not how good it can be.
"""

_NOTES = """
**sst2** was 0.9033 in the first record of 2026-11-21, of another machine, and 0.8852 on a third. The code
of that first record gives 0.8891 on the machine of 2026-11-28, where the code of that day gives 0.8875: the
difference is that of processors and threads, whose last digits make another training of it, as another seed
does. tweet_emotion moved from 0.7980 to 0.7896 and 0.7893, and trec from 0.9640 to 0.9600 and 0.9631; their
first code was not run again.

**stsb** stays below 0.85. Tried, each once, scored on the same test rows: 6 epochs 0.840; 8 epochs at 7e-5
0.838; both orders of every pair and 6 epochs 0.829 (the training loss falls to 0.06 while validation stands
still). The base model, which was made to compare two texts by the cosine of their vectors, reaches 0.827
that way; read as one sequence of both, which is what this task does, it has to learn to compare anew: its probe
is at 0.469.

**dpo_demo** has 300 pairs, too few for a test split that shows anything: four trainings, each scored on the
quarter it did not see. At a rate of 2e-4 with 4 epochs it is 0.573 [0.517, 0.630]; always choosing the longer
reply gives 0.472.
"""


def run_entry(entry: Entry, data: Path, models: Path, folder: Path) -> dict:
    """The entry's line: of one training, or of one a fold."""
    if not entry.folds:
        return one_training(entry, data, models, folder)
    parts = write_folds(data / entry.train, entry, folder)
    return pooled([one_training(part, folder, models, folder) for part in parts], runs_of(entry, folder))


def one_training(entry: Entry, data: Path, models: Path, folder: Path) -> dict:
    """One training in a process of its own, from a cold cache; everything it reports, and its wall time."""
    run = folder / entry.name.replace(" ", "-")
    command = [sys.executable, "-m", "tunesmith", "train", "--task", entry.task, "--output-dir", str(run)]
    command += ["--data", str(data / entry.train)]
    command += ["--test", str(data / entry.test)] if entry.test else []
    command += ["--model", str(models / entry.model)] if entry.model else []
    command += ["--model", str(folder / entry.after)] if entry.after else []
    for ours, theirs in entry.columns.items():
        command += ["--column", f"{ours}={theirs}"]
    environment = {**os.environ, "TUNESMITH_CACHE": str(folder / f"cache-{run.name}")}
    began = time.perf_counter()
    subprocess.run([*command, *entry.options], env=environment, stdout=subprocess.PIPE, check=True)
    total_s = time.perf_counter() - began
    return read_run(entry, run) | {"total_s": round(total_s, 1)}


def read_entry(entry: Entry, folder: Path) -> dict:
    """The entry's line, from finished runs."""
    runs = runs_of(entry, folder)
    records = [read_run(replace(entry, name=run.name), run) for run in runs]
    return pooled(records, runs) if entry.folds else records[0]


def read_run(entry: Entry, run: Path) -> dict:
    """What a finished run says."""
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    name = metrics["primary"]["name"]
    return {
        "data": entry.name,
        "task": entry.task,
        "model": entry.model or (f"the run of {entry.after}" if entry.after else "all-MiniLM-L6-v2"),
        "options": list(entry.options),
        "target": entry.target,
        "rows": manifest["data"]["rows"],
        "primary": metrics["primary"],
        "scores": metrics["splits"][metrics["primary"]["split"]],
        "baselines": {key: scores[name] for key, scores in metrics["baselines"].items()},
        "train_s": metrics["train"]["seconds"],
        "stages_s": manifest["stages_s"],
        "history": metrics["train"]["history"],
        "made": f"{manifest['started'][:10]}, {manifest['machine']['processor']}",
    }


def write_folds(file: Path, entry: Entry, folder: Path) -> list[Entry]:
    """An entry a fold, with files of its own in the folder; rows are shuffled once."""
    rows = json.loads(file.read_text(encoding="utf-8"))
    random.Random(0).shuffle(rows)
    found = []
    for fold in range(entry.folds):
        parts = {"test": rows[fold :: entry.folds]}
        parts["train"] = [row for location, row in enumerate(rows) if location % entry.folds != fold]
        names = {split: f"{entry.name}-{fold}-{split}.json" for split in parts}
        for split, part in parts.items():
            (folder / names[split]).write_text(json.dumps(part), encoding="utf-8")
        found.append(replace(entry, name=f"{entry.name}-{fold}", train=names["train"], test=names["test"]))
    return found


def runs_of(entry: Entry, folder: Path) -> list[Path]:
    """The run folders of an entry."""
    return [folder / f"{entry.name}-{fold}" for fold in range(entry.folds)] or [folder / entry.name]


def pooled(records: list[dict], runs: list[Path]) -> dict:
    """One record of all folds: the share of right answers over all rows; other scores are means of the folds."""
    texts = [(run / "predictions" / "test.jsonl").read_text(encoding="utf-8") for run in runs]
    lines = [line for text in texts for line in text.split("\n") if line]
    right = np.array([[json.loads(line)["correct"], 1] for line in lines], dtype=np.float64)
    first, n = records[0], len(right)
    name, confidence = first["primary"]["name"], first["primary"]["confidence"]
    found = intervals(
        right,
        lambda sums: {name: sums[..., 0] / sums[..., 1]},
        {name: Share(of=selected(2, [1]), right=selected(2, [0]))},
        Method(samples=2000, confidence=confidence, seed=0),
    )
    means = {
        kind: {key: float(np.mean([_value(r[kind][key]) for r in records])) for key in first[kind]}
        for kind in ("scores", "baselines")
    }
    seconds = {key: sum(r[key] for r in records) for key in ("train_s", "total_s") if key in first}
    return {
        **first,
        "data": first["data"].rpartition("-")[0],
        "options": [*first["options"], f"{len(records)} folds"],
        "primary": {**first["primary"], **found[name].to_json(), "n": n},
        "scores": {key: {"value": value} for key, value in means["scores"].items()},
        "baselines": means["baselines"],
        **seconds,
        "folds": records,
    }


def _value(score: float | dict) -> float:
    return score["value"] if isinstance(score, dict) else score


def table(records: list[dict], facts: dict) -> str:
    """The page, from the records."""
    lines = [
        _HEAD,
        f"{facts['machine']['cores']} cores; torch {facts['versions']['torch']}, "
        f"transformers {facts['versions']['transformers']}.",
        "",
        "| data | task | model | metric | value | interval | also | rows | aimed at | baselines | train | all "
        "| made |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in records:
        p = r["primary"]
        data = r["data"] + (f" ({', '.join(r['options'])})" if r["options"] else "")
        baselines = ", ".join(f"{key} {value:.3f}" for key, value in r["baselines"].items())
        times = (f"{r['train_s']:.0f} s", f"{r['total_s']:.0f} s") if "total_s" in r else ("–", "–")
        lines.append(
            f"| {data} | {r['task']} | {r['model']} | {p['name']} | **{p['value']:.4f}** "
            f"| {p['low']:.3f} to {p['high']:.3f} | {others(r)} | {p['n']} | {r['target'] or '–'} | {baselines} "
            f"| {times[0]} | {times[1]} | {r['made']} |"
        )
    return "\n".join(lines) + "\n" + _NOTES


def others(record: dict) -> str:
    """Two more metrics, after the primary one."""
    scores = {key: s["value"] for key, s in record["scores"].items() if key != record["primary"]["name"]}
    return ", ".join(f"{key} {value:.3f}" for key, value in list(scores.items())[:2])


def last_records() -> dict[str, dict]:
    """The newest record of every entry."""
    found: dict[str, dict] = {}
    for path in sorted(RESULTS.glob("quality-*.json")):
        for record in json.loads(path.read_text(encoding="utf-8"))["records"]:
            found[record["data"]] = record
    return found


def main() -> None:
    """Runs or reads the entries, writes record and table."""
    parser = argparse.ArgumentParser(description=__doc__)
    shared = HERE.parents[1] / "shared"
    parser.add_argument("--data", type=Path, default=shared / "data")
    parser.add_argument("--models", type=Path, default=shared / "models")
    parser.add_argument("--only", nargs="*", default=[entry.name for entry in ENTRIES])
    parser.add_argument("--runs", type=Path, help="finished runs, each in a folder of its entry's name")
    arguments = parser.parse_args()
    if not arguments.data.is_dir():
        print(f"skipped: the data sets' folder {arguments.data} is absent")
        sys.exit(0)
    records = last_records()
    wanted = [entry for entry in ENTRIES if entry.name in arguments.only]
    with tempfile.TemporaryDirectory() as folder:
        for entry in wanted:
            if not arguments.runs:
                records[entry.name] = run_entry(entry, arguments.data, arguments.models, Path(folder))
            elif all((run / "metrics.json").is_file() for run in runs_of(entry, arguments.runs)):
                records[entry.name] = read_entry(entry, arguments.runs)
    shown = [records[entry.name] for entry in ENTRIES if entry.name in records]
    facts = {"date": date.today().isoformat(), "machine": machine(), "versions": versions()}
    RESULTS.mkdir(exist_ok=True)
    record = json.dumps({**facts, "records": shown}, indent=2) + "\n"
    (RESULTS / f"quality-{facts['date']}.json").write_text(record, encoding="utf-8")
    (HERE / "quality.md").write_text(table(shown, facts), encoding="utf-8")
    print(table(shown, facts))


if __name__ == "__main__":
    main()
