"""`update` again and again: after a time, or when something has changed that is worth it.

`--every 7d` updates when the last update is so long ago. `--watch` looks every so often, and updates when enough
new feedback is there, when the data have changed, or when monitoring raised an alarm and there is something new to
learn from. Either way, a request whose rows were all decided on before is not repeated.

All that the service knows is in the records of the updates, so it may be stopped and started at any time. On
SIGTERM or Ctrl-C it ends at once if it waits. During a training, everything is saved first, and the next start
resumes it.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tunesmith.errors import InterruptedRunError, RecipeError, UserError
from tunesmith.events import Events, Listener
from tunesmith.lifecycle import record
from tunesmith.lifecycle.updating import FAILED, Asked, update
from tunesmith.run import Run
from tunesmith.training.signals import StopRequest

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

_SLEEP_S = 0.5
_DAY_S = 86_400.0

Alarms = Callable[[Run, str, Events], Sequence[str]]
"""Gives the alarms that monitoring raises for a run and its log."""


@dataclass(frozen=True)
class Schedule:
    """When to update.

    Args:
        every_s: seconds between two updates; None without a fixed time.
        watch: update when there is a reason.
        look_s: seconds between two looks for a reason.
        min_feedback: rows with new feedback that are a reason.
        budget_s: seconds of updates within 24 hours, after which the next one waits; None without a limit.
        most: number of updates after which the service ends; None without a limit.
    """

    every_s: float | None = None
    watch: bool = False
    look_s: float = 3600.0
    min_feedback: int = 200
    budget_s: float | None = None
    most: int | None = None

    def __post_init__(self) -> None:
        """Refuses a schedule that never updates."""
        if self.every_s is None and not self.watch:
            raise RecipeError(
                "a service needs a time or a reason to update.", remedy="Give `--every 7d` or `--watch`."
            )


def serve_updates(
    asked: Asked,
    schedule: Schedule,
    *,
    alarms: Alarms,
    listeners: Iterable[Listener] = (),
    done: Callable[[JsonObject], None] = lambda found: None,
) -> int:
    """Updates whenever it is time, until a signal ends it; gives the number of updates.

    Args:
        asked: what is asked of each update.
        schedule: when to update.
        alarms: gives the alarms of monitoring; called where there is a log.
        listeners: called with every event.
        done: called with the record of each update.

    Raises:
        UserError: the run or the registry cannot be used.
        InterruptedRunError: a signal stopped a training; the same command goes on.
    """
    listeners = tuple(listeners)
    events, n_updates = Events(listeners), 0
    with StopRequest() as stop:
        while not stop:
            why = due(asked, schedule, alarms, events)
            if why:
                done(_updated(replace(asked, trigger=why), listeners, events, stop))
                n_updates += 1
                if n_updates == schedule.most:
                    break
            _wait(schedule, stop)
        if stop:
            events.note(f"stopped by {stop.signal_name}")
    return n_updates


def due(asked: Asked, schedule: Schedule, alarms: Alarms, events: Events) -> str:
    """Why an update is due now, in a few words; empty if none is.

    Args:
        asked: what is asked of each update.
        schedule: when to update.
        alarms: gives the alarms of monitoring.
        events: listeners.
    """
    champion = asked.champion(Events())
    records = list(record.records_of(champion))
    request = asked.request(champion)
    last = records[-1] if records else None
    if last is not None and last["state"] == record.RUNNING:
        return "an update was stopped, and goes on" if last["request"] == request else "the rows have changed"
    if last is not None and _same_rows(last["request"], request):
        return ""
    if schedule.budget_s is not None and _spent_s(records) >= schedule.budget_s:
        events.note("the updates of the last 24 hours took as long as the budget allows; the next one waits")
        return ""
    if schedule.every_s is not None and (last is None or _age_s(last) >= schedule.every_s):
        return "it was time"
    if not schedule.watch:
        return ""
    return _reason(schedule, last, request, lambda: alarms(champion, asked.log, events))


def _reason(
    schedule: Schedule,
    last: JsonObject | None,
    request: JsonObject,
    alarms: Callable[[], Sequence[str]],
) -> str:
    """What has changed that is worth an update; there is something new to learn from in any case."""
    before = last["request"] if last is not None else {"feedback": 0, "fingerprint": ""}
    if request["fingerprint"] != before["fingerprint"]:
        return "the data have changed"
    n_new = request["feedback"] - before["feedback"]
    if n_new >= schedule.min_feedback:
        return f"{n_new:,} rows have new feedback"
    if n_new > 0 and (raised := alarms()):
        return f"monitoring: {raised[0]}"
    return ""


def _same_rows(then: JsonObject, now: JsonObject) -> bool:
    """Whether a request has no rows that were not decided on before, of the same champion or of the one before."""
    return all(then[key] == now[key] for key in ("data", "fingerprint", "log", "feedback"))


def _updated(asked: Asked, listeners: Sequence[Listener], events: Events, stop: StopRequest) -> JsonObject:
    """The record of an update; rows that cannot be used end no service."""
    try:
        return update(asked, listeners=listeners, should_stop=lambda: bool(stop))
    except InterruptedRunError:
        raise
    except UserError as error:
        events.warn(f"the update failed: {error}")
        return {"decision": FAILED, "reasons": [str(error)], "new_labels": {}}


def _wait(schedule: Schedule, stop: StopRequest) -> None:
    """Waits until the next look, or for a signal."""
    until = time.monotonic() + min(schedule.look_s, schedule.every_s or schedule.look_s)
    while not stop and (left := until - time.monotonic()) > 0:
        time.sleep(min(left, _SLEEP_S))


def _age_s(found: JsonObject) -> float:
    then = datetime.datetime.fromisoformat(str(found.get("finished", found["began"])))
    return (datetime.datetime.now(datetime.UTC) - then).total_seconds()


def _spent_s(records: Sequence[JsonObject]) -> float:
    """The seconds that the updates of the last 24 hours took."""
    return float(sum(it.get("seconds", 0.0) for it in records if _age_s(it) < _DAY_S))
