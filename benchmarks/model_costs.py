"""Time and memory as `tunesmith models` predicts them, against a whole epoch: `python benchmarks/model_costs.py`.

    python benchmarks/model_costs.py [--data DIR] [--only TASK/SHAPE ...] [--share 1.0]

Three tasks and three shapes, each in two processes of its own, one after the other: the prediction, with an empty
cache, and a training of one epoch. Time: the steps of the epoch, without evaluations and checkpoints. Memory: the
peak of what the process holds for itself (RssAnon, every 20 ms) while training, less what it held before, and the
weights. Writes `benchmarks/results/model-costs-DATE.json` and `benchmarks/model-costs.md`. About half an hour on
two cores; nothing else should compute meanwhile. `--share 0.1` tries it with a tenth of the rows, and writes no
page.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

from scale import Meter

HERE = Path(__file__).parent
TINY = "sentence-transformers/all-MiniLM-L6-v2"
SHAPES = {
    "MiniLM-L6": TINY,
    "BERT-base": "google-bert/bert-base-uncased",
    "ModernBERT-base": "answerdotai/ModernBERT-base",
}
CHAT = "HuggingFaceTB/SmolLM2-135M-Instruct"
ROWS = {"text-classification": 1600, "token-classification": 800, "question-answering": 160, "chat": 24}
WITHIN = {"time": 0.25, "memory": 0.20}


def write_rows(task: str, data: Path, folder: Path, share: float) -> Path:
    """The first rows of a real data set."""
    n, path = max(20, int(ROWS[task] * share)), folder / task
    if task == "text-classification":
        with (data / "banking77" / "train.csv").open(encoding="utf-8", newline="") as handle:
            rows = list(csv.DictReader(handle))[:: max(1, 10_003 // n)][:n]
        with path.with_suffix(".csv").open("w", encoding="utf-8", newline="") as handle:
            writer = csv.DictWriter(handle, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        return path.with_suffix(".csv")
    if task == "token-classification":
        sentences = (data / "wnut17" / "train.conll").read_text(encoding="utf-8").split("\n\n")[:n]
        path.with_suffix(".conll").write_text("\n\n".join(sentences) + "\n", encoding="utf-8")
        return path.with_suffix(".conll")
    if task == "question-answering":
        content = json.loads((data / "policyqa" / "train.json").read_text(encoding="utf-8"))
        path.with_suffix(".json").write_text(json.dumps(some_questions(content, n)), encoding="utf-8")
        return path.with_suffix(".json")
    with (data / "sgd_chat" / "train.jsonl").open(encoding="utf-8") as handle:
        path.with_suffix(".jsonl").write_text("".join(itertools.islice(handle, n)), encoding="utf-8")
    return path.with_suffix(".jsonl")


def some_questions(content: dict[str, Any], n: int) -> dict[str, Any]:
    """The first documents of a SQuAD file that have so many questions."""
    taken, questions = [], 0
    for document in content["data"]:
        paragraphs = []
        for paragraph in document["paragraphs"]:
            if questions < n:
                paragraphs.append(paragraph)
                questions += len(paragraph["qas"])
        if paragraphs:
            taken.append({**document, "paragraphs": paragraphs})
    return {**content, "data": taken}


def write_model(shape: str, texts: list[str], folder: Path) -> str:
    """A model of a shape with random weights and a tokenizer; the name of the one that is installed."""
    from tunesmith.models.catalogue import find_known
    from tunesmith.models.from_config import config_for
    from tunesmith.models.resolve import resolve_model
    from tunesmith.models.stand_in import stand_in_tokenizer
    from tunesmith.models.tokenizer import load_tokenizer

    if shape in (TINY, CHAT):
        return shape
    import torch
    import transformers

    known, path = find_known(shape), folder / shape.rpartition("/")[2]
    if not path.is_dir():
        torch.manual_seed(0)
        transformers.AutoModel.from_config(config_for(known.config, {}, 0)).save_pretrained(path)
        own = known.family == "bert"
        tokenizer = (
            load_tokenizer(resolve_model(TINY)) if own else stand_in_tokenizer(texts, context=known.context)
        )
        tokenizer.model_max_length = known.context
        tokenizer.save_pretrained(path)
    return str(path)


def options(task: str) -> list[str]:
    """What both processes are told."""
    chat = ["data.max_length=512"] if task == "chat" else []
    return ["train.num_train_epochs=1", "evaluate.baselines=false", "data.check=off", *chat]


def predict(task: str, data: str, model: str, run: str) -> dict[str, Any]:
    """What `tunesmith models` says."""
    import tunesmith
    from tunesmith.api import build_recipe
    from tunesmith.pipeline.suggesting import cost_of_model

    tunesmith.tune_process()
    recipe = build_recipe(task=task, data=data, model=model, output_dir=run, overrides=options(task))
    began = time.perf_counter()
    found = cost_of_model(recipe, model)
    return {"epoch_s": found.epoch_s, "memory": found.memory, "seconds": time.perf_counter() - began}


def train(task: str, data: str, model: str, run: str) -> dict[str, Any]:
    """What one epoch takes."""
    import tunesmith
    from tunesmith.api import build_recipe
    from tunesmith.events import Event, Stage, Started, Step

    tunesmith.tune_process()
    meter, seconds, last = Meter(), [], [0.0]

    def listener(event: Event) -> None:
        if isinstance(event, Stage):
            meter.stage(event.title)
        if isinstance(event, Step):
            seconds.append(time.perf_counter() - last[0])
        if isinstance(event, Started | Step) or type(event).__name__ in ("Evaluation", "Saved"):
            last[0] = time.perf_counter()

    # What the probe leaves in the heap would hide what the loop takes.
    more = {"chat": ["evaluate.samples=0"], "question-answering": []}.get(task, ["train.head_start=false"])
    recipe = build_recipe(
        task=task, data=data, model=model, output_dir=run, overrides=[*options(task), *more]
    )
    done = tunesmith.train(recipe, listeners=[listener], progress=False)
    peaks = meter.stop()
    memory = done.manifest()["memory"]
    taken = peaks["Training:"][0] - meter.begun["Training:"]
    return {"epoch_s": sum(seconds), "memory": taken + memory["weights"], "steps": len(seconds)}


def child(what: str, *arguments: str, cache: Path) -> dict[str, Any]:
    """One process; what it found."""
    report = cache / "report.json"
    subprocess.run(
        [sys.executable, __file__, "--child", what, str(report), *arguments],
        check=True, stdout=subprocess.DEVNULL, env={**os.environ, "TUNESMITH_CACHE": str(cache / what)},
    )  # fmt: skip
    return json.loads(report.read_text(encoding="utf-8"))


def compare(task: str, shape: str, data: Path, models: Path) -> dict[str, Any]:
    """Prediction and truth for one task and shape."""
    name = {**SHAPES, "SmolLM2-135M": CHAT}[shape]
    model = write_model(name, [data.read_text(encoding="utf-8")], models)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        predicted = child("predict", task, str(data), model, str(place / "none"), cache=place)
        found = child("train", task, str(data), model, str(place / "run"), cache=place)
    return {"task": task, "shape": shape, "predicted": predicted, "measured": found}


def off(line: dict[str, Any], key: str) -> float:
    """How far a prediction is off, relative to what was measured."""
    return line["predicted"][key] / line["measured"][key] - 1


def page(found: list[dict[str, Any]]) -> Iterator[str]:
    """The content of model-costs.md."""
    from tunesmith.environment import machine

    facts = machine()
    yield f"""# Time and memory of base models, predicted and measured

