"""The challengers of the first run: a shadow, which answers silently, and a canary, which gets some requests.

Each has processes of its own, so a challenger that fails, or takes all memory, takes no request of the champion
with it. A canary that was rolled back does not come again: its registry remembers the files that it had.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from tunesmith.errors import RecipeError
from tunesmith.run.champion import Registry
from tunesmith.serving.canary import Canary
from tunesmith.serving.refused import Refused
from tunesmith.serving.shadow import Shadow

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunesmith.monitoring.prediction_log import PredictionLog
    from tunesmith.serving.asks import Answered, Ask
    from tunesmith.serving.deployment import Deployment, Deployments
    from tunesmith.serving.metrics import Metrics
    from tunesmith.serving.settings import Settings
    from tunesmith.types import JsonObject

_log = logging.getLogger("tunesmith.serving")


class Challengers:
    """The shadow and the canary of a service.

    Args:
        deployments: what answers.
        metrics: counters.
        settings: which challengers there are.
    """

    def __init__(self, deployments: Deployments, metrics: Metrics, settings: Settings) -> None:
        self._deployments, self._metrics, self._settings = deployments, metrics, settings
        self._shadow: Shadow | None = None
        self._canary: Canary | None = None
        self._canary_run: JsonObject = {}

    async def start(self, log: PredictionLog | None) -> Callable[[Answered], None] | None:
        """Starts those of the settings.

        Args:
            log: where differences are kept; None for nowhere.

        Returns:
            What to call with each request that was answered; None without a shadow.

        Raises:
            UserError: one cannot be loaded, or is for another task.
        """
        settings = self._settings
        if settings.canary is not None:
            self._canary_run = await self._start(settings.canary)
            self._canary = Canary(settings.canary_share, settings.canary_slower)
            self._metrics.canary.labels(self._canary_run["name"]).set(settings.canary_share)
        if settings.shadow is not None:
            named = settings.shadow | {"name": settings.shadow["version"]}
            facts = await self._start(named, is_background=True)
            self._shadow = Shadow(self._deployments, self._metrics, log, facts)
        return self._heard if self._shadow is not None else None

    def _heard(self, told: Answered) -> None:
        if self._shadow is not None:
            self._shadow.heard(told)

    async def _start(self, run: JsonObject, *, is_background: bool = False) -> JsonObject:
        """The facts of a challenger, when all its processes have answered."""
        champion, deployments = self._deployments.first, self._deployments
        deployment = await deployments.deploy([run], is_background=is_background, is_warm=True)
        facts = deployment.runs[run["name"]]
        if facts["task"] != champion["task"]:
            raise RecipeError(
                f"the run is for {champion['task']}, and its challenger `{run['run']}` for {facts['task']}.",
                remedy="Give a challenger for the same task.",
            )
        return facts

    # ---- the canary ----

    def choose(self, run: JsonObject, request: str) -> JsonObject:
        """The canary, if it gets this request for a run, else the run.

        Args:
            run: facts of the run that was asked for.
            request: id of the request.
        """
        if self._canary is None or run["name"] != self._canary_run["name"] or not self._canary.takes(request):
            return run
        return self._canary_run

    def is_canary(self, run: JsonObject) -> bool:
        """Whether a run is the canary, which may have ended while the request was with it."""
        return bool(self._canary_run) and run["deployment"] == self._canary_run["deployment"]

    def canary_said(self, *, is_error: bool) -> None:
        """Counts a request of the canary, which is an error if only the champion answered it."""
        kind = "failed" if is_error else "answered"
        self._metrics.canary_requests.labels(self._canary_run["name"], kind).inc()
        if self._canary is not None:
            self._canary.errors.add(is_error)
            self._end_if_worse()

    def left(self, ask: Ask) -> None:
        """Learns from a request of either how long it took."""
        if self._canary is None:
            return
        refusal = ask.answered.exception() if not ask.answered.cancelled() else None
        kind = refusal.kind if isinstance(refusal, Refused) else ""
        seconds = time.monotonic() - ask.began
        if ask.deployment is self._deployment_of(self._canary_run):
            if kind in ("", "timeout"):
                self._canary.took(seconds)
            elif kind != "gone" and ask.is_streaming:  # its client has seen the error
                self.canary_said(is_error=True)
            self._end_if_worse()
        elif kind in ("", "timeout") and ask.message["run"] == self._canary_run["name"]:
            self._canary.champion_took(seconds)

    def _deployment_of(self, run: JsonObject) -> Deployment:
        return self._deployments.of(run)

    def _end_if_worse(self) -> None:
        """Rolls the canary back where it has broken a rule."""
        if self._canary is None or not (rule := self._canary.broken_rule):
            return
        run, evidence = self._canary_run, self._canary.to_json()
        self._end_canary()
        self._metrics.canary_stops.labels(run["name"], rule).inc()
        _log.error("the canary `%s` is rolled back for its %s: %s", run["version"], rule, evidence[rule])
        if registry := self._deployments.first["registry"]:
            try:
                Registry(registry).remember_canary(run["run"], rule=rule, evidence=evidence)
            except Exception:
                _log.exception("the roll-back of the canary cannot be written to `%s`", registry)

    def _end_canary(self) -> None:
        self._canary = None
        self._metrics.canary.labels(self._canary_run["name"]).set(0)
        self._deployments.retire(self._deployment_of(self._canary_run))

    # ---- both ----

    def champion_is(self, champion: JsonObject) -> None:
        """Ends a challenger that has become the champion.

        Args:
            champion: facts of the new champion.
        """
        if champion["name"] != self._deployments.first["name"]:
            return
        if self._canary is not None and self._canary_run["run"] == champion["run"]:
            self._end_canary()
        if self._shadow is not None and self._shadow.run["run"] == champion["run"]:
            self._deployments.retire(self._deployments.of(self._shadow.run))
            self._shadow = None

    async def stop(self) -> None:
        """Forgets what the shadow has not answered."""
        if self._shadow is not None:
            await self._shadow.stop()
