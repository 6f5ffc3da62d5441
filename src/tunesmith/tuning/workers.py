"""Processes that run trials beside the first one, each on cores of its own.

A worker ends when the process that started it ends, however that ends: at its next step, with everything saved.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING

from tunesmith.errors import RecipeError, TunesmithError
from tunesmith.tuning.folder import SearchFolder

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

_SECONDS_TO_END = 60


def cores_of(workers: int) -> list[tuple[int, ...]]:
    """The cores of each worker: those of this process, divided evenly.

    Raises:
        RecipeError: there are fewer cores than workers.
    """
    own = sorted(os.sched_getaffinity(0))
    if not 1 <= workers <= len(own):
        raise RecipeError(
            f"the number of workers must be between 1 and {len(own)}, the cores of this process, got {workers}.",
            remedy="Give a smaller number; each worker trains on cores of its own.",
        )
    return [tuple(own[worker::workers]) for worker in range(workers)]


@contextmanager
def use_cores(cores: Sequence[int]) -> Iterator[None]:
    """This process on some cores only, while it lasts."""
    import torch

    before, threads = os.sched_getaffinity(0), torch.get_num_threads()
    if len(cores) == len(before):
        yield
        return
    os.sched_setaffinity(0, cores)
    torch.set_num_threads(len(cores))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
        torch.set_num_threads(threads)


def _search_path() -> str:
    """Where this process finds modules."""
    return os.pathsep.join(filter(None, sys.path))


class Workers:
    """Processes that join the search of this one.

    Args:
        folder: folder of the search.
        cores: cores of each process.
        request: what the processes read from their standard input, so that no password is on disk.
    """

    def __init__(self, folder: SearchFolder, cores: Sequence[Sequence[int]], request: JsonObject) -> None:
        self._folder, self._cores, self._request = folder, cores, request
        self._processes: list[subprocess.Popen[bytes]] = []
        self._logs: list[IO[bytes]] = []

    def start(self) -> None:
        """Starts the processes; each writes what it says into a file of the search's folder."""
        for number, cores in enumerate(self._cores, start=1):
            log = (self._folder.path / f"worker-{number}.log").open("wb")
            self._logs.append(log)
            command = [sys.executable, "-m", "tunesmith.tuning.joining", str(self._folder.path)]
            process = subprocess.Popen(
                [*command, ",".join(map(str, cores))],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**os.environ, "OMP_NUM_THREADS": str(len(cores)), "PYTHONPATH": _search_path()},
            )
            self._processes.append(process)
            assert process.stdin is not None
            with process.stdin as pipe:
                pipe.write(json.dumps(self._request).encode())

    def check(self) -> None:
        """Raises TunesmithError if a process has ended with an error: its trials would be missing."""
        for number, process in enumerate(self._processes, start=1):
            if process.poll():
                log = self._folder.path / f"worker-{number}.log"
                raise TunesmithError(
                    f"worker {number} of the search ended with exit code {process.returncode}.",
                    remedy=f"`{log}` says why. The same command resumes the search.",
                )

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stops the processes: they save what they have."""
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self._processes:
            try:
                process.wait(_SECONDS_TO_END)
            except subprocess.TimeoutExpired:
                process.kill()
        for log in self._logs:
            log.close()
            if kind is None:
                Path(log.name).unlink(missing_ok=True)
