"""The alarms that monitoring raises for a run and its log, as reasons for an update."""

from __future__ import annotations

from tunesmith.run import Run


def alarms_of(champion: Run, log: str) -> list[str]:
    """The alarms, in words; none where all is as it was.

    Args:
        champion: the run that answers.
        log: folder or URL of its log.
    """
    from tunesmith.monitoring.monitor import monitor

    return [str(alarm) for alarm in monitor(champion, log=log)["alarms"]]
