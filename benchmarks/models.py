"""How long 1,000 rows take with base models of different sizes; writes models.md and README's table.

The time of a step depends on a model's shape and its tokenizer, not on its weights. So this needs no download: all
models but the embedded one are made with random weights, in the shape that their config on the Hub has, and read
the texts with the embedded tokenizer. A few steps are measured, after the first ones, and taken for all steps of
the default recipe. Where other programs take the cores, the processor time of the training divided by its threads
is a better figure than the time on the clock. Both are written.
"""

from __future__ import annotations

import contextlib
import csv
import datetime
import itertools
import json
import math
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
DATA = HERE.parents[1] / "shared" / "data" / "ag_news" / "train.csv"
ROWS = 1000
WARM_UP, MEASURED = 3, 8
README_HEAD = "| model | language | size | minutes for 1,000 rows |\n|---|---|---|---|\n"
DEFAULT = "sentence-transformers/all-MiniLM-L6-v2"


@dataclass(frozen=True)
class Shape:
    """A model by its shape.

    Args:
        name: on the Hub.
        language: that it was made for.
        kind: `model_type`; empty for the model itself.
        config: its shape.
        task: that it is measured with.
        method: how it is trained.
    """

    name: str
    language: str
    kind: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    task: str = "text-classification"
    method: str = "full"


def _bert(layers: int, width: int, inner: int, vocabulary: int, heads: int = 12) -> dict[str, Any]:
    return {
        "num_hidden_layers": layers, "hidden_size": width, "intermediate_size": inner, "vocab_size": vocabulary,
        "num_attention_heads": heads,
    }  # fmt: skip


SHAPES = (
    Shape(DEFAULT, "English"),
    Shape("distilbert/distilroberta-base", "English", "roberta", _bert(6, 768, 3072, 50265)),
    Shape("google-bert/bert-base-uncased", "English", "bert", _bert(12, 768, 3072, 30522)),
    Shape("intfloat/multilingual-e5-small", "100 languages", "bert", _bert(12, 384, 1536, 250037)),
    Shape("FacebookAI/xlm-roberta-base", "100 languages", "xlm-roberta", _bert(12, 768, 3072, 250002)),
    Shape(
        "HuggingFaceTB/SmolLM2-135M-Instruct", "English", "llama",
        {**_bert(30, 576, 1536, 49152, 9), "num_key_value_heads": 3, "tie_word_embeddings": True},
        task="text-generation", method="lora",
    ),
)  # fmt: skip


def write_model(shape: Shape, folder: Path) -> str:
    """The model, or one of its shape with random weights."""
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoTokenizer

    from tunesmith.models.resolve import resolve_model

    if not shape.kind:
        return shape.name
    tokenizer = AutoTokenizer.from_pretrained(resolve_model(DEFAULT).path)
    ids = {name: getattr(tokenizer, name) for name in ("pad_token_id", "cls_token_id", "sep_token_id")}
    config = AutoConfig.for_model(
        shape.kind, **shape.config, pad_token_id=ids["pad_token_id"], bos_token_id=ids["cls_token_id"],
        eos_token_id=ids["sep_token_id"], max_position_embeddings=514,
    )  # fmt: skip
    make = AutoModelForCausalLM if shape.task == "text-generation" else AutoModel
    make.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def measure(shape: Shape, data: Path, folder: Path) -> dict[str, Any]:
    """The training loop of one model, stopped after a few steps."""
    import torch

    import tunesmith
    from tunesmith.events import Step

    steps: list[Step] = []
    clocks: list[tuple[float, float]] = []

    def listen(event: object) -> None:
        if isinstance(event, Step):
            steps.append(event)
            clocks.append((time.perf_counter(), time.process_time()))

    with contextlib.suppress(tunesmith.InterruptedRunError):
        tunesmith.train(
            str(data), task=shape.task, model=write_model(shape, folder / "model"), output_dir=folder / "run",
            method=shape.method, listeners=[listen], progress=False,
            should_stop=lambda: len(steps) >= WARM_UP + MEASURED,
        )  # fmt: skip
    if len(steps) < WARM_UP + MEASURED:
        raise SystemExit(f"{shape.name} was stopped after {len(steps)} steps: nothing is written")
    began, ended = clocks[WARM_UP - 1], clocks[-1]
    clock_s, processor_s = (
        (ended[i] - began[i]) / (len(steps) - WARM_UP) * steps[0].total_steps for i in (0, 1)
    )
    return {
        "name": shape.name, "language": shape.language, "method": shape.method, "steps": steps[0].total_steps,
        "clock_s": round(clock_s, 1), "processor_s": round(processor_s / torch.get_num_threads(), 1),
        "parameters": parameters(folder / "model", shape),
    }  # fmt: skip


