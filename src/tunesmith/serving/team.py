"""The worker processes, as the front sees them: who computes what, and what happens when one dies.

The front keeps a request until it is answered. When a worker dies, its requests go once more to another worker or
to the one that is started in its place. A request with which two workers died is refused.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tunesmith.errors import ModelError, TunesmithError, UserError
from tunesmith.serving.asks import Ask
from tunesmith.serving.refused import Refused
from tunesmith.serving.wire import Frames, pack

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

_MOST_DEATHS = 2
_LONGEST_DELAY_S = 30.0
_STOP_S = 5.0

_log = logging.getLogger("tunesmith.serving")


class Worker(asyncio.Protocol):
    """One process, and the requests that it has.

    Args:
        team: told of what happens.
    """

    def __init__(self, team: Team) -> None:
        self.team = team
        self.asks: dict[int, Ask] = {}
        self.load = 0
        self.is_ready = False
        self.process: asyncio.subprocess.Process | None = None
        self._frames = Frames()
        self._transport: Any = None

    async def start(self) -> None:
        """Starts the process and tells it the runs."""
        ours, theirs = socket.socketpair()
        try:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tunesmith.serving.worker", str(theirs.fileno()),
                pass_fds=[theirs.fileno()], stdin=asyncio.subprocess.DEVNULL, env=self.team.environment,
            )  # fmt: skip
        finally:
            theirs.close()
        await asyncio.get_running_loop().create_connection(lambda: self, sock=ours)
        self.send(self.team.config)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        for message in self._frames.feed(data):
            self._heard(message)

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio.Protocol."""
        self.is_ready = False
        self.team.lost(self)

    def send(self, message: JsonObject) -> None:
        """Sends a message to the process."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(pack(message))

    def give(self, ask: Ask) -> None:
        """Gives it a request."""
        self.asks[ask.number] = ask
        self.load += ask.size
        self.send({"id": ask.number, **ask.message, "deadline": ask.deadline})

    def take_back(self, ask: Ask) -> None:
        """Forgets a request for which nobody waits any more."""
        if self.asks.pop(ask.number, None) is not None:
            self.load -= ask.size
            self.send({"id": ask.number, "op": "cancel"})

    def close(self) -> None:
        """Ends the connection, and with it the process."""
        if self._transport is not None:
            self._transport.close()

    def _heard(self, message: JsonObject) -> None:
        if "id" not in message:
            self._heard_news(message)
            return
        ask = self.asks.get(int(message["id"]))
        if ask is None:
            return
        if "delta" in message:
            if ask.deltas is not None:
                ask.is_streaming = True
                ask.deltas.put_nowait(message["delta"])
            return
        del self.asks[ask.number]
        self.load -= ask.size
        if "error" in message:
            ask.refuse(Refused(str(message["error"]), str(message["message"])))
        else:
            ask.answer(message)

    def _heard_news(self, message: JsonObject) -> None:
        if "batch" in message:
            self.team.on_batch(message["batch"])
        elif "ready" in message:
            self.is_ready = True
            self.team.came(self, message["ready"])
        elif "failed" in message:
            failed = message["failed"]
            self.team.failed(UserError(failed["rule"], remedy=failed["remedy"], location=failed["place"]))


class Team:
    """All workers.

    Args:
        runs: name, run and folder of each run.
        n: number of workers.
        on_batch: called with the facts of each batch.
        on_restart: called when a worker is started in place of another.
        is_background: whether the workers leave the cores to other processes.
    """

    def __init__(
        self,
        runs: list[JsonObject],
        n: int,
        on_batch: Callable[[JsonObject], None],
        on_restart: Callable[[], None],
        *,
        is_background: bool = False,
    ) -> None:
        self.config: JsonObject = {"runs": runs, "is_background": is_background}
        self.environment = _environment(n)
        self.on_batch, self._on_restart, self._n = on_batch, on_restart, n
        self.workers: list[Worker] = []
        self.facts: asyncio.Future[list[JsonObject]] | None = None
        self.is_complete = asyncio.Event()
        """Whether all workers were ready at one moment."""
        self._parked: list[Ask] = []
        self._failures = 0
        self._is_stopping = False
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def n_ready(self) -> int:
        """Number of workers that can compute."""
        return sum(worker.is_ready for worker in self.workers)

    async def start(self) -> list[JsonObject]:
        """Starts all workers, and gives the facts of the runs as soon as one has loaded them.

        Raises:
            UserError: a run cannot be loaded.
        """
        self.facts = asyncio.get_running_loop().create_future()
        await asyncio.gather(*(self._start_one() for _ in range(self._n)))
        return await self.facts

    async def _start_one(self) -> None:
        worker = Worker(self)
        self.workers.append(worker)
        await worker.start()

    def submit(self, ask: Ask) -> None:
        """Gives a request to the worker with the fewest inputs; without one, it waits for the next."""
        ready = [worker for worker in self.workers if worker.is_ready]
        if ready:
            min(ready, key=lambda worker: worker.load).give(ask)
        else:
            self._parked.append(ask)

    def withdraw(self, ask: Ask) -> None:
        """Forgets a request for which nobody waits any more."""
        for worker in self.workers:
            worker.take_back(ask)
        if ask in self._parked:
            self._parked.remove(ask)

    def came(self, worker: Worker, facts: list[JsonObject]) -> None:
        """A worker is ready."""
        self._failures = 0
        if self.facts is not None and not self.facts.done():
            self.facts.set_result(facts)
        if self.n_ready >= self._n:
            self.is_complete.set()
        parked, self._parked = self._parked, []
        for ask in parked:
            self.submit(ask)

    def failed(self, error: TunesmithError) -> None:
        """A worker says that it cannot load the runs."""
        if self.facts is not None and not self.facts.done():
            self.facts.set_exception(error)
        else:
            _log.error("a worker cannot load the runs: %s", error)

    def lost(self, worker: Worker) -> None:
        """A worker is gone: its requests go to others, and a new one is started."""
        if worker in self.workers:
            self.workers.remove(worker)
        asks, worker.asks = list(worker.asks.values()), {}
        self._later(self._reap(worker))
        if self._is_stopping:
            for ask in asks:
                ask.refuse(Refused("unavailable", "the server stops"))
            return
        if self.facts is not None and not self.facts.done():
            self.facts.set_exception(
                ModelError("a worker process ended while it loaded the runs.", remedy="Its messages say why.")
            )
            return
        _log.error("a worker ended; %d of its requests are tried again", len(asks))
        self._again(asks)
        self._failures += 1
        self._later(self._restart())

    def _again(self, asks: list[Ask]) -> None:
        for ask in asks:
            ask.deaths += 1
            if ask.deaths >= _MOST_DEATHS:
                ask.refuse(Refused("unavailable", "two workers ended while they computed this request"))
            elif ask.is_streaming:
                ask.refuse(Refused("unavailable", "the worker ended while it wrote"))
            else:
                self.submit(ask)

    async def _restart(self) -> None:
        await asyncio.sleep(0 if self._failures <= 1 else min(2.0 ** (self._failures - 2), _LONGEST_DELAY_S))
        if not self._is_stopping:
            self._on_restart()
            await self._start_one()

    async def _reap(self, worker: Worker) -> None:
        """Waits for the process, which ends with its connection."""
        if worker.process is None:
            return
        try:
            await asyncio.wait_for(worker.process.wait(), _STOP_S)
        except TimeoutError:
            worker.process.kill()
            await worker.process.wait()

    def _later(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Ends all workers, and refuses what they have not answered."""
        self._is_stopping = True
        for ask in self._parked:
            ask.refuse(Refused("unavailable", "the server stops"))
        for worker in list(self.workers):
            worker.close()
        while self._tasks or self.workers:
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await asyncio.sleep(0)


def _environment(workers: int) -> dict[str, str]:
    """Variables of a worker: several share the cores that this process may use, unless the user divides them."""
    if workers == 1 or "OMP_NUM_THREADS" in os.environ:
        return dict(os.environ)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {**os.environ, "OMP_NUM_THREADS": str(max(cores // workers, 1))}
