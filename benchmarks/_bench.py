"""What the parts of the benchmark share: where things are, a measurement told on one line, who takes part."""

from __future__ import annotations

import argparse
import contextlib
import csv
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

from _children import FailedError, measure
from _page import Record
from _plan import Contender, taking_part

MAIN_SET = "banking77"
EPOCHS, LEARNING_RATE = 3, 1e-4
"""Of the whole trainings; a stretch is the beginning of one."""


@dataclass
class Bench:
    """Where things are while the benchmark runs, and what failed.

    Args:
        data: folder of the data sets.
        scratch: to write to.
        model: folder of the model.
        arguments: of the command line.
        failed: what ended in an error, with its last words.
        measure: how a measurement gets a process of its own.
    """

    data: Path
    scratch: Path
    model: Path
    arguments: argparse.Namespace
    failed: dict[str, str] = field(default_factory=dict)
    measure: Callable[..., Record] = measure

    @property
    def cache(self) -> Path:
        """Of our encodings."""
        return self.scratch / "cache"

    def rows(self, name: str, split: str) -> list[dict[str, str]]:
        """Of a data set."""
        with (self.data / name / f"{split}.csv").open(encoding="utf-8", newline="") as handle:
            return list(csv.DictReader(handle))

    def write(self, name: str, rows: Iterable[dict[str, str]], label: str) -> str:
        """A CSV file with columns `text` and `label`."""
        path = self.scratch / f"{name}.csv"
        with path.open("w", encoding="utf-8", newline="") as handle:
            writer = csv.writer(handle)
            writer.writerow(("text", "label"))
            writer.writerows((row["text"], row[label]) for row in rows)
        return str(path)

    def try_to(self, what: str, script: str, spec: dict[str, Any]) -> Record | None:
        """A measurement, told on one line; None when it failed, now or before."""
        if what in self.failed:
            return None
        began = time.perf_counter()
        try:
            result = self.measure(script, spec, cache=self.cache)
        except FailedError as error:
            self.failed[what] = str(error)
            say(f"  {what}: failed\n{error}")
            return None
        say(f"  {what}: {in_short(result)} ({time.perf_counter() - began:.0f} s in all)")
        return result


def say(text: str) -> None:
    """One line of what is going on, at once."""
    print(text, file=sys.stderr, flush=True)


def about() -> dict[str, Any]:
    """The day, the machine and the versions."""
    from tunesmith.environment import machine, versions

    others = {}
    for package in ("sentence-transformers", "onnxruntime", "flash-attn"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            others[package] = metadata.version(package)
    return {"date": date.today().isoformat(), "machine": machine(), "versions": versions() | others}


def in_short(result: Record) -> str:
    """The main figure of a measurement."""
    if "rates" in result:
        return f"bf16 {result['rates']['bf16'] / 1e9:.0f}, fp32 {result['rates']['fp32'] / 1e9:.0f} GFLOP/s"
    if "tokens_per_s" in result:
        return f"{result['rows_per_s']:.1f} rows/s, {result['tokens_per_s']:.0f} tokens/s"
    if "texts_per_s" in result:
        return f"{result['texts_per_s']:.0f} texts/s, p50 {result['p50_ms']:.1f} ms"
    return f"{result['final']:.4f} after {result['seconds']:.0f} s"


def contenders_of(contenders: Iterable[Contender], only: Sequence[str]) -> list[Contender]:
    """Those that take part; says who does not, and why."""
    taking, absent = taking_part(contenders, only)
    for why in absent:
        say(f"left out: {why}")
    return taking


def base_spec(bench: Bench, contender: Contender, seed: int) -> Record:
    """What a contender is told in any case; its folder is a new one."""
    return {
        "program": contender.program,
        "model": str(bench.model),
        "folder": tempfile.mkdtemp(dir=bench.scratch),
        "epochs": EPOCHS,
        "learning_rate": LEARNING_RATE,
        "seed": seed,
        "options": contender.options,
    }