def parameters(folder: Path, shape: Shape) -> int:
    """Number of weights in the model's file."""
    from safetensors import safe_open

    from tunesmith.models.resolve import resolve_model

    path = folder if shape.kind else resolve_model(shape.name).path
    with safe_open(path / "model.safetensors", "pt") as weights:
        sizes = (weights.get_slice(name).get_shape() for name in weights.keys())  # noqa: SIM118
        return sum(math.prod(size) for size in sizes)


def write_rows(file: Path) -> None:
    """The first rows of ag_news."""
    with (
        DATA.open(encoding="utf-8", newline="") as source,
        file.open("w", encoding="utf-8", newline="") as target,
    ):
        writer = csv.writer(target)
        writer.writerow(["text", "label"])
        writer.writerows(
            [row["text"], row["label"]] for row in itertools.islice(csv.DictReader(source), ROWS)
        )


def page(records: list[dict[str, Any]]) -> str:
    """The page with the table."""
    head = """# Time by model

Made by `python benchmarks/models.py`: the training loop of the default recipe on {rows:,} rows of ag_news (44
tokens a row), from {steps} measured steps. All models but the first have random weights in the shape of the named
one, and the tokenizer of the first. `clock` is the time that passed. `processor` is the processor time by the
number of threads, which is nearer to a quiet machine if other programs ran.

{environment}.

| model | language | size | method | steps | minutes, clock | minutes, processor |
|---|---|---|---|---|---|---|
"""
    return head.format(rows=ROWS, steps=MEASURED, environment=environment()) + "".join(map(line, records))


def line(record: dict[str, Any]) -> str:
    """The line of one model."""
    minutes = (f"{record[name] / 60:.1f}" for name in ("clock_s", "processor_s"))
    cells = (
        f"`{record['name']}`",
        record["language"],
        size(record),
        record["method"],
        record["steps"],
        *minutes,
    )
    return f"| {' | '.join(map(str, cells))} |\n"


def size(record: dict[str, Any]) -> str:
    """The number of parameters, in words."""
    return f"{record['parameters'] / 1e6:,.0f} million"


def update_readme(records: list[dict[str, Any]]) -> None:
    """Writes the short table of README.md anew."""
    file = HERE.parent / "README.md"
    before, _, rest = file.read_text(encoding="utf-8").partition(README_HEAD)
    after = rest[rest.index("\n\n") :]
    lines = "".join(
        f"| `{it['name']}`{' (LoRA)' * (it['method'] == 'lora')} | {it['language']} | {size(it)} "
        f"| {it['clock_s'] / 60:.1f} |\n"
        for it in records
    )
    file.write_text(before + README_HEAD + lines.rstrip("\n") + after, encoding="utf-8")


def environment() -> str:
    """The machine and the versions, in a line."""
    from tunesmith.environment import machine, versions

    facts, installed = machine(), versions()
    return (
        f"{facts['processor']}, {facts['cores']} cores, {facts['threads']} threads; torch {installed['torch']}, "
        f"transformers {installed['transformers']}; {datetime.date.today().isoformat()}"
    )


def main() -> None:
    """Measures each shape in turn, and writes the page."""
    import tunesmith

    tunesmith.tune_process()
    records = []
    with tempfile.TemporaryDirectory() as folder:
        write_rows(Path(folder) / "rows.csv")
        for number, shape in enumerate(SHAPES):
            records.append(measure(shape, Path(folder) / "rows.csv", Path(folder) / str(number)))
            print(json.dumps(records[-1]), flush=True)
    (HERE / "models.md").write_text(page(records), encoding="utf-8")
    update_readme(records)


if __name__ == "__main__":
    main()
