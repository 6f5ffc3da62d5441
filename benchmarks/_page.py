"""From measurements to records, and from records to the page: no clock and no model in here."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import _flops

Record = dict[str, Any]
FAST = ("trainer-fast-eager", "trainer-fast-sdpa")
"""One contender for the reader: `Trainer` with the attention that was faster."""
_REFERENCE_BATCH = 16

HEAD = """# Speed

Made by `python benchmarks/speed.py` (docs/performance.md says how to run and read it). The same model
(all-MiniLM-L6-v2, 22.7 M parameters), rows, epochs, batch and learning rate for all; every measurement in a
process of its own, all interleaved in rounds; medians, and in brackets the lowest and highest.
"""
_TRAINING = """\
`rows/s`: real tokens a second by the mean tokens of a row, so that nobody gains from having met short rows.
`padding`: share of the tokens in a batch that are padding; `computed`: the same, of what is really multiplied.
`MFU`: operations that real tokens need, by the bf16 rate of matrix products measured in the same rounds
({bf16:.0f} GFLOP/s; fp32 {fp32:.0f}). `memory`: the most that the process held.
"""
_QUALITY = """\
Seconds from rows and model in memory until the accuracy on the test rows that `Trainer` with every flag ends
with (**{target:.4f}**) was first reached; encoding, probe and head start count, scoring test rows does not.
`points` are the moments at which the model was scored.
"""
_INFERENCE = """\
The probe's run on banking77, {n} texts, strings in and labels out. Latency: one text at a time. `same`: share of
texts with the label that the pipeline gives in float32.
"""


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, lowest and highest."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def key_of(record: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a newer record of the same replaces."""
    return tuple(record.get(name, "") for name in ("kind", "data", "batch", "contender"))


def merged(old: Iterable[Record], new: Iterable[Record]) -> list[Record]:
    """Records, the newest of each key, in the order in which their keys first came."""
    return list({key_of(record): record for record in (*old, *new)}.values())


def training_record(
    data: str, batch: int, contender: str, title: str, runs: list[Record], facts: Mapping[str, Any]
) -> Record:
    """One line of the table of training.

    Args:
        data: name of the data set.
        batch: rows of a step; 0 where the contender chose.
        contender: its name.
        title: the same in words.
        runs: results of its stretches.
        facts: of model, rows and machine: `facts_record`.
    """
    operations = _flops.flops_per_token(
        facts["matrix_parameters"],
        facts["layers"],
        facts["width"],
        facts["context_tokens"],
        facts.get("per_parameter", _flops.FULL),
    )
    tokens = spread([run["tokens_per_s"] for run in runs])
    return {
        "kind": "training",
        "data": data,
        "batch": batch,
        "contender": contender,
        "title": title,
        "tokens_per_s": tokens,
        "rows_per_s": {name: value / facts["mean_tokens"] for name, value in tokens.items()},
        "mfu": {name: value * operations / facts["rates"]["bf16"] for name, value in tokens.items()},
        **{
            name: spread([run[name] for run in runs])
            for name in ("padding", "padding_computed", "rows_per_step", "peak_bytes")
        },
        "runs": runs,
    }


def facts_record(data: str, runs: list[Record]) -> Record:
    """Facts of a data set and the machine; the rates are the best of all rounds."""
    rates = {name: max(run["rates"][name] for run in runs) for name in runs[0]["rates"]}
    return {**runs[0], "kind": "facts", "data": data, "rates": rates, "runs": [run["rates"] for run in runs]}


def page(records: Sequence[Record], about: Mapping[str, Any], head: str = HEAD) -> str:
    """The whole page.

    Args:
        records: of all kinds.
        about: `date`, `machine` and `versions`.
        head: title and introduction.
    """
    machine, versions = about["machine"], about["versions"]
    where = machine["processor"] if machine["device"] == "cpu" else machine["device"]
    named = (
        f"{where}, {machine['cores']} cores, {machine['threads']} threads; torch {versions['torch']}, "
        f"transformers {versions['transformers']}, tunesmith {versions['tunesmith']}; {about['date']}.\n"
    )
    parts = [head, named, _training(records), _time_to_quality(records), _inference(records)]
    return "\n".join(part for part in parts if part)


def _of(records: Iterable[Record], kind: str) -> list[Record]:
    return [record for record in records if record["kind"] == kind]


