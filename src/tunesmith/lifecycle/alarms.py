"""The alarms that monitoring raises for a run and its log, as reasons for an update."""

from __future__ import annotations

from tunesmith.errors import UserError
from tunesmith.events import Events
from tunesmith.run import Run

_WINDOWS = 3


def alarms_of(champion: Run, log: str, events: Events) -> list[str]:
    """The alarms in the newest windows, in words; none where all is as it was.

    Args:
        champion: the run that answers.
        log: folder or URL of its log.
        events: listeners; they are told why a log cannot be measured.
    """
    from tunesmith.pipeline.monitoring import monitor

    try:
        found = monitor(champion, log=log, last=_WINDOWS)
    except UserError as error:  # too few answers for a window, say
        events.note(f"monitoring: {error.rule}")
        return []
    return [str(alarm["text"]) for alarm in found["alarms"]]
