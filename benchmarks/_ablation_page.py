"""From the records of the ablation to its page: no clock and no model in here."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from _page import spread

Record = dict[str, Any]
"""A measurement: `date`, `machine`, `versions`, `steps`, and `rounds` by data set."""

BATCH, EPOCHS, FROZEN_LAYERS = 32, 3, 4
MEASURES = {"step_s": "a training step", "run_s": "the whole run", "text_s": "a prediction"}

PURPOSES = {
    "pooling": "computes the mean over the tokens instead of the stock layer that yields it",
    "encoder": "has a forward and backward pass of its own for BERT's layers, over real tokens only",
    "dropout": "draws dropout masks as bytes",
    "packed_linear": "is for models that write. It packs the weights of large linear layers outside BERT's "
    "encoder while they are not trained, and this model has next to none. `python benchmarks/writing.py` measures "
    "it: from a hidden size of 256, several texts at once are written 1.2 to 1.9 times as fast "
    "(docs/performance.md)",
    "embedding_rows": "trains only those rows of the token table that occur; checkpoints become smaller, too",
    "frozen_cache": f"computes frozen layers once instead of in every epoch; measured with {FROZEN_LAYERS} of 6 "
    "layers frozen",
    "kept_memory": "keeps freed memory for the next tensor (`mallopt`). It gains nothing here. It stays for the "
    "machine on which it did: with the stock layers, a step of 16 rows took 151 instead of 180 ms on an AMD Zen 4 "
    "(one run each, docs/performance.md)",
    "few_spins": "is for a machine that other programs use, too: a step beside a second training takes 354 "
    "instead of 603 ms (docs/performance.md). Alone on the machine, as here, it costs time",
    "few_kernels": "is for memory, not for speed: products of 1,592 shapes leave 138 instead of 900 MB behind "
    "(docs/performance.md)",
    "acceleration": "is `train.acceleration`, the switch of the recipe for the first six together",
}
"""What each trick does or is for, as the page says it after its name."""

_HEAD = f"""# What each trick gains

Each training leaves one trick out. A number says how many times as long that takes as a training with all tricks:
1.25 means that the trick saves a fifth of the time, 1.00 that it saves none, and below 1 it costs time. It is the
median of the rounds, with the lowest and the highest in brackets. It is bold if every round is at least 2 % away
from 1.00, on the same side. All other numbers show no difference.

All trainings: all-MiniLM-L6-v2, {BATCH} rows a step, {EPOCHS} epochs, each in a process of its own. A round begins
and ends with a training that has all tricks; the others are compared with the mean of these two.
"""
_SURE = 0.02


def page(records: Sequence[Record]) -> str:
    """The page of measurements on one machine: how each was made, a table for each data set, and the purposes."""
    parts = [_HEAD, "\n".join(_lines_about(records))]
    for name, rounds in together(records).items():
        parts.append("\n".join(_table(name, rounds)))
    purposes = [
        textwrap.fill(f"- `{name}` {purpose}.", 115, subsequent_indent="  ")
        for name, purpose in PURPOSES.items()
    ]
    parts.append("\n".join(["## What each trick is for", "", *purposes, ""]))
    return "\n".join(parts)


def together(records: Sequence[Record]) -> dict[str, list[list[Record]]]:
    """The rounds of all records, by data set."""
    found: dict[str, list[list[Record]]] = {}
    for record in records:
        for name, rounds in record["rounds"].items():
            found.setdefault(name, []).extend(rounds)
    return found


def difference(records: Sequence[Record]) -> str:
    """What differs between records whose rounds must not be put together; empty if nothing does."""
    first = records[0]
    for name in ("machine", "versions", "steps"):
        if any(record[name] != first[name] for record in records):
            return name
    return ""


def ratios(rounds: Sequence[Sequence[Record]]) -> dict[str, dict[str, list[float]]]:
    """By what is left out and measure: times as long as with all tricks, one number for each round.

    Args:
        rounds: records with `left_out`, `frozen` and the measures.
    """
    found: dict[str, dict[str, list[float]]] = {}
    for records in rounds:
        for record in (r for r in records if r["left_out"]):
            whole = _with_all(records, record["frozen"])
            for name in MEASURES:
                usual = statistics.fmean(r[name] for r in whole)
                found.setdefault(record["left_out"], {}).setdefault(name, []).append(record[name] / usual)
    return found


def _with_all(records: Sequence[Record], frozen: int) -> list[Record]:
    """The trainings of a round that leave nothing out, with so many frozen layers."""
    return [record for record in records if not record["left_out"] and record["frozen"] == frozen]


def _lines_about(records: Sequence[Record]) -> Iterator[str]:
    machine, versions = records[0]["machine"], records[0]["versions"]
    yield (
        f"{machine['processor']}, {machine['threads']} threads; torch {versions['torch']}, transformers "
        f"{versions['transformers']}. Made by:\n"
    )
    for record in records:
        yield f"- `{_command(record)}`, {record['date']}"
    yield ""


def _command(record: Record) -> str:
    """The command that makes such a record."""
    sets = record["rounds"]
    rounds = max(map(len, sets.values()))
    left_out = {r["left_out"] for rounds in sets.values() for records in rounds for r in records} - {""}
    only = [name for name in PURPOSES if name in left_out]
    words = ["python benchmarks/ablation.py", f"--steps {record['steps']}", f"--rounds {rounds}"]
    words.append(f"--sets {' '.join(sets)}")
    return " ".join(words if len(only) == len(PURPOSES) else [*words, f"--only {' '.join(only)}"])


def _table(name: str, rounds: Sequence[Sequence[Record]]) -> Iterator[str]:
    yield f"## {name}\n"
    yield f"| without | {' | '.join(MEASURES.values())} | rounds |"
    yield "|---|---|---|---|---|"
    for left_out, measures in ratios(rounds).items():
        shown = " | ".join(_shown(measures[measure]) for measure in MEASURES)
        yield f"| `{left_out}` | {shown} | {len(measures['step_s'])} |"
    yield f"\nIn one round, the two trainings with all tricks differ by up to {_noise(rounds):.0%} (a step).\n"


def _noise(rounds: Sequence[Sequence[Record]]) -> float:
    """The largest difference between the steps of equal trainings in one round, as a share of the shortest."""
    found = []
    for records in rounds:
        for frozen in {record["frozen"] for record in records}:
            steps = [record["step_s"] for record in _with_all(records, frozen)]
            found.append(max(steps) / min(steps) - 1)
    return max(found)


def _shown(values: Sequence[float]) -> str:
    found = spread(values)
    median = f"{found['median']:.2f}"
    is_sure = found["low"] >= 1 + _SURE or found["high"] <= 1 - _SURE
    return f"{f'**{median}**' if is_sure else median} ({found['low']:.2f}–{found['high']:.2f})"