`python benchmarks/model_costs.py` writes this page. `tunesmith models` trains one and a few layers of a model for
some steps, and extrapolates; here, a whole epoch is trained beside it. The weights are random (those of MiniLM and
SmolLM2 are real), which changes neither time nor memory. Machine: {facts["processor"]}, {facts["cores"]} cores,
{facts["threads"]} threads of torch, bfloat16 {"on" if facts["bf16"] else "off"}. {date.today()}.

| task | shape | steps | epoch predicted | measured | off by | memory predicted | measured | off by | took |
|---|---|--:|--:|--:|--:|--:|--:|--:|--:|"""
    for line in found:
        predicted, measured = line["predicted"], line["measured"]
        yield (
            f"| {line['task']} | {line['shape']} | {measured['steps']} | {predicted['epoch_s']:.1f} s "
            f"| {measured['epoch_s']:.1f} s | {off(line, 'epoch_s'):+.0%} | {predicted['memory'] / 1e6:,.0f} MB "
            f"| {measured['memory'] / 1e6:,.0f} MB | {off(line, 'memory'):+.0%} | {predicted['seconds']:.0f} s |"
        )
    times = max(abs(off(line, "epoch_s")) for line in found)
    memories = max(abs(off(line, "memory")) for line in found)
    yield (
        f"\nThe largest error is {times:.0%} of the time (aim: {WITHIN['time']:.0%}) and {memories:.0%} of the "
        f"memory (aim: {WITHIN['memory']:.0%}). `took`: the time of the prediction. Another program that\n"
        "computes makes both slower, and not at the same moment."
    )


def main() -> None:
    """Measures, and writes the page."""
    if sys.argv[1:2] == ["--child"]:
        what, report, *arguments = sys.argv[2:]
        found = {"predict": predict, "train": train}[what](*arguments)
        Path(report).write_text(json.dumps(found), encoding="utf-8")
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data")
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--share", type=float, default=1.0)
    asked = parser.parse_args()
    tasks = [task for task in ROWS if task != "chat"]
    pairs = [*itertools.product(tasks, SHAPES), ("chat", "SmolLM2-135M")]
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        for task, shape in pairs:
            if asked.only and f"{task}/{shape}" not in asked.only:
                continue
            data = write_rows(task, asked.data, Path(scratch), asked.share)
            found.append(compare(task, shape, data, Path(scratch)))
            print(json.dumps(found[-1]), flush=True)
    if asked.only or asked.share != 1.0:
        print("\n".join(page(found)))
        return
    (HERE / "results" / f"model-costs-{date.today()}.json").write_text(json.dumps(found, indent=1) + "\n")
    (HERE / "model-costs.md").write_text("\n".join(page(found)) + "\n")


if __name__ == "__main__":
    main()
