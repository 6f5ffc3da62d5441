"""A server follows the champion of a registry: it loads and warms the new one, switches, and lets the old one end.

The pointer is looked at twice a second. While a new champion loads, the old one answers; when it cannot be
loaded, the old one goes on, the reason is logged and counted, and the server tries again later.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.errors import TunesmithError, first_line
from tunesmith.run.champion import POINTER, Registry
from tunesmith.serving.opening import open_champion

if TYPE_CHECKING:
    from tunesmith.serving.deployment import Deployments
    from tunesmith.serving.metrics import Metrics
    from tunesmith.types import JsonObject

POLL_S = 0.5
_AGAIN_S = 30.0
"""Seconds after which a champion that could not be loaded is tried again."""

_log = logging.getLogger("tunesmith.serving")


class Follower:
    """Follows one registry.

    Args:
        deployments: what answers.
        metrics: counters.
        name: name under which the champion answers.
        engine: engine that was asked for.
        switched: called with the facts of the new champion.
    """

    def __init__(
        self,
        deployments: Deployments,
        metrics: Metrics,
        name: str,
        engine: str,
        switched: Callable[[JsonObject], None],
    ) -> None:
        self._deployments, self._metrics = deployments, metrics
        self._name, self._engine, self._switched = name, engine, switched
        self._registry = Registry(deployments.answering[name]["registry"])
        self._seen: tuple[int, int] | None = None
        self._again_at = 0.0

    async def follow(self) -> None:
        """Follows until it is cancelled."""
        metrics = self._metrics
        metrics.promotion.labels(self._name).set(self._deployments.answering[self._name]["promotion"])
        while True:
            await asyncio.sleep(POLL_S)
            state = _state(self._registry.folder / POINTER)
            if state is None or (state == self._seen and time.monotonic() < self._again_at):
                continue
            self._seen, self._again_at = state, float("inf")
            try:
                await self._catch_up()
            except Exception as error:  # whatever a damaged run leads to: the old one answers
                self._again_at = time.monotonic() + _AGAIN_S
                metrics.switch_failures.labels(self._name).inc()
                is_known = isinstance(error, TunesmithError)
                said = (
                    f"`{self._name}` stays as it is, its new champion cannot be served: {first_line(error)}"
                )
                _log.error(said, exc_info=None if is_known else error)

    async def _catch_up(self) -> None:
        """Switches to the champion, unless it answers already, or another one is named while it loads."""
        deployments, now = self._deployments, self._deployments.answering[self._name]
        named = await asyncio.to_thread(self._registry.current)
        if named.number == now["promotion"]:
            return
        if dict(named.files) == deployments.of(now).files and str(named.run) == now["run"]:
            deployments.answering[self._name] = now | {"promotion": named.number}
        else:
            run = await asyncio.to_thread(open_champion, self._registry.folder, self._name, self._engine)
            new = await deployments.deploy([run], is_warm=True)
            if (await asyncio.to_thread(self._registry.current)).number != run["promotion"]:
                deployments.retire(new)
                return
            deployments.switch(self._name, new)
            self._metrics.switches.labels(self._name).inc()
        self._tell(deployments.answering[self._name])

    def _tell(self, facts: JsonObject) -> None:
        self._metrics.promotion.labels(self._name).set(facts["promotion"])
        _log.warning(
            "`%s` is `%s` from now on, promotion %d", self._name, facts["version"], facts["promotion"]
        )
        self._switched(facts)


def _state(pointer: Path) -> tuple[int, int] | None:
    """What changes when the pointer does: it is replaced by a new file each time."""
    try:
        found = pointer.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
