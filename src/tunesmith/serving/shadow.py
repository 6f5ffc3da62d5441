"""Shadow mode: a challenger answers what the champion has answered, nobody gets its answers, differences are kept.

The challenger gets a request after its client has been answered, in processes that leave the cores to others.
What finds no room is left out and counted, so the champion is never slowed by a queue. Two answers differ when
what they decide does: labels, entities, texts, whether the model abstained. Numbers such as scores may differ,
unless they are all that there is: then they differ when they are more than 1 % apart.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tunesmith.monitoring.prediction_log import Difference
from tunesmith.serving.asks import Ask
from tunesmith.serving.refused import Refused

if TYPE_CHECKING:
    from tunesmith.monitoring.prediction_log import PredictionLog
    from tunesmith.serving.asks import Answered
    from tunesmith.serving.deployment import Deployments
    from tunesmith.serving.metrics import Metrics
    from tunesmith.types import JsonObject

_MOST_WAITING = 1024
"""Inputs that wait for the challenger."""
_COMPARED = ("answer",)
_TIMEOUT_S = 60.0
_NEAR = 0.01
_NOT_DECIDED = frozenset({"tokens", "tokens_read", "completion_tokens", "truncated", "top", "set", "interval",
                          "out_of_scope"})  # fmt: skip

_log = logging.getLogger("tunesmith.serving")


class Shadow:
    """Asks a challenger what the champion was asked.

    Args:
        deployments: what answers.
        metrics: counters.
        log: where differences are kept; None for nowhere.
        run: facts of the challenger; it is compared with the first run.
    """

    def __init__(
        self, deployments: Deployments, metrics: Metrics, log: PredictionLog | None, run: JsonObject
    ) -> None:
        self._deployments, self._metrics, self._log, self.run = deployments, metrics, log, run
        self._team, self._name = deployments.of(run).team, deployments.first["name"]
        self._numbers = itertools.count(1)
        self._n_waiting = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def heard(self, told: Answered) -> None:
        """Takes a request that the champion has answered; called once the client's answer is made."""
        if told.operation not in _COMPARED or told.run["name"] != self._name:
            return
        if told.run["deployment"] != self._deployments.first["deployment"]:
            return  # a canary's answer, or that of a champion of before
        if self._n_waiting + len(told.rows) > _MOST_WAITING:
            self._metrics.shadow_dropped.labels(self._name).inc(len(told.rows))
            return
        task = asyncio.get_running_loop().create_task(self._ask(told))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask(self, told: Answered) -> None:
        self._n_waiting += len(told.rows)
        message = {**told.how, "op": told.operation, "run": self.run["name"], "rows": told.rows}
        answered = asyncio.get_running_loop().create_future()
        until = time.monotonic() + _TIMEOUT_S
        ask = Ask(next(self._numbers), message, 0, until, answered, self._deployments.of(self.run))
        began = time.monotonic()
        try:
            self._team.submit(ask)
            said = await asyncio.wait_for(ask.answered, _TIMEOUT_S)
        except (Refused, TimeoutError) as error:
            self._metrics.shadow_failures.labels(self._name).inc(len(told.rows))
            said_why = error.message if isinstance(error, Refused) else "no answer in time"
            _log.warning("the challenger `%s` gives no answer: %s", self.run["version"], said_why)
        else:
            self._compare(told, said["answers"], time.monotonic() - began)
        finally:
            self._n_waiting -= len(told.rows)
            self._team.withdraw(ask)

    def _compare(self, told: Answered, answers: list[JsonObject], seconds: float) -> None:
        counted, log = self._metrics.shadow_answers, self._log
        for i, (ours, theirs) in enumerate(zip(told.answers, answers, strict=True)):
            is_other = differ(ours, theirs)
            counted.labels(self._name, "other" if is_other else "same").inc()
            if is_other and log is not None:
                log.add(
                    [Difference(f"{told.request}-{i}", time.time(), self.run["version"], theirs, seconds)]
                )

    async def stop(self) -> None:
        """Forgets what waits."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def differ(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two answers to one input decide different things."""
    decided, against = _decision(one), _decision(other)
    if decided or against:
        return bool(decided != against)
    numbers, others = _numbers(one), _numbers(other)
    return len(numbers) != len(others) or any(
        abs(a - b) > _NEAR * max(abs(a), abs(b)) for a, b in zip(numbers, others, strict=True)
    )


def _decision(value: Any) -> Any:
    """An answer without numbers that are not whole, and without what is only known of it."""
    if isinstance(value, Mapping):
        named = {key: _decision(item) for key, item in value.items() if key not in _NOT_DECIDED}
        return {key: item for key, item in named.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_decision(item) for item in value]
    return None if isinstance(value, float) else value


def _numbers(value: Any) -> list[float]:
    if isinstance(value, Mapping):
        return [n for key, item in sorted(value.items()) if key not in _NOT_DECIDED for n in _numbers(item)]
    if isinstance(value, list | tuple):
        return [n for item in value for n in _numbers(item)]
    return [value] if isinstance(value, float) else []
