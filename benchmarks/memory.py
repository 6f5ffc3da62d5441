"""The memory estimate before training, against what training then takes.

    python benchmarks/memory.py [--data DIR]

Every line is a process of its own: 4 steps, 16 of small batches (gaps in the heap grow with the first passes), and
the peak of what the process holds for itself (RssAnon, every 20 ms) while training, less what it held before that.
Set beside it is the estimate: gradients, optimizer and activations of the largest batch, and what libraries and
the allocator hold beside tensors. Prints a table for docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from scale import Meter, rows_of, write

HERE = Path(__file__).parent
DEFAULT = "sentence-transformers/all-MiniLM-L6-v2"
PARTS = ("gradients", "optimizer", "activations", "overhead")
LORA, SAVING = "train.method=lora", "train.gradient_checkpointing=true"
LINES = (
    ("default", ("train.tokens_per_batch=1024", "train.max_steps=16")),
    ("default", ("train.tokens_per_batch=8192",)),
    ("default", ("train.tokens_per_batch=8192", "train.bf16=false")),
    ("default", ("train.tokens_per_batch=8192", "train.freeze_layers=4")),
    ("default", ("train.tokens_per_batch=8192", LORA)),
    ("default", ("train.tokens_per_batch=8192", SAVING)),
    ("llama", ("train.tokens_per_batch=1024", "train.max_steps=16")),
    ("llama", ("train.tokens_per_batch=4096",)),
    ("llama", ("train.tokens_per_batch=4096", "train.tokens_per_micro_batch=1024")),
    ("llama", ("train.tokens_per_batch=4096", LORA)),
    ("llama", ("train.tokens_per_batch=4096", SAVING)),
    ("llama", ("train.tokens_per_batch=4096", LORA, SAVING)),
)


def write_llama(folder: Path) -> Path:
    """A Llama with random weights: 8 layers of 512, 32,000 tokens; of which its tokenizer knows few."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from tunesmith.testing.tiny import write_tiny_model

    write_tiny_model(folder, family="llama")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=32_000,
        hidden_size=512,
        num_hidden_layers=8,
        num_attention_heads=8,
        intermediate_size=1408,
        max_position_embeddings=1024,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.model_max_length = 1024
    tokenizer.save_pretrained(folder)
    return folder


def child(model: str, data: str, run: str, *options: str) -> dict:
    """One training; the estimate and the peak, in bytes."""
    import tunesmith
    from tunesmith.api import build_recipe
    from tunesmith.events import Event, Stage

    tunesmith.tune_process()  # as the command line does
    meter = Meter()

    def listener(event: Event) -> None:
        if isinstance(event, Stage):
            meter.stage(event.title)

    causal = model != DEFAULT
    overrides = [
        "train.max_steps=4", "evaluate.baselines=false", "train.learning_rate=1e-4", *options,
        *(["data.max_length=512", "evaluate.samples=0"] if causal else ["train.head_start=false"]),
    ]  # fmt: skip
    task = "text-generation" if causal else "text-classification"
    recipe = build_recipe(
        task=task, model=model, data=data, validation=0.01, output_dir=run, overrides=overrides
    )
    done = tunesmith.train(recipe, listeners=[listener])
    peaks = meter.stop()
    manifest = done.manifest()
    return {
        "memory": manifest["memory"],
        "parameters": manifest["model"]["parameters"],
        "taken": peaks["Training:"][0] - meter.begun["Training:"],
    }


def row(name: str, options: tuple[str, ...], found: dict) -> str:
    """A line of the table."""
    m = found["memory"]
    estimate = sum(m[key] for key in PARTS)
    parts = " + ".join(f"{m[key] / 1e6:.0f}" for key in PARTS)
    said = ", ".join(option.removeprefix("train.") for option in options)
    return (
        f"| {name}, {found['parameters'] / 1e6:.0f} M | {said} | {m['tokens']:,} of {m['longest']} "
        f"| {parts} = {estimate / 1e6:.0f} MB | {found['taken'] / 1e6:.0f} MB "
        f"| {estimate / found['taken'] - 1:+.0%} |"
    )


def main() -> None:
    """Measures and prints."""
    if sys.argv[1:2] == ["--child"]:
        Path(sys.argv[2]).write_text(json.dumps(child(*sys.argv[3:])), encoding="utf-8")
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data")
    source = parser.parse_args().data / "sst2" / "train.csv"
    if not source.is_file():
        print(f"skipped: {source} is absent")
        return
    print(f"| model | options | tokens of a pass | estimate: {' + '.join(PARTS)} | taken | off by |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        data = write(folder / "rows.jsonl", rows_of(source, 4000))
        models = {"default": DEFAULT, "llama": str(write_llama(folder / "llama"))}
        for number, (name, options) in enumerate(LINES):
            report = folder / f"{number}.json"
            command = [sys.executable, __file__, "--child", str(report), models[name], str(data)]
            subprocess.run(
                [*command, str(folder / f"run-{number}"), *options], check=True, stdout=subprocess.DEVNULL
            )
            print(row(name, options, json.loads(report.read_text(encoding="utf-8"))), flush=True)


if __name__ == "__main__":
    main()
