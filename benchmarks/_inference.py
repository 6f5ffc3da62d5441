"""Answers of a finished run: all texts, one at a time, and from a cold start."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from _bench import MAIN_SET, Bench, contenders_of, say
from _children import environment
from _page import Record, spread
from _plan import ANSWERING, DATA, Contender, sample_rows

_COLD_STARTS = 5
_MEASURED = ("texts_per_s", "p50_ms", "p99_ms", "peak_bytes")
_SCRIPT = """
import sys, torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
model = AutoModelForSequenceClassification.from_pretrained(sys.argv[1]).eval()
with torch.inference_mode():
    logits = model(**tokenizer(sys.argv[2], return_tensors="pt")).logits
print(model.config.id2label[int(logits.argmax())])
"""


def measure_inference(bench: Bench) -> list[Record]:
    """Answers of a probe's run: all texts, one at a time, and from a cold start."""
    label = DATA[MAIN_SET].label
    rows, _ = sample_rows(bench.rows(MAIN_SET, "test"), bench.arguments.texts, 0)
    texts = bench.write("texts", rows, label)
    learned, _ = sample_rows(bench.rows(MAIN_SET, "train"), bench.arguments.rows, 0)
    run = probe_run(bench, bench.write("all-train", learned, label))
    if run is None:
        return []
    contenders = [
        c
        for c in contenders_of(ANSWERING, bench.arguments.only)
        if c.program != "exported" or exported(bench, run, c)
    ]
    runs: list[list[Record]] = [[] for _ in contenders]
    for number in range(1, bench.arguments.rounds + 1):
        say(f"inference, round {number} of {bench.arguments.rounds}")
        for contender, found in zip(contenders, runs, strict=True):
            options = {**contender.options, "folder": str(export_folder(run, contender))}
            spec = {"program": contender.program, "run": str(run), "texts": texts, "options": options}
            result = bench.try_to(f"answers of {contender.name}", "_child_answers.py", spec)
            found += [result] if result else []
    say("cold starts")
    return [*inference_records(contenders, runs, len(rows)), cold_starts(bench, run, rows[0]["text"])]


def probe_run(bench: Bench, train: str) -> Path | None:
    """A run to answer with, made by a probe."""
    say("training a probe to answer with")
    run = bench.scratch / "probe"
    command = [sys.executable, "-m", "tunesmith", "train", "--data", train, "--output-dir", str(run)]
    done = subprocess.run(
        [*command, "train.method=probe", "evaluate.baselines=false"],
        env=environment(bench.cache), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        bench.failed["the probe"] = done.stderr[-2000:]
        return None
    return run


def export_folder(run: Path, contender: Contender) -> Path:
    """Where an export of the run goes."""
    return run.with_name(contender.name)


def exported(bench: Bench, run: Path, contender: Contender) -> bool:
    """Exports the run; says why not, where it cannot be."""
    from tunesmith.cli import VERBS

    if "export" not in VERBS.names():
        say(f"left out: {contender.name}: this version has no verb `export`")
        return False
    command = [sys.executable, "-m", "tunesmith", "export", str(run), "--to", contender.options["to"]]
    # How many of its answers are the run's is told in the table, so none is refused for a few.
    command += ["--output-dir", str(export_folder(run, contender)), "export.min_agreement=0.9"]
    done = subprocess.run(command, env=environment(bench.cache), capture_output=True, text=True, check=False)
    if done.returncode:
        say(f"left out: {contender.name}: the export failed\n{done.stderr[-2000:]}")
    return done.returncode == 0


def inference_records(contenders: Sequence[Contender], runs: Sequence[list[Record]], n: int) -> list[Record]:
    """Of every way to answer; the labels are kept as the share that is the pipeline's."""
    labels = {c.name: found[0]["labels"] for c, found in zip(contenders, runs, strict=True) if found}
    theirs = labels.get("pipeline", [])
    records = []
    for contender, found in zip(contenders, runs, strict=True):
        if not found:
            continue
        same = sum(a == b for a, b in zip(labels[contender.name], theirs, strict=False))
        records.append({
            "kind": "inference", "data": MAIN_SET, "contender": contender.name, "title": contender.title, "n": n,
            "same": same / len(theirs) if theirs else None,
            **{name: spread([r[name] for r in found]) for name in _MEASURED},
            "runs": [{name: value for name, value in r.items() if name != "labels"} for r in found],
        })  # fmt: skip
    return records


def cold_starts(bench: Bench, run: Path, text: str) -> Record:
    """Wall time of one answer, by the command line and by a script written by hand, in turn."""
    commands = {
        "ours_s": [sys.executable, "-m", "tunesmith", "predict", str(run), text],
        "script_s": [sys.executable, "-c", _SCRIPT, str(run / "model"), text],
    }
    seconds: dict[str, list[float]] = defaultdict(list)
    for _ in range(_COLD_STARTS):
        for name, command in commands.items():
            began = time.perf_counter()
            subprocess.run(command, env=environment(bench.cache), capture_output=True, check=True)
            seconds[name].append(time.perf_counter() - began)
    return {
        "kind": "cold-start",
        "data": MAIN_SET,
        **{name: spread(found) for name, found in seconds.items()},
    }
