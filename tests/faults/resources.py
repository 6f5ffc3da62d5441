"""Memory that runs out, and processes that hang: what real trainings do, and what they end with.

    python tests/faults/resources.py [--page docs/reliability.md]

- The allocator of torch fails in the first step, in a later one, in the second of two processes, in an evaluation.
  The weights must be those of the smaller forward passes from the start: identical if it is the first step or an
  evaluation, else to 1e-4.
- The kernel kills a process, or one of two, because its control group has no more memory (needs the right to make
  one). The next start must halve the forward passes, and end with the weights of the smaller ones to 1e-4.
- One process, or the second of two, hangs in a step. All must end with 75, with their stacks, and resume exactly.

The model has no dropout, whose masks depend on the passes. The exit code is 1 if something was otherwise.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

sys.path.insert(0, str(Path(__file__).parent))

from cases import parser_of, work_off
from harness import Fault, Parent
from kills import Subject, fresh, subject
from recipes import write_recipe
from safetensors.numpy import load_file
from sameness import differences

from tunesmith.models.out_of_memory import killed_since, kills_for_memory
from tunesmith.testing.tiny import write_tiny_model

BEGIN, END = "<!-- resources: begin -->", "<!-- resources: end -->"
_MOST = 48
"""Tokens of a forward pass above which the memory ends; a batch of 8 texts has about twice as many."""
_NEARLY = 1e-4
_PASSES = """
import torch
from tunesmith.training.objective import Objective
really = Objective.__call__
def failing(self, batch, step, part):
    if step >= FIRST and batch["input_ids"].numel() > MOST:
        torch.empty(2**55)  # the allocator's own error
    return really(self, batch, step, part)
Objective.__call__ = failing
"""
_IN_THE_SECOND = 'if __import__("os").environ["RANK"] == "1" and step'
_EVALUATION = """
import os
import torch
from tunesmith.inference import forward
really = forward.collate
def failing(encoded, **how):
    if len(encoded) > 3:
        os.write(2, b"the memory ran out in an evaluation\\n")
        torch.empty(2**55)
    return really(encoded, **how)
forward.collate = failing
"""
_FULL_GROUP = """
import os
from tunesmith.training.loop import _Loop
really = _Loop._step
if os.environ.get("RANK", "0") == "RANK_THAT_IS_KILLED":
    with open("GROUP/cgroup.procs", "w") as processes:
        processes.write(str(os.getpid()))
    def taking(self):
        really(self)
        if self.state.step == 5:
            self.taken = [bytearray(2**25) for _ in range(32)]
    _Loop._step = taking
