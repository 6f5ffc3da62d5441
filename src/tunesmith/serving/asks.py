"""Requests that wait for their answers, and how many may."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from tunesmith.serving.refused import Refused

if TYPE_CHECKING:
    from tunesmith.serving.settings import Settings
    from tunesmith.types import JsonObject

Receive = Callable[[], Awaitable[Any]]
"""Gives what the client sends next, which after the body is that it left."""

_SMOOTHING = 0.2
_LONGEST_WAIT_S = 300


class Owner(Protocol):
    """Whose workers have a request."""

    def withdraw(self, ask: Ask) -> None:
        """Forgets a request for which nobody waits any more."""

    def release(self) -> None:
        """A user needs the workers no more."""


@dataclass(frozen=True)
class Answered:
    """A request that was answered, for whoever keeps a log.

    Args:
        request: its id in the log, which the client got, too.
        run: facts of the run.
        operation: `answer`, `embed` or `write`.
        rows: inputs.
        answers: one for each input.
        seconds: time from the request to the answer.
        how: what else the worker was told: `top_k`, `coverage`, ….
    """

    request: str
    run: Mapping[str, Any]
    operation: str
    rows: list[Any]
    answers: list[JsonObject]
    seconds: float
    how: Mapping[str, Any]


@dataclass(eq=False)
class Ask:
    """A request on its way.

    Args:
        number: its number.
        message: what a worker gets.
        n_bytes: bytes of its body.
        deadline: when nobody waits for it any more, as `time.monotonic` counts.
        answered: becomes the worker's message, or the error.
        deployment: whose workers have it.
        receive: tells that the client left; None where another part watches.
    """

    number: int
    message: JsonObject
    n_bytes: int
    deadline: float
    answered: asyncio.Future[JsonObject]
    deployment: Owner
    receive: Receive | None = None
    deltas: asyncio.Queue[str | None] | None = None
    """Parts of a text that is streamed; None at its end."""
    is_streaming: bool = False
    """Whether a part was handed over already."""
    deaths: int = 0
    """Number of workers that died with it."""
    began: float = field(default_factory=time.monotonic)
    watcher: asyncio.Task[None] | None = None

    @property
    def size(self) -> int:
        """Number of inputs."""
        return len(self.message["rows"])

    def answer(self, message: JsonObject) -> None:
        """Hands over what the worker said."""
        if not self.answered.done():
            self.answered.set_result(message)
            self._end()

    def refuse(self, error: Refused) -> None:
        """Hands over why there is no answer."""
        if not self.answered.done():
            self.answered.set_exception(error)
            self.answered.exception()  # known: a client that left reads it no more
            self._end()

    def _end(self) -> None:
        if self.deltas is not None:
            self.deltas.put_nowait(None)
        if self.watcher is not None:
            self.watcher.cancel()


class Admission:
    """How many inputs and bytes wait, and for how long a new one would.

    Args:
        settings: limits.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.n_inputs = self.n_bytes = 0
        self._seconds_per_input: dict[str, float] = {}
        self._waiting: dict[str, int] = {}

    def measured(self, batch: Mapping[str, Any]) -> None:
        """Learns from a batch how long an input of a run takes."""
        if batch["items"]:
            new = batch["seconds"] / batch["items"]
            old = self._seconds_per_input.get(batch["run"], new)
            self._seconds_per_input[batch["run"]] = old + _SMOOTHING * (new - old)

    def wait_s(self, run: str, workers: int) -> float:
        """Seconds until all that waits for a run is answered, as far as is known."""
        return self._waiting.get(run, 0) * self._seconds_per_input.get(run, 0.0) / max(workers, 1)

    def refuse_when_full(self, workers: int) -> None:
        """Raises Refused where no request has room, however small: its body need not be read."""
        if self.n_inputs >= self._settings.max_queue:
            raise self._refusal(max(self.wait_s(run, workers) for run in self._waiting))

    def enter(self, ask: Ask, workers: int) -> None:
        """Takes a request.

        Raises:
            Refused: too much waits, or the answer would come too late.
        """
        run, limits = ask.message["run"], self._settings
        wait = self.wait_s(run, workers)
        if self.n_inputs and (
            self.n_inputs + ask.size > limits.max_queue
            or self.n_bytes + ask.n_bytes > limits.max_queue_bytes
            or time.monotonic() + wait > ask.deadline
        ):
            raise self._refusal(wait)
        self.n_inputs += ask.size
        self.n_bytes += ask.n_bytes
        self._waiting[run] = self._waiting.get(run, 0) + ask.size

    def _refusal(self, wait_s: float) -> Refused:
        seconds = str(min(max(math.ceil(wait_s), 1), _LONGEST_WAIT_S))
        return Refused(
            "overloaded", f"too many inputs wait; try again in {seconds} s", {"retry-after": seconds}
        )

    def leave(self, ask: Ask) -> None:
        """Lets a request go."""
        self.n_inputs -= ask.size
        self.n_bytes -= ask.n_bytes
        self._waiting[ask.message["run"]] -= ask.size
