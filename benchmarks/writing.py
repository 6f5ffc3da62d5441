"""What packed layers are worth to a model that writes: the same decoder with stock layers and with ours, in turn.

    python benchmarks/writing.py [--sizes 256 384 512] [--texts 1 4 16] [--rounds 3]

Llama of 8 layers with random weights, vocabulary of 8,000, float32: 24 new tokens after 20, greedily. Writes a
dated JSON record into benchmarks/results/ and prints the table of docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

from tunesmith.environment import machine, versions

RESULTS = Path(__file__).parent / "results"
_VOCABULARY, _PROMPT, _NEW = 8000, 20, 24


def decoder(size: int) -> Any:
    """A model that computes as it does when it is loaded for predictions."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from tunesmith.acceleration import accelerate

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=_VOCABULARY, hidden_size=size, intermediate_size=size * 8 // 3 // 16 * 16,
        num_hidden_layers=8, num_attention_heads=8,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    accelerate(model)
    return model


def use_stock_linear(model: Any) -> None:
    """Takes the packed way out of every layer."""
    for module in model.modules():
        module.__dict__.pop("forward", None)


def tokens_per_s(model: Any, texts: int) -> float:
    """Of one batch, after a short one to warm up."""
    import torch

    prompt = torch.randint(5, 3000, (texts, _PROMPT))
    how = {"do_sample": False, "pad_token_id": 0}
    with torch.inference_mode():
        model.generate(prompt, max_new_tokens=2, **how)
        began = time.perf_counter()
        model.generate(prompt, max_new_tokens=_NEW, min_new_tokens=_NEW, **how)
    return texts * _NEW / (time.perf_counter() - began)


def measure(sizes: list[int], batches: list[int], rounds: int) -> list[dict[str, Any]]:
    """Tokens a second of both, a record for each size and number of texts."""
    records = []
    for size in sizes:
        ours, stock = decoder(size), decoder(size)
        use_stock_linear(stock)
        for texts in batches:
            found = defaultdict(list)
            for _ in range(rounds):
                for name, model in (("stock", stock), ("packed", ours)):
                    found[name].append(round(tokens_per_s(model, texts), 1))
            records.append({"hidden_size": size, "texts": texts, **found})
    return records


def table(records: list[dict[str, Any]]) -> str:
    """Medians, with the lowest and the highest."""
    lines = ["| hidden size | texts at once | stock | packed | ratio |", "|---|---|---|---|---|"]
    for r in records:
        cells = [f"{median(r[n]):.0f} ({min(r[n]):.0f}–{max(r[n]):.0f})" for n in ("stock", "packed")]
        ratio = median(r["packed"]) / median(r["stock"])
        lines.append(f"| {r['hidden_size']} | {r['texts']} | {cells[0]} | {cells[1]} | {ratio:.1f}× |")
    return "\n".join(lines)


def main() -> None:
    """Measures, writes the record, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 384, 512])
    parser.add_argument("--texts", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    records = measure(arguments.sizes, arguments.texts, arguments.rounds)
    facts = {"date": date.today().isoformat(), "machine": machine(), "versions": versions()}
    RESULTS.mkdir(exist_ok=True)
    record = json.dumps({**facts, "records": records}, indent=2)
    (RESULTS / f"writing-{facts['date']}.json").write_text(record + "\n", encoding="utf-8")
    print(table(records))


if __name__ == "__main__":
    main()
