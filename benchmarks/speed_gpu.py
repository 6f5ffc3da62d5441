"""Speed of training on a GPU: a decoder of 0.5 B and an encoder of 150 M parameters, from random weights.

    python benchmarks/speed_gpu.py [--rounds N] [--steps N] [--only NAME ...] [--device cpu --tiny]

The shapes are those of Qwen2.5-0.5B (Llama blocks, tied embeddings of 151,936 tokens) and ModernBERT-base; what
the weights are does not change what a step costs, so nothing is downloaded, and texts are made up. The decoder
learns blocks of 1,024 tokens, all of its weights or an adapter; the encoder classifies texts of 20 to 400
tokens. `Trainer` has bf16, fused AdamW, length groups, SDPA (and flash attention, where it is installed), with
and without `torch_compile`; ours has what it does by default. Without a CUDA device it says so and ends well.
`--device cpu --tiny` runs the same code on models of a few thousand parameters: a test, not a measurement.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import os
import random
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import _flops
from _bench import Bench, about, say
from _children import measure_preloaded
from _page import Record, facts_record, page, training_record
from _plan import FACTS, Contender
from _stretch import Limits

HERE = Path(__file__).parent
_HEAD = """# Speed on a GPU

Made by `python benchmarks/speed_gpu.py` (docs/performance.md says how to run and read it). Random weights in the
shapes of Qwen2.5-0.5B and ModernBERT-base, texts made up; every measurement in a process of its own, all
interleaved in rounds; medians, and in brackets the lowest and highest. `memory` is the most that tensors took
on the device.
"""


@dataclass(frozen=True)
class Case:
    """A model and what it learns.

    Args:
        name: of the case.
        task: by our name.
        batch: rows of a step; of a decoder, blocks.
        length: tokens of a block, or the most of a text.
        lora: an adapter instead of all weights.
    """

    name: str
    task: str
    batch: int
    length: int
    lora: bool = False

    @property
    def model(self) -> str:
        """Which of the models."""
        return "decoder" if self.task == "text-generation" else "encoder"

    @property
    def options(self) -> dict[str, Any]:
        """Of every program."""
        return ({"block": self.length} if self.model == "decoder" else {}) | (
            {"lora": True} if self.lora else {}
        )


CASES = (
    Case("decoder, full", "text-generation", 8, 1024),
    Case("decoder, LoRA", "text-generation", 8, 1024, lora=True),
    Case("encoder, full", "text-classification", 64, 512),
)
TINY_CASES = (
    Case("decoder, full", "text-generation", 2, 64),
    Case("decoder, LoRA", "text-generation", 2, 64, lora=True),
    Case("encoder, full", "text-classification", 4, 48),
)
CONTENDERS = (
    Contender(
        "trainer-fast-sdpa",
        "Trainer, bf16, length groups, fused AdamW (SDPA)",
        "trainer",
        {"fast": True, "attention": "sdpa"},
    ),
    Contender(
        "trainer-flash",
        "Trainer, the same with flash attention",
        "trainer",
        {"fast": True, "attention": "flash_attention_2"},
        needs="flash_attn",
    ),
    Contender(
        "trainer-compile",
        "Trainer, the same with SDPA and `torch_compile`",
        "trainer",
        {"fast": True, "attention": "sdpa", "compile": True},
    ),
    Contender("ours", "tunesmith, the same settings", "ours"),
)


def write_model(folder: Path, which: str, *, tiny: bool) -> Path:
    """A model with random weights, and the tokenizer of the tiny models."""
    from transformers import AutoTokenizer

    from tunesmith.testing.tiny import write_tiny_model

    write_tiny_model(folder, family="llama" if which == "decoder" else "bert")
    if tiny:
        return folder
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.model_max_length = 1024
    tokenizer.save_pretrained(folder)
    (_decoder if which == "decoder" else _encoder)(tokenizer).save_pretrained(folder)
    return folder


def _decoder(tokenizer: Any) -> Any:
    """494 M parameters: the shape of Qwen2.5-0.5B (Qwen team 2024, arXiv 2412.15115, table 1)."""
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=151_936,
            hidden_size=896,
            intermediate_size=4864,
            num_hidden_layers=24,
            num_attention_heads=14,
            num_key_value_heads=2,
            max_position_embeddings=2048,
            tie_word_embeddings=True,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )


def _encoder(tokenizer: Any) -> Any:
    """149 M parameters: the shape of ModernBERT-base (Warner et al. 2024, arXiv 2412.13663, table 4)."""
    from transformers import ModernBertConfig, ModernBertModel

    return ModernBertModel(
        ModernBertConfig(
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.cls_token_id,
            cls_token_id=tokenizer.cls_token_id,
            eos_token_id=tokenizer.sep_token_id,
            sep_token_id=tokenizer.sep_token_id,
        )
    )


def write_texts(path: Path, n: int, words: int) -> str:
    """A CSV file of made-up texts of uneven length, about so many words each, with labels.

    Args:
        path: to write to.
        n: rows.
        words: of the middle text; the lengths are log-normal.
    """
    from tunesmith.testing.tiny import tiny_rows

    pool = [word for row in tiny_rows(400) for word in row["text"].split()]
    draw = random.Random(0)
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(("text", "label"))
        for row in range(n):
            size = max(4, min(4 * words, round(draw.lognormvariate(0, 0.6) * words)))
            writer.writerow((" ".join(draw.choices(pool, k=size)), f"label {row % 4}"))
    return str(path)


def measure_case(bench: Bench, case: Case, contenders: Sequence[Contender]) -> list[Record]:
    """All contenders in turn, round after round."""
    arguments = bench.arguments
    model = bench.scratch / case.model
    if not model.is_dir():
        say(f"writing the {case.model}")
        write_model(model, case.model, tiny=arguments.tiny)
    least = case.batch * (arguments.steps + Limits().warm_steps + 2)
    files = {
        "train": write_texts(bench.scratch / "train.csv", max(64, 2 * least), case.length // 4),
        "validation": write_texts(bench.scratch / "validation.csv", 32, case.length // 4),
    }
    runs: dict[str, list[Record]] = {}
    for number in range(1, arguments.rounds + 1):
        say(f"{case.name}, round {number} of {arguments.rounds}")
        for contender in (FACTS, *contenders):
            if number > 1 and contender.name in (FACTS.name, *arguments.once):
                continue
            spec = case_spec(bench, case, contender, model, number) | files
            result = bench.try_to(f"{case.name}, {contender.name}", "_child_stretch.py", spec)
            runs.setdefault(contender.name, []).extend([result] if result else [])
    if not runs[FACTS.name]:
        return []
    facts = facts_record(case.name, runs[FACTS.name])
    facts["per_parameter"] = _flops.ADAPTER if case.lora else _flops.FULL
    return [
        facts,
        *(
            training_record(case.name, case.batch, c.name, c.title, runs[c.name], facts)
            for c in contenders
            if runs[c.name]
        ),
    ]


def case_spec(bench: Bench, case: Case, contender: Contender, model: Path, number: int) -> Record:
    """What a contender is told."""
    options = {**case.options, **contender.options}
    if contender.program == "ours":
        options["recipe"] = {"data.max_length": case.length}
    return {
        "program": contender.program,
        "model": str(model),
        "folder": tempfile.mkdtemp(dir=bench.scratch),
        "task": case.task,
        "batch": case.batch,
        "seed": number,
        "device": bench.arguments.device,
        "options": options,
        # Compiling takes its time before the clock starts.
        "limits": asdict(Limits(steps=bench.arguments.steps, warm_s=120.0, timed_s=30.0)),
    }


def keep(output: Path, records: list[Record]) -> None:
    """Writes the record and the page."""
    facts = about()
    results = output / "results"
    results.mkdir(parents=True, exist_ok=True)
    kept = json.dumps({**facts, "records": records}, indent=1) + "\n"
    (results / f"speed-gpu-{facts['date']}.json").write_text(kept, encoding="utf-8")
    written = page(records, facts, _HEAD)
    (output / "speed-gpu.md").write_text(written, encoding="utf-8")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=30, help="timed steps of a stretch, at most")
    parser.add_argument("--only", nargs="*", default=[], choices=[c.name for c in CONTENDERS], metavar="NAME")
    parser.add_argument("--cases", nargs="*", default=[], choices=[c.name for c in CASES], metavar="CASE")
    parser.add_argument(
        "--once",
        nargs="*",
        default=[],
        metavar="NAME",
        help="contenders of the first round only, such as those that compile",
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="models of a few thousand parameters")
    parser.add_argument("--output", type=Path, default=HERE, help="folder of speed-gpu.md and results/")
    return parser.parse_args()


def main() -> int:
    """Measures, writes record and page."""
    arguments = parse()
    import torch

    if arguments.device == "cuda" and not torch.cuda.is_available():
        say("skipped: the GPU benchmark needs a CUDA device, and torch finds none here")
        return 0
    if arguments.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    wanted = [c for c in CONTENDERS if not arguments.only or c.name in arguments.only]
    contenders = [c for c in wanted if not c.needs or importlib.util.find_spec(c.needs)]
    for contender in wanted:
        if contender not in contenders:
            say(f"left out: {contender.name}: {contender.needs} is not installed")
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(Path(), Path(scratch), Path(), arguments, measure=measure_preloaded)
        cases = TINY_CASES if arguments.tiny else CASES
        cases = tuple(case for case in cases if not arguments.cases or case.name in arguments.cases)
        records: list[Record] = []
        for case in cases:
            records += measure_case(bench, case, contenders)
            keep(arguments.output, records)
    print(page(records, about(), _HEAD))
    return 1 if bench.failed else 0


if __name__ == "__main__":
    sys.exit(main())
