"""Training: stretches of steps, all contenders in turn, round after round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from _bench import Bench, base_spec, contenders_of, say
from _page import Record, facts_record, training_record
from _plan import BATCH, CONTENDERS, DATA, FACTS, Cell, cells, sample_rows
from _stretch import Limits

_ROWS, _VALIDATION_ROWS = 4096, 256


def measure_training(bench: Bench) -> list[Record]:
    """Stretches of training, all contenders in turn, round after round."""
    arguments = bench.arguments
    todo = list(cells(arguments.sets, arguments.batch, contenders_of(CONTENDERS, arguments.only)))
    sets = list(dict.fromkeys(cell.data for cell in todo))
    todo = [*(Cell(data, BATCH, FACTS) for data in sets), *todo]
    files = {data: stretch_files(bench, data) for data in sets}
    runs: list[list[Record]] = [[] for _ in todo]
    for number in range(1, arguments.rounds + 1):
        say(f"training, round {number} of {arguments.rounds}")
        for cell, found in zip(todo, runs, strict=True):
            spec = stretch_spec(bench, cell, files[cell.data], number)
            result = bench.try_to(str(cell), "_child_stretch.py", spec)
            found += [result] if result else []
    return training_records(todo, runs)


def training_records(todo: Sequence[Cell], runs: Sequence[list[Record]]) -> list[Record]:
    """Of every cell that was measured, and the facts of its data set."""
    measured = [(cell, found) for cell, found in zip(todo, runs, strict=True) if found]
    facts = {cell.data: facts_record(cell.data, found) for cell, found in measured if cell.contender is FACTS}
    for name in ("bf16", "fp32"):  # the machine is one, whatever it was measured beside
        best = max((fact["rates"][name] for fact in facts.values()), default=0.0)
        facts = {data: {**fact, "rates": {**fact["rates"], name: best}} for data, fact in facts.items()}
    return [*facts.values()] + [
        training_record(
            cell.data, cell.batch, cell.contender.name, cell.contender.title, found, facts[cell.data]
        )
        for cell, found in measured
        if cell.contender is not FACTS and cell.data in facts
    ]


def stretch_files(bench: Bench, data: str) -> dict[str, str]:
    """The same random rows for every contender."""
    parts = sample_rows(bench.rows(data, "train"), bench.arguments.rows or _ROWS, _VALIDATION_ROWS)
    return {
        split: bench.write(f"{data}-{split}", rows, DATA[data].label)
        for split, rows in zip(("train", "validation"), parts, strict=True)
    }


def stretch_spec(bench: Bench, cell: Cell, files: dict[str, str], number: int) -> Record:
    """What a contender is told; the round's number is its seed."""
    return {
        **base_spec(bench, cell.contender, number),
        **files,
        "batch": cell.batch,
        "limits": asdict(Limits(steps=bench.arguments.steps, timed_s=bench.arguments.seconds)),
    }