"""
_IN_WORDS = {"the memory ends in evaluations": "nothing: a batch is computed in two halves"}
_SHORT_PATIENCE = "import tunesmith.training.heartbeat as h; h.Heartbeat.__init__.__defaults__ = (2.0, 0)"
_GROUP_BYTES = 400 * 2**20


@dataclass(frozen=True)
class Case:
    """What happened, what the command said, how far the weights are from those expected, and what was wrong."""

    cause: str
    said: str
    difference: float
    problem: str


def distance(one: Path, other: Path) -> float:
    """The largest difference between the weights of two runs."""
    a, b = (load_file(run / "run" / "model" / "model.safetensors") for run in (one, other))
    if a.keys() != b.keys():
        return float("inf")
    return max(float(np.abs(a[name].astype(np.float64) - b[name]).max()) for name in a)


def used_tokens(folder: Path) -> int:
    """The most tokens of a forward pass, by the recipe of a run."""
    recipe = yaml.safe_load((folder / "run" / "recipe.yaml").read_text(encoding="utf-8"))
    return int(recipe["train"]["tokens_per_micro_batch"])


class Bench:
    """A training without dropout, alone or in two processes, and where its trials lie."""

    def __init__(self, parent: Parent, base: Path) -> None:
        self.parent, self.base = parent, base
        write_recipe("full", base)
        model = write_tiny_model(base / "still", dropout=0.0)
        self.settings = [f"model={model}", "train.bf16=false"]

    def found(self, name: str) -> Subject:
        """A recipe, and its run that was left alone."""
        return subject(self.parent, self.base, name)

    def smaller(self, command: Sequence[str], processes: int, tokens: int) -> Path:
        """The same training with smaller forward passes from the start."""
        folder = fresh(self.base / "smaller")
        given = [*command, f"train.tokens_per_micro_batch={tokens}"]
        assert self.parent.run(folder, given, processes=processes).code == 0
        return folder

    def memory_ends(self, cause: str, patch: str, most: float, name: str = "full") -> Case:
        """A training in which the allocator fails."""
        found, trial, calm = self.found(name), fresh(self.base / "trial"), fresh(self.base / "calm" / "still")
        command, n = [*found.command, *self.settings], found.processes
        assert self.parent.run(calm, command, processes=n).code == 0
        outcome = self.parent.run(trial, command, patches=[patch], processes=n)
        said = next((line.strip(" !") for line in outcome.err.splitlines() if "ran out" in line), "")
        if outcome.code or not said:
            return Case(cause, said, float("inf"), f"ended with {outcome.code}: {outcome.err[-400:]}")
        whole, now = used_tokens(calm), used_tokens(trial)
        expected = self.smaller(command, n, now) if now < whole else calm
        apart = distance(trial, expected)
        is_halved = now < whole if patch is not _EVALUATION else now == whole
        problem = "" if apart <= most else f"the weights differ by {apart:.1e}"
        return Case(cause, said, apart, problem if is_halved else f"passes of {now} tokens, {whole} before")

    def killed(self, name: str, group: Path) -> Case:
        """A training of which the kernel kills the last process, in a control group that is full."""
        found = self.found(name)
        command, n = [*found.command, *self.settings], found.processes
        rank = str(n - 1)
        patch = _FULL_GROUP.replace("GROUP", str(group)).replace("RANK_THAT_IS_KILLED", rank)
        trial = fresh(self.base / "trial")
        counted = kills_for_memory()
        first = self.parent.run(trial, command, patches=[patch], processes=n)
        cause = "the kernel kills the process" if n == 1 else "the kernel kills one of two processes"
        if not first.code or not killed_since(counted):
            return Case(cause, "", float("inf"), f"ended with {first.codes} instead of being killed")
        before = used_tokens(trial)
        last = self.parent.run(trial, command, processes=n)
        said = next((line.strip(" !") for line in last.err.splitlines() if "lack of memory" in line), "")
        if last.code or not said:
            return Case(cause, said, float("inf"), f"then ended with {last.code}: {last.err[-400:]}")
        now = used_tokens(trial)
        apart = distance(trial, self.smaller(command, n, now))
        problem = "" if apart <= _NEARLY else f"the weights differ by {apart:.1e}"
        return Case(
            cause, said, apart, problem if now < before else f"passes of {now} tokens, {before} before"
        )

    def hangs(self, name: str) -> Case:
        """A training whose last process hangs in a step, by a system call that takes a minute."""
        found, trial = self.found(name), fresh(self.base / "trial")
        n, rank = found.processes, found.processes - 1
        steps = [p for p in found.places if p.rank == rank and p.kind.startswith("point step begins")]
        fault = Fault(steps[6].number, "delay", 60_000, rank)
        outcome = self.parent.run(
            trial, found.command, fault, [_SHORT_PATIENCE], processes=n, TUNESMITH_STALL_S="2"
        )
        cause = "the process hangs" if n == 1 else "the second of two processes hangs"
        stacks = trial / "run" / ("stalled.txt" if not rank else f"stalled-{rank}.txt")
        if set(outcome.codes) != {75} or "nothing has happened for 2 s" not in _said_by_all(
            trial, outcome.err
        ):
            return Case(cause, "", 0.0, f"ended with {outcome.codes}: {outcome.err[-500:]}")
        if not stacks.is_file() or "in marked" not in stacks.read_text():
            return Case(cause, "", 0.0, f"the stack is not in {stacks.name}")
        for file in (trial / "run").glob("stalled*.txt"):
            file.unlink()
        last = self.parent.run(trial, found.command, processes=n)
        problem = f"then ended with {last.code}: {last.err[-400:]}" if last.code else ""
        problem = problem or "; ".join(differences(found.calm, trial / "run", with_checkpoint_lines=False))
        return Case(cause, "nothing has happened for 2 s", 0.0, problem)


def _said_by_all(folder: Path, err: str) -> str:
    """What processes have written, also past Python."""
    file = folder / ".torchrun"
    return err + (file.read_text(errors="replace") if file.is_file() else "")


@contextlib.contextmanager
def small_group() -> Iterator[Path | None]:
    """A control group with little memory; None where this process may not make one."""
    for root, limit in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
        group = Path(root) / f"tunesmith-faults-{Path(tempfile.mkdtemp()).name}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / limit).write_text(str(_GROUP_BYTES))
        except OSError:
            group.rmdir()
            continue
        try:
            yield group
        finally:
            group.rmdir()
        return
    yield None


def cases(base: Path) -> Iterator[Case]:
    """All causes, in one process and in two."""
    with Parent(base) as parent:
        bench = Bench(parent, base)
        passes = _PASSES.replace("MOST", str(_MOST))
        yield bench.memory_ends("the memory ends in the first step", passes.replace("FIRST", "0"), 0.0)
        yield bench.memory_ends("the memory ends in step 7", passes.replace("FIRST", "6"), _NEARLY)
        of_one = passes.replace("FIRST", "6").replace(str(_MOST), "24").replace("if step", _IN_THE_SECOND)
        cause = "the memory of the second of two processes ends in step 7"
        yield bench.memory_ends(cause, of_one, _NEARLY, "two processes")
        yield bench.memory_ends("the memory ends in evaluations", _EVALUATION, 0.0)
        with small_group() as group:
            for name in ("full", "two processes") if group else ():
                yield bench.killed(name, group)
        for name in ("full", "two processes"):
            yield bench.hangs(name)


def table(found: Sequence[Case]) -> str:
    """The table of the page: a line for each cause."""
    lines = [
        "| cause | what tunesmith says | largest difference of a weight | as it must be |",
        "|---|---|--:|---|",
    ]
    for case in found:
        apart = f"{case.difference:.1e}" if case.difference else "0"
        said, good = _IN_WORDS.get(case.cause, case.said), "no" if case.problem else "yes"
        lines.append(f"| {case.cause} | {said} | {apart} | {good} |")
    return "\n".join(lines)


def main() -> None:
    """The command line."""
    line = "{0.cause}: {0.said} ({0.difference:.1e})".format
    work_off(parser_of(__doc__).parse_args(), cases, line, table, (BEGIN, END))


if __name__ == "__main__":
    main()
