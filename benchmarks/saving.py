"""What checkpoints cost a training, and what a thread that writes them beside the training would gain.

    python benchmarks/saving.py [--rounds 3] [--steps 24] [--every 3]

The embedded model learns the bundled example in three ways, in turn: one checkpoint at the end; one every
few steps, as the loop saves them; one every few steps that a thread writes while the training goes on.
That thread is here only, to be measured: it gets a copy of all tensors, and the next checkpoint waits for it.
Prints the table of docs/performance.md and writes a dated JSON record into benchmarks/results/.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

from _page import spread

import tunesmith
from tunesmith.environment import machine, versions
from tunesmith.run.files import sync
from tunesmith.training import loop, tensor_files
from tunesmith.training.checkpoints import Checkpoints, State

HERE = Path(__file__).parent
RESULTS = HERE / "results"
RECIPE = HERE.parent / "examples" / "support" / "text-classification.yaml"
WAYS = {"end": "one at the end", "loop": "by the loop", "thread": "by a thread beside it"}
COLUMNS = {
    "blocked_s": "the loop waits, per checkpoint",
    "disk_s": "of it for the disk",
    "copy_s": "copying the state",
    "seconds": "all steps",
    "processor_s": "processor time of all steps",
}


@contextmanager
def replaced(owner: Any, name: str, other: Callable[..., Any]) -> Iterator[None]:
    """An attribute of a module or a class has another value meanwhile."""
    before = getattr(owner, name)
    setattr(owner, name, other)
    try:
        yield
    finally:
        setattr(owner, name, before)


class Beside:
    """Writes checkpoints in a thread: at most one at a time, from copies."""

    def __init__(self) -> None:
        self._thread, self._last = ThreadPoolExecutor(1), Future[Any]()
        self._last.set_result(None)
        self.copying: list[float] = []
        self.save = Checkpoints.save

    def begin(self, checkpoints: Checkpoints, state: State, *tensors: dict[str, Any]) -> None:
        """Copies the state, and lets the thread write it; an error of the one before is raised here."""
        self.wait()
        began = time.perf_counter()
        copies = [{name: it.detach().clone() for name, it in group.items()} for group in tensors]
        self.copying.append(time.perf_counter() - began)
        self._last = self._thread.submit(self.save, checkpoints, copy.deepcopy(state), *copies)

    def wait(self) -> None:
        """Waits for the checkpoint that is being written."""
        self._last.result()


def trained(way: str, run: Path, steps: int, every: int) -> dict[str, float]:
    """The seconds of a training's steps, and how long it waited for its checkpoints."""
    waits: list[float] = []
    disk: list[float] = []
    marks: list[tuple[float, float]] = []
    beside, save, step, sync_file = Beside(), Checkpoints.save, loop._Loop._step, sync

    def timed_save(checkpoints: Checkpoints, *given: Any) -> None:
        began = time.perf_counter()
        (beside.begin if way == "thread" else save)(checkpoints, *given)
        waits.append(time.perf_counter() - began)

    def timed_step(self: Any) -> None:
        marks.append((time.perf_counter(), time.process_time()))
        step(self)

    def timed_sync(path: Path) -> None:
        began = time.perf_counter()
        sync_file(path)
        disk.append(time.perf_counter() - began)

    load_best = loop.LoopFiles.load_best

    def end(self: Any, state: State) -> None:
        beside.wait()
        marks.append((time.perf_counter(), time.process_time()))
        load_best(self, state)

    with (
        replaced(Checkpoints, "save", timed_save), replaced(loop._Loop, "_step", timed_step),
        replaced(tensor_files, "sync", timed_sync), replaced(loop.LoopFiles, "load_best", end),
    ):  # fmt: skip
        save_steps = steps if way == "end" else every
        settings = {"max_steps": steps, "eval_steps": steps, "save_steps": save_steps, "head_start": False}
        overrides = {f"train.{key}": value for key, value in settings.items()}
        tunesmith.train(
            str(RECIPE), output_dir=run, progress=False,
            overrides={**overrides, "evaluate.baselines": False, "data.check": "off"},
        )  # fmt: skip
    seconds, processor = (last - first for first, last in zip(marks[0], marks[-1], strict=True))
    return {
        "blocked_s": sum(waits) / len(waits), "disk_s": sum(disk) / len(waits),
        "copy_s": sum(beside.copying) / len(waits), "seconds": seconds, "processor_s": processor,
        "checkpoints": float(len(waits)),
    }  # fmt: skip


def table(runs: list[dict[str, Any]]) -> str:
    """The median of each way, with the lowest and the highest value."""
    lines = [f"| checkpoints | {' | '.join(COLUMNS.values())} |", "|---|" + "--:|" * len(COLUMNS)]
    for way, title in WAYS.items():
        some = [run for run in runs if run["way"] == way]
        cells = []
        for key in COLUMNS:
            found = spread([run[key] for run in some])
            cells.append(f"{found['median']:.2f} s ({found['low']:.2f} to {found['high']:.2f})")
        lines.append(f"| {title} ({some[0]['checkpoints']:.0f}) | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measures, writes the record and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--every", type=int, default=3)
    arguments = parser.parse_args()
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(arguments.rounds):
            for way in WAYS:
                found = trained(way, Path(scratch) / f"{way}-{number}", arguments.steps, arguments.every)
                runs.append({"way": way, **found, "load": os.getloadavg()[0]})
                print(json.dumps(runs[-1]), file=sys.stderr, flush=True)
    today = date.today().isoformat()
    record = {
        "date": today, "machine": machine(), "versions": versions(), "cores": len(os.sched_getaffinity(0)),
        "steps": arguments.steps, "every": arguments.every, "runs": runs,
    }  # fmt: skip
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"saving-{today}.json").write_text(json.dumps(record, indent=2) + "\n")
    print(table(runs))


if __name__ == "__main__":
    main()
