"""When the service updates, and how it ends."""

import datetime
import os
import signal
import threading
import time

import pytest

from tunesmith.errors import RecipeError
from tunesmith.events import Events
from tunesmith.lifecycle import watching
from tunesmith.lifecycle.updating import Asked
from tunesmith.lifecycle.watching import Schedule, due, serve_updates

NOTHING = Events()


def ago(**how):
    return (datetime.datetime.now(datetime.UTC) - datetime.timedelta(**how)).isoformat()


def request(**changes):
    return {"data": [], "fingerprint": "", "log": "log", "feedback": 0, "champion": "c", **changes}


@pytest.fixture
def world(monkeypatch):
    """What the service sees: the request of now, and the records of earlier updates."""
    seen = {"request": request(), "records": []}
    monkeypatch.setattr(Asked, "champion", lambda self, events: "champion")
    monkeypatch.setattr(Asked, "request", lambda self, champion: seen["request"])
    monkeypatch.setattr(watching.record, "records_of", lambda champion: iter(seen["records"]))
    return seen


def finished(when, seconds=10.0, **changes):
    return {
        "state": "finished",
        "finished": when,
        "began": when,
        "seconds": seconds,
        "request": request(**changes),
    }


def why(schedule, alarms=()):
    return due(Asked("run", log="log"), schedule, lambda champion, log, events: list(alarms), NOTHING)


def test_an_update_is_due_after_the_time_and_only_with_other_rows(world):
    weekly = Schedule(every_s=7 * 86_400)
    assert why(weekly) == "it was time"
    world["records"] = [finished(ago(days=8))]
    assert why(weekly) == ""
    world["request"] = request(feedback=3)
    assert why(weekly) == "it was time"
    world["records"] = [finished(ago(days=6))]
    assert why(weekly) == ""


def test_enough_feedback_or_an_alarm_with_some_is_a_reason(world):
    watch = Schedule(watch=True, min_feedback=100)
    world["records"] = [finished(ago(hours=2), feedback=50)]
    world["request"] = request(feedback=149)
    assert why(watch) == ""
    assert why(watch, ["the inputs have drifted"]) == "monitoring: the inputs have drifted"
    world["request"] = request(feedback=150)
    assert why(watch) == "100 rows have new feedback"
    world["request"] = request(feedback=50)
    assert why(watch, ["the inputs have drifted"]) == ""
    world["request"] = request(feedback=50, fingerprint="other")
    assert why(watch) == "the data have changed"


def test_the_budget_of_a_day_is_kept(world):
    watch = Schedule(watch=True, min_feedback=1, budget_s=100)
    world["request"] = request(feedback=9)
    world["records"] = [finished(ago(hours=30), 90), finished(ago(hours=2), 60)]
    assert why(watch)
    world["records"] += [finished(ago(hours=1), 60, feedback=5)]
    assert why(watch) == ""


def test_an_update_that_was_stopped_goes_on(world):
    world["records"] = [{"state": "running", "began": ago(hours=1), "request": request()}]
    assert "goes on" in why(Schedule(every_s=1e9))


def test_a_schedule_without_time_and_reason_is_refused():
    with pytest.raises(RecipeError, match="a time or a reason"):
        Schedule()


def test_sigterm_ends_a_service_that_waits(world, monkeypatch):
    done, said = [], []
    monkeypatch.setattr(
        watching, "update", lambda asked, **how: {"decision": "refused", "trigger": asked.trigger}
    )

    def finish(found):
        done.append(found)
        world["records"] = [finished(ago(seconds=0))]

    before = signal.getsignal(signal.SIGTERM)
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()
    began = time.monotonic()
    n = serve_updates(
        Asked("run", log="log"),
        Schedule(every_s=3600),
        alarms=lambda *_: [],
        listeners=[said.append],
        done=finish,
    )
    assert (n, len(done)) == (1, 1)
    assert done[0]["trigger"] == "it was time"
    assert time.monotonic() - began < 20
    assert "SIGTERM" in said[-1].text
    assert signal.getsignal(signal.SIGTERM) == before
