"""What the routes ask: the runs, and their answers. Bounds, deadlines and clients that leave are seen to here."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any

from tunesmith.serving.asks import Admission, Answered, Ask, Receive
from tunesmith.serving.challengers import Challengers
from tunesmith.serving.deployment import Deployments
from tunesmith.serving.following import Follower
from tunesmith.serving.metrics import Metrics
from tunesmith.serving.refused import Refused

if TYPE_CHECKING:
    from tunesmith.monitoring.prediction_log import PredictionLog
    from tunesmith.serving.keys import Keys
    from tunesmith.serving.settings import Settings
    from tunesmith.types import JsonObject

_SWEEP_S = 0.05
_WATCHED_AFTER_S = 0.1
"""Most requests are answered sooner; only for others it is worth watching whether the client left."""


class Service:
    """Answers requests with worker processes.

    Args:
        settings: limits.
        runs: each run, from `open_runs`.
        keys: who may ask; None for everybody.
        version: version of tunesmith.
    """

    def __init__(self, settings: Settings, runs: list[JsonObject], keys: Keys | None, version: str) -> None:
        self.settings, self.keys, self.version = settings, keys, version
        self.metrics = Metrics()
        self.admission = Admission(settings)
        self.listeners: list[Callable[[Answered], None]] = []
        self.log: PredictionLog | None = None
        self.is_draining = False
        self.n_bytes_read = 0
        """Bytes of bodies that are not whole yet."""
        self._numbers = itertools.count(1)
        self._asks: dict[int, Ask] = {}
        self._opened = runs
        self._tasks: list[asyncio.Task[None]] = []
        self.deployments = Deployments(settings.workers, self._measured, self.metrics.restarts.inc)
        self.challengers = Challengers(self.deployments, self.metrics, settings)

    @property
    def is_ready(self) -> bool:
        """Whether requests are taken and can be computed."""
        return bool(self.deployments.n_ready) and not self.is_draining

    @property
    def runs(self) -> dict[str, JsonObject]:
        """The facts of each run, by the name under which it answers."""
        return self.deployments.answering

    @property
    def first_run(self) -> JsonObject:
        """The run that answers where none is named."""
        return self.deployments.first

    async def start(self) -> None:
        """Starts the workers, and follows the registries.

        Raises:
            UserError: a run cannot be loaded, or a challenger is for another task.
        """
        try:
            await self.deployments.start(self._opened)
            if shadow := await self.challengers.start(self.log):
                self.listeners.append(shadow)
        except BaseException:
            await self.deployments.stop()
            raise
        followers = [self._follower(name).follow() for name, run in self.runs.items() if run["registry"]]
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(work) for work in (self._sweep(), *followers)]

    def _follower(self, name: str) -> Follower:
        return Follower(
            self.deployments, self.metrics, name, self.settings.engine, self.challengers.champion_is
        )

    async def stop(self) -> None:
        """Ends the workers."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.challengers.stop()
        await self.deployments.stop()

    # ---- one request ----

    def refuse_when_full(self) -> None:
        """Raises Refused where no request has room."""
        try:
            self.admission.refuse_when_full(self.deployments.n_ready)
        except Refused:
            self.metrics.rejected.inc()
            raise

    async def ask(self, run: JsonObject, operation: str, rows: list[Any], **how: Any) -> JsonObject:
        """What a worker says to a request: `answers`, `queued_s`, `worked_s`.

        Args:
            run: facts of the run.
            operation: `answer`, `embed`, `tokenize` or `write`.
            rows: inputs.
            **how: see `_enter`.

        Raises:
            Refused: there is no answer.
        """
        ask = self._enter(run, operation, rows, **how)
        try:
            return await ask.answered
        finally:
            self._leave(ask)

    @contextlib.asynccontextmanager
    async def stream(
        self, run: JsonObject, rows: list[Any], **how: Any
    ) -> AsyncIterator[tuple[AsyncIterator[str], asyncio.Future[JsonObject]]]:
        """The parts of a text as they are written, and what the worker says at the end.

        Raises:
            Refused: the request is not taken.
        """
        how["message"] = {**how.get("message", {}), "streams": True}
        ask = self._enter(run, "write", rows, **how)
        ask.deltas = asyncio.Queue()
        try:
            yield _parts(ask), ask.answered
        finally:
            self._leave(ask)

    def _enter(
        self,
        run: JsonObject,
        operation: str,
        rows: list[Any],
        *,
        n_bytes: int,
        timeout_s: float | None = None,
        receive: Receive | None = None,
        message: Mapping[str, Any] | None = None,
    ) -> Ask:
        now, most = time.monotonic(), self.settings.timeout_s
        deployment = self.deployments.of(run)
        ask = Ask(
            next(self._numbers),
            {**(message or {}), "op": operation, "run": run["name"], "rows": rows},
            n_bytes,
            now + (most if timeout_s is None else min(timeout_s, most)),
            asyncio.get_running_loop().create_future(),
            deployment,
            receive,
        )
        try:
            self.admission.enter(ask, max(deployment.team.n_ready, 1))
        except Refused:
            self.metrics.rejected.inc()
            raise
        self._asks[ask.number] = ask
        deployment.hold()
        try:
            deployment.team.submit(ask)
        except BaseException:
            self._leave(ask)
            raise
        return ask

    def _leave(self, ask: Ask) -> None:
        if self._asks.pop(ask.number, None) is None:
            return
        if not ask.answered.done():  # the handler was cancelled
            self.metrics.cancelled.inc()
            ask.refuse(Refused("gone", "the client left"))
        ask.deployment.withdraw(ask)
        ask.deployment.release()
        self.admission.leave(ask)
        self.challengers.left(ask)

    def _measured(self, batch: JsonObject) -> None:
        self.admission.measured(batch)
        self.metrics.batch(batch)

    # ---- all requests ----

    async def _sweep(self) -> None:
        """Ends requests whose time is over, and watches whether the clients of slow ones are there."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_SWEEP_S)
            now = time.monotonic()
            self.metrics.queue.set(self.admission.n_inputs)
            for ask in list(self._asks.values()):
                if now > ask.deadline:
                    self.metrics.expired.inc()
                    ask.refuse(Refused("timeout", "the answer took too long"))
                elif ask.receive is not None and ask.watcher is None and now - ask.began > _WATCHED_AFTER_S:
                    ask.watcher = loop.create_task(self._watch(ask, ask.receive))

    async def _watch(self, ask: Ask, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.metrics.cancelled.inc()
        ask.watcher = None
        ask.refuse(Refused("gone", "the client left"))


async def _parts(ask: Ask) -> AsyncIterator[str]:
    assert ask.deltas is not None
    while (part := await ask.deltas.get()) is not None:
        yield part
