"""Runs in worker processes of their own, and which of them answers under which name.

A name may pass from one deployment to another while requests come: the new one is loaded and warmed first, then
the name passes, at the border between two requests, and the old one ends when nothing uses it any more. A
request holds the deployment that it began with, so all its answers are those of one run.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any

from tunesmith.errors import ModelError
from tunesmith.serving.asks import Ask
from tunesmith.serving.refused import Refused
from tunesmith.serving.team import Team

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

_LOAD_S = 600.0
_WARM_S = 120.0


class Deployment:
    """Some runs in the processes of one team.

    Args:
        number: its number.
        team: the processes.
    """

    def __init__(self, number: int, team: Team) -> None:
        self.number, self.team = number, team
        self.runs: dict[str, JsonObject] = {}
        self._n_users = 0
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self._warming = itertools.count(-1, -1)  # numbers that no request has

    @property
    def files(self) -> dict[str, str]:
        """The SHA-256 of each file of its run, where a registry named it."""
        (run,) = self.team.config["runs"]
        return dict(run["files"])

    async def start(self) -> None:
        """Starts the processes; one of them can answer when it returns.

        Raises:
            UserError: a run cannot be loaded.
        """
        facts = await self.team.start()
        self.runs = {one["name"]: {**one, "deployment": self.number} for one in facts}

    async def warm(self) -> None:
        """Waits until every process can answer, and has each answer an input: the first one takes longest.

        Raises:
            UserError: a process does not come, or a run gives no answer.
        """
        try:
            await asyncio.wait_for(self.team.is_complete.wait(), _LOAD_S)
        except TimeoutError:
            raise ModelError(
                f"not all workers have loaded the run within {_LOAD_S:.0f} s.",
                remedy="Their messages say why.",
            ) from None
        await asyncio.gather(*(self._warm(run) for run in self.runs.values() if run["examples"]))

    async def _warm(self, run: JsonObject) -> None:
        asks = [self._warming_ask(run) for _ in self.team.workers]
        for worker, ask in zip(list(self.team.workers), asks, strict=True):
            worker.give(ask)
        try:
            async with asyncio.timeout(_WARM_S):
                await asyncio.gather(*(ask.answered for ask in asks))
        except (Refused, TimeoutError) as error:
            said = error.message if isinstance(error, Refused) else f"none within {_WARM_S:.0f} s"
            raise ModelError(
                f"the run `{run['run']}` gives no answer to its own examples: {said}.",
                remedy="Try it: `tunesmith predict`.",
            ) from None
        finally:
            for ask in asks:
                self.team.withdraw(ask)

    def _warming_ask(self, run: JsonObject) -> Ask:
        how: JsonObject = {"op": "write", "max_tokens": 1} if run["streams"] else {"op": "answer"}
        rows = run["examples"][:1] if run["generates"] else run["examples"]
        message = {**how, "run": run["name"], "rows": rows}
        answered = asyncio.get_running_loop().create_future()
        return Ask(next(self._warming), message, 0, time.monotonic() + _WARM_S, answered, self)

    def hold(self) -> None:
        """Keeps the processes for one more user."""
        self._n_users += 1
        self._is_idle.clear()

    def release(self) -> None:
        """A user needs them no more."""
        self._n_users -= 1
        if not self._n_users:
            self._is_idle.set()

    def withdraw(self, ask: Ask) -> None:
        """Forgets a request for which nobody waits any more."""
        self.team.withdraw(ask)

    async def retire(self) -> None:
        """Ends the processes when nobody uses them any more."""
        await self._is_idle.wait()
        await self.team.stop()


class Deployments:
    """All deployments of a server.

    Args:
        workers: number of processes of each.
        on_batch: called with the facts of each batch.
        on_restart: called when a process is started in place of another.
    """

    def __init__(
        self, workers: int, on_batch: Callable[[JsonObject], None], on_restart: Callable[[], None]
    ) -> None:
        self._workers, self._on_batch, self._on_restart = workers, on_batch, on_restart
        self.answering: dict[str, JsonObject] = {}
        """The facts of the run that answers under each name; the first where none is named."""
        self._all: dict[int, Deployment] = {}
        self._numbers = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def first(self) -> JsonObject:
        """The facts of the run that answers where none is named."""
        return next(iter(self.answering.values()))

    def of(self, run: Mapping[str, Any]) -> Deployment:
        """The deployment of a run.

        Args:
            run: facts of the run.
        """
        return self._all[run["deployment"]]

    @property
    def n_ready(self) -> int:
        """The number of processes that can answer, of the name that has fewest."""
        return min((self.of(run).team.n_ready for run in self.answering.values()), default=0)

    async def start(self, runs: list[JsonObject]) -> None:
        """Starts the runs that are served from the beginning; those of registries have processes of their own.

        Raises:
            UserError: a run cannot be loaded.
        """
        fixed = [run for run in runs if run["promotion"] is None]
        groups = [group for group in (fixed, *([run] for run in runs if run not in fixed)) if group]
        started = await asyncio.gather(*map(self.deploy, groups))
        found = {name: run for one in started for name, run in one.runs.items()}
        self.answering = {run["name"]: found[run["name"]] for run in runs}

    async def deploy(
        self, runs: list[JsonObject], *, is_background: bool = False, is_warm: bool = False
    ) -> Deployment:
        """Starts runs in processes of their own; they answer under no name yet.

        Args:
            runs: name, run, folder and engine of each run.
            is_background: whether their processes leave the cores to others.
            is_warm: whether to wait until every process has answered an input.

        Raises:
            UserError: a run cannot be loaded.
        """
        team = Team(runs, self._workers, self._on_batch, self._on_restart, is_background=is_background)
        made = Deployment(next(self._numbers), team)
        self._all[made.number] = made
        try:
            await made.start()
            if is_warm:
                await made.warm()
        except BaseException:
            await self._end(made, made.team.stop())
            raise
        return made

    def switch(self, name: str, to: Deployment) -> None:
        """Passes a name to another deployment, which answers all requests that begin from now on."""
        old = self.of(self.answering[name])
        self.answering[name] = to.runs[name]
        self.retire(old)

    def retire(self, one: Deployment) -> None:
        """Ends a deployment when nobody uses it any more."""
        task = asyncio.get_running_loop().create_task(self._end(one, one.retire()))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _end(self, one: Deployment, ending: Coroutine[Any, Any, None]) -> None:
        try:
            await ending
        finally:
            self._all.pop(one.number, None)

    async def stop(self) -> None:
        """Ends all processes."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*(one.team.stop() for one in list(self._all.values())))
        await asyncio.gather(*self._tasks, return_exceptions=True)
