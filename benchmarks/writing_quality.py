"""The embedded decoder on tasks that write: before and after fine-tuning, with intervals.

    python benchmarks/writing_quality.py [--data DIR] [--runs DIR] [--only NAME ...] [--page]

Trains SmolLM2-135M-Instruct on real data sets, and writes a dated JSON record into benchmarks/results/ and the
page benchmarks/writing.md. Entries that were not run keep their last record. `--page` only reads the runs that are
there. Needs the data sets' folder (`../shared` beside the checkout); nothing of it is kept.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from tunesmith.environment import machine

HERE = Path(__file__).parent
RESULTS = HERE / "results"
MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"


@dataclass(frozen=True)
class Entry:
    """One training.

    Args:
        task: of the recipe.
        folder: of the data set.
        files: file of each split, with the number of rows that are taken from its beginning.
        columns: of the file, by the task's.
        options: `key=value`.
    """

    task: str
    folder: str
    files: dict[str, tuple[str, int]]
    columns: dict[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()


_MULTI30K = {
    "train": ("train.csv", 4_000),
    "validation": ("validation.csv", 100),
    "test": ("test_2016_flickr.csv", 300),
}
_ONE_EPOCH = ("train.num_train_epochs=1", "data.check=off")
ENTRIES = {
    "sgd_chat": Entry(
        "chat",
        "sgd_chat",
        {"train": ("train.jsonl", 500), "validation": ("validation.jsonl", 50), "test": ("test.jsonl", 100)},
        options=_ONE_EPOCH,
    ),
    "alpaca_demo": Entry(
        "chat", "alpaca_demo", {"train": ("train.json", 500), "test": ("test.json", 100)}, options=_ONE_EPOCH
    ),
    "gsm8k": Entry(
        "chat", "gsm8k", {"train": ("train.jsonl", 500), "test": ("test.jsonl", 100)}, options=_ONE_EPOCH
    ),
    "scitldr": Entry(
        "summarization",
        "scitldr",
        {
            "train": ("train.jsonl", 1_300),
            "validation": ("validation.jsonl", 50),
            "test": ("test.jsonl", 200),
        },
        {"document": "text"},
        ("train.max_steps=30", "data.max_length=640", "data.check=off"),
    ),
    "multi30k de-en": Entry(
        "translation", "multi30k", _MULTI30K, {"source": "de", "target": "en"}, _ONE_EPOCH
    ),
    "multi30k de-en, LoRA": Entry(
        "translation", "multi30k", _MULTI30K, {"source": "de", "target": "en"}, (*_ONE_EPOCH, "train.method=lora")
    ),
    "multi30k en-de": Entry(
        "translation", "multi30k", _MULTI30K, {"source": "en", "target": "de"}, _ONE_EPOCH
    ),
}  # fmt: skip


def folder_of(name: str) -> str:
    """`multi30k de-en, LoRA` as a folder."""
    return "".join(letter if letter.isalnum() else "-" for letter in name)


def take(source: Path, n: int, to: Path) -> None:
    """The first n rows of a file."""
    if source.suffix == ".json":
        to.write_text(json.dumps(json.loads(source.read_text())[:n]))
        return
    header = source.suffix == ".csv"
    with source.open(encoding="utf-8") as lines:
        to.write_text("".join(itertools.islice(lines, n + header)), encoding="utf-8")


def train(name: str, entry: Entry, data: Path, runs: Path) -> None:
    """Trains an entry into its folder, unless it is finished."""
    runs.mkdir(parents=True, exist_ok=True)
    chosen = []
    for split, (file, n) in entry.files.items():
        part = runs / f"{folder_of(name)}-{split}{Path(file).suffix}"
        take(data / entry.folder / file, n, part)
        chosen += ["--data" if split == "train" else f"--{split}", str(part)]
    columns = [word for pair in entry.columns.items() for word in ("--column", "=".join(pair))]
    command = [
        sys.executable, "-m", "tunesmith", "train", "--task", entry.task, "--model", MODEL, *chosen, *columns,
        "--output-dir", str(runs / folder_of(name)), *entry.options,
    ]  # fmt: skip
    subprocess.run(command, check=True)


def measured(name: str, runs: Path) -> dict[str, Any]:
    """What the record keeps of a finished run."""
    run = runs / folder_of(name)
    metrics = json.loads((run / "metrics.json").read_text())
    manifest = json.loads((run / "manifest.json").read_text())
    writing = {of: metrics["writing"].get(of) for of in ("model", "base_model")}
    used = manifest["used"]
    return {
        "date": date.today().isoformat(),
        "task": metrics["task"],
        "rows": manifest["data"].get("rows"),
        "method": used["train"]["method"],
        "primary": metrics["primary"],
        "baselines": {of: scores[metrics["primary"]["name"]] for of, scores in metrics["baselines"].items()},
        "writing": {"n": metrics["writing"]["n"], **writing},
        "forgetting": metrics.get("forgetting"),
        "train": metrics["train"],
        "stages_s": manifest["stages_s"],
        "verdict": metrics["verdict"]["text"],
        "machine": machine(),
    }


def page(records: dict[str, Any]) -> str:
    """The page with a table of scores and a table for each entry."""
    lines = [
        "# The embedded decoder on tasks that write",
        "",
        "Made by `python benchmarks/writing_quality.py`: SmolLM2-135M-Instruct (4-bit weights of the packaged",
        "file, kept in bfloat16), trained with the default recipe, but for what the script names. Intervals are",
        "of 95 %.",
        "",
        "| data | task | method | steps | training | score | base model | other baselines | general text |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, it in records.items():
        primary, others = it["primary"], {**it["baselines"]}
        base = others.pop("base_model", None)
        forgetting = it["forgetting"] or {}
        increase = forgetting.get("increase")
        lines.append(
            f"| {name} | {it['task']} | {it['method']} | {it['train']['steps']} "
            f"| {it['train']['seconds'] / 60:.0f} min "
            f"| {primary['name']} {primary['value']:.3f} ({primary['low']:.3f} to {primary['high']:.3f}) "
            f"| {_number(base)} | {', '.join(f'{n} {v:.3f}' for n, v in others.items()) or '–'} "
            f"| {_change(increase)} |"
        )
    lines += [
        "",
        "Training times are from a machine that other programs used too, unless the text says otherwise.",
        "",
    ]
    for name, it in records.items():
        lines += [f"## {name}", "", it["verdict"][:1].upper() + it["verdict"][1:] + ".", ""]
        lines += [
            f"Of {it['writing']['n']} texts:",
            "",
            "| measure | this model | base model |",
            "|---|---|---|",
        ]
        base = it["writing"]["base_model"] or {}
        lines += [f"| {m} | {_cell(s)} | {_cell(base.get(m))} |" for m, s in it["writing"]["model"].items()]
        lines.append("")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _change(increase: dict[str, float] | None) -> str:
    if increase is None:
        return "–"
    value, low, high = (100 * increase[key] for key in ("value", "low", "high"))
    return f"{value:+.1f} % ({low:+.1f} to {high:+.1f})"


def _cell(score: dict[str, float] | None) -> str:
    return "–" if score is None else f"{score['value']:.3f} ({score['low']:.3f} to {score['high']:.3f})"


def main() -> None:
    """Runs the entries, and writes record and page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data")
    parser.add_argument("--runs", type=Path, default=Path("runs/writing"))
    parser.add_argument("--only", nargs="*", default=list(ENTRIES), choices=list(ENTRIES))
    parser.add_argument("--page", action="store_true", help="read finished runs, and train none")
    asked = parser.parse_args()
    earlier = sorted(RESULTS.glob("writing_quality-*.json"))
    records = json.loads(earlier[-1].read_text()) if earlier else {}
    for name in asked.only:
        if not asked.page:
            train(name, ENTRIES[name], asked.data, asked.runs)
        if (asked.runs / folder_of(name) / "metrics.json").is_file():
            records[name] = measured(name, asked.runs)
    records = {name: records[name] for name in ENTRIES if name in records}
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(records, indent=1) + "\n"
    (RESULTS / f"writing_quality-{date.today().isoformat()}.json").write_text(text)
    (HERE / "writing.md").write_text(page(records))


if __name__ == "__main__":
    main()
