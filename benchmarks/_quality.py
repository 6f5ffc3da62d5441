"""Whole trainings, and how long each takes to the accuracy that `Trainer` with every flag ends with."""

from __future__ import annotations

from collections.abc import Sequence

from _bench import EPOCHS, MAIN_SET, Bench, base_spec, contenders_of, say
from _child_whole import seconds_to
from _page import Record, spread
from _plan import BATCH, DATA, TO_QUALITY, Contender, sample_rows


def measure_quality(bench: Bench) -> list[Record]:
    """Whole trainings: seconds to the accuracy that `Trainer` with every flag ends with."""
    arguments, label = bench.arguments, DATA[MAIN_SET].label
    asked = {"train": arguments.rows, "test": arguments.texts}
    parts = {split: sample_rows(bench.rows(MAIN_SET, split), n, 0)[0] for split, n in asked.items()}
    train, test = (bench.write(f"all-{split}", rows, label) for split, rows in parts.items())
    # The first says what has to be reached, so it always takes part.
    contenders = contenders_of(TO_QUALITY, arguments.only and [TO_QUALITY[0].name, *arguments.only])
    runs: list[list[Record]] = [[] for _ in contenders]
    for number in range(1, arguments.quality_rounds + 1):
        say(f"time to quality, round {number} of {arguments.quality_rounds}: minutes each")
        for contender, found in zip(contenders, runs, strict=True):
            spec = {**base_spec(bench, contender, number), "train": train, "validation": "", "batch": BATCH}
            spec["options"] = {**contender.options, "test": test}
            result = bench.try_to(f"{contender.name} to its end", "_child_whole.py", spec)
            found += [result] if result else []
    return quality_records(contenders, runs)


def quality_records(contenders: Sequence[Contender], runs: Sequence[list[Record]]) -> list[Record]:
    """Of every contender, against what the first of them ended with."""
    if not runs[0]:
        return []
    target = spread([run["final"] for run in runs[0]])["median"]
    records = []
    for contender, found in zip(contenders, runs, strict=True):
        reached = [seconds_to(run["points"], target) for run in found]
        records.append({
            "kind": "quality",
            "data": MAIN_SET,
            "contender": contender.name,
            "title": contender.title,
            "batch": BATCH,
            "epochs": EPOCHS,
            "target": target,
            "seconds_to": spread([s for s in reached if s is not None]) if None not in reached else None,
            "seconds": spread([run["seconds"] for run in found]),
            "final": spread([run["final"] for run in found]),
            "runs": found,
        } if found else {})  # fmt: skip
    return [record for record in records if record]
