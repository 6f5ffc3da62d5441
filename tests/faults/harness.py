"""Real `tunesmith` processes to which a fault comes at the n-th file operation or step.

    with Parent(folder) as parent:
        parent.run(["train", "recipe.yaml"], Fault(at=17))

A trial is a process forked from a parent that has the libraries (`server.py`). What it does to its files passes
through `shim.c`, which counts calls of the C library, so that a place is a number, and the same number is nearly
the same place in every run of one recipe.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

HERE = Path(__file__).parent
HAS_COMPILER = any(os.access(os.path.join(p, "cc"), os.X_OK) for p in os.environ["PATH"].split(os.pathsep))


@dataclass(frozen=True)
class Fault:
    """What happens at one place.

    Args:
        at: number of the call from 0; negative: every call is only written down.
        action: `kill` (before the call), `kill_halfway` (after it, or after half of a write), `kill_all` (with all
            processes of the training), `fail` (`value` is the error number), `fail_from_now_on`, `delay`
            (milliseconds), `corrupt` (a bit of a write), `signal`, `signal_twice` (SIGINT, and SIGTERM `value`
            milliseconds later).
        value: number that the action takes.
        rank: process of the training that counts, and to which it happens.
    """

    at: int = -1
    action: str = "count"
    value: int = 0
    rank: int = 0


@dataclass(frozen=True)
class Place:
    """One call: what was called, on which file (below the folder of the trial) or point, and in which process."""

    number: int
    call: str
    path: str
    rank: int = 0

    @property
    def kind(self) -> str:
        """The place without names that differ from run to run: `write checkpoints/step/model.safetensors`."""
        path = re.sub(r"\.(new-|old-|gone-)?step-\d+", r"\1step", self.path)
        path = re.sub(r"step-\d+", "step", path)
        path = re.sub(r"(trials|untrained)/[a-z]+-\d+", r"\1/trial", path)
        path = re.sub(r"\b[0-9a-f]{64}\b", "ENTRY", path)
        path = re.sub(r"\.tmp\w{6}|\.(new|old)-[^/]*-\d+(?=-)", ".tmp", path)
        where = f" in process {self.rank}" if self.rank else ""
        return f"{self.call} {re.sub(r'[.-][0-9a-f]{8}(?=/|$)', '', path)}{where}"


@dataclass(frozen=True)
class Outcome:
    """How a process ended: its exit code (negative for a signal), what it wrote, and where the fault came.

    With several processes, `code` is that of `torchrun`, and `codes` are those of the processes that it knows.
    """

    code: int
    out: str
    err: str
    places: list[Place] = field(default_factory=list)
    codes: tuple[int, ...] = ()


class Parent:
    """The process from which trials are forked.

    Args:
        folder: folder for the compiled shim.
    """

    def __init__(self, folder: Path) -> None:
        self.shim = folder / "shim.so"
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["cc", "-O1", "-shared", "-fPIC", "-w", str(HERE / "shim.c"), "-o", str(self.shim), "-ldl"],
            check=True,
        )
        environment = {
            **os.environ, "LD_PRELOAD": str(self.shim), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
        }  # fmt: skip
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "server.py"), str(folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)

    def start(
        self,
        folder: Path,
        arguments: Sequence[str],
        fault: Fault | None = None,
        patches: Sequence[str] = (),
        *,
        processes: int = 1,
        **environment: str,
    ) -> int:
        """Starts `tunesmith …` in a folder, with the cache in it; returns the pid.

        Args:
            folder: working folder, below which calls are counted.
            arguments: arguments of the command.
            fault: what happens, and when.
            patches: statements that the process executes first.
            processes: number of processes that `torchrun` starts; one starts without it.
            environment: variables besides those of this process.
        """
        for path in folder.glob(".*"):
            if path.is_file():
                path.unlink()
        how = {
            "folder": str(folder), "processes": processes, "arguments": list(arguments), "patches": list(patches),
            "out": str(folder / ".out"), "err": str(folder / ".err"),
            "environment": {"TUNESMITH_CACHE": str(folder / "cache"), **environment},
        }  # fmt: skip
        if fault is not None:
            how["fault"] = {
                "below": str(folder), "at": fault.at, "action": fault.action, "value": fault.value,
                "rank": fault.rank, "log": str(folder / ".places"),
            }  # fmt: skip
        return int(self._ask({"start": how})["pid"])

    def wait(self, folder: Path, pid: int) -> Outcome:
        """Waits for a process that `start` has started."""
        code = int(self._ask({"wait": pid})["code"])
        texts = {name: _text_of(folder / f".{name}") for name in ("out", "err", "codes")}
        places = [
            place
            for log in sorted(folder.glob(".places-*"))
            for place in _places(_text_of(log), folder, int(log.name.partition("-")[2]))
        ]
        codes = tuple(json.loads(texts["codes"])) if texts["codes"] else (code,)
        return Outcome(code, texts["out"], texts["err"], places, codes)

    def run(
        self,
        folder: Path,
        arguments: Sequence[str],
        fault: Fault | None = None,
        patches: Sequence[str] = (),
        *,
        processes: int = 1,
        **environment: str,
    ) -> Outcome:
        """Runs `tunesmith …` to its end: `start` and `wait`."""
        pid = self.start(folder, arguments, fault, patches, processes=processes, **environment)
        return self.wait(folder, pid)

    def _ask(self, order: Mapping[str, object]) -> dict:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


def _text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _places(text: str, folder: Path, rank: int) -> Iterator[Place]:
    for line in text.splitlines():
        number, call, path = line.split("\t")
        yield Place(int(number), call, path.removeprefix(f"{folder}/"), rank)