def _training(records: Sequence[Record]) -> str:
    facts = {record["data"]: record for record in _of(records, "facts")}
    if not facts:
        return ""
    rates = [record["rates"] for record in facts.values()]
    text = ["## Training\n"]
    text.append(_TRAINING.format(**{name: max(r[name] for r in rates) / 1e9 for name in ("bf16", "fp32")}))
    for data, fact in facts.items():
        lines = shown([r for r in _of(records, "training") if r["data"] == data])
        if lines:
            text.append(f"### {data}: {fact['mean_tokens']:.1f} tokens a row\n")
            text.append(_training_table(lines))
    return "\n".join(text)


def shown(lines: list[Record]) -> list[Record]:
    """By batch, `Trainer` with every flag once, with the attention that was faster."""
    kept = []
    for line in sorted(lines, key=lambda r: (r["batch"] == 0, r["batch"])):
        rivals = [r for r in lines if r["batch"] == line["batch"] and r["contender"] in FAST]
        if line["contender"] not in FAST or line is max(rivals, key=lambda r: r["rows_per_s"]["median"]):
            kept.append(line)
    return kept


def reference(lines: Sequence[Record], batch: int) -> float | None:
    """Rows a second of the fastest `Trainer` at this batch; for a batch that is chosen, at 16."""
    rates = [
        line["rows_per_s"]["median"]
        for line in lines
        if line["contender"].startswith("trainer") and line["batch"] == (batch or _REFERENCE_BATCH)
    ]
    return max(rates, default=None)


def _training_table(lines: list[Record]) -> str:
    text = [
        "| batch | program | rows/s | by the fastest Trainer | tokens/s | padding | computed | MFU | memory |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for line in lines:
        rate = reference(lines, line["batch"])
        times = f"{line['rows_per_s']['median'] / rate:.2f}×" if rate else "–"
        batch = line["batch"] or f"{line['rows_per_step']['median']:.0f} (auto)"
        text.append(
            f"| {batch} | {line['title']} | {_ranged(line['rows_per_s'])} | {times} "
            f"| {line['tokens_per_s']['median']:,.0f} | {_share(line['padding'])} "
            f"| {_share(line['padding_computed'])} | {_share(line['mfu'])} "
            f"| {line['peak_bytes']['median'] / 2**30:.2f} GiB |"
        )
    return "\n".join(text) + "\n"


def _share(value: Mapping[str, float]) -> str:
    return f"{100 * value['median']:.0f} %"


def _ranged(value: Mapping[str, float]) -> str:
    digits = 1 if value["median"] < 100 else 0
    return f"**{value['median']:.{digits}f}** ({value['low']:.{digits}f}–{value['high']:.{digits}f})"


def _time_to_quality(records: Sequence[Record]) -> str:
    lines = _of(records, "quality")
    if not lines:
        return ""
    text = [
        "## Time to quality\n",
        f"{lines[0]['data']}, {lines[0]['epochs']} epochs, batch {lines[0]['batch']}.\n",
        _QUALITY.format(target=lines[0]["target"]),
        "| program | seconds to it | seconds of training | ends with | points |",
        "|---|---|---|---|---|",
    ]
    for line in lines:
        found = line["seconds_to"]
        reached = f"**{found['median']:.0f}** ({found['low']:.0f}–{found['high']:.0f})" if found else "never"
        text.append(
            f"| {line['title']} | {reached} | {line['seconds']['median']:.0f} "
            f"| {line['final']['median']:.4f} | {len(line['runs'][0]['points'])} |"
        )
    return "\n".join(text) + "\n"


def _inference(records: Sequence[Record]) -> str:
    lines, starts = _of(records, "inference"), _of(records, "cold-start")
    if not lines:
        return ""
    text = [
        "## Inference\n",
        _INFERENCE.format(n=lines[0]["n"]),
        "| program | texts/s | p50 | p99 | memory | same |",
        "|---|---|---|---|---|---|",
    ]
    text += [
        f"| {line['title']} | {_ranged(line['texts_per_s'])} | {line['p50_ms']['median']:.1f} ms "
        f"| {line['p99_ms']['median']:.1f} ms | {line['peak_bytes']['median'] / 2**30:.2f} GiB "
        f"| {'–' if line['same'] is None else format(line['same'], '.4f')} |"
        for line in lines
    ]
    if starts:
        start = starts[0]
        text.append(
            f"\nOne text from a cold start: `tunesmith predict` {_ranged(start['ours_s'])} s, a script written by "
            f"hand (torch, transformers, load, one pass) {_ranged(start['script_s'])} s: "
            f"{start['ours_s']['median'] / start['script_s']['median']:.2f} times as long."
        )
    return "\n".join(text) + "\n"
