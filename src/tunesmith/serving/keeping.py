"""Keeps the answers of a server in the prediction log."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tunesmith.monitoring.prediction_log import Answer, PredictionLog

if TYPE_CHECKING:
    from tunesmith.serving.asks import Answered
    from tunesmith.serving.service import Service

_KEPT = ("answer", "write")
"""Operations with answers that somebody may correct; vectors are not kept."""


def keep_log(service: Service) -> None:
    """Opens the log of the settings, which is told of every answer from now on.

    Raises:
        UserError: it cannot be opened.
    """
    settings = service.settings
    log = service.log = PredictionLog(settings.log_to, settings.log, settings.log_days)

    def keep(told: Answered) -> None:
        if told.operation not in _KEPT:
            return
        now, run = time.time(), str(told.run["version"])
        answered = zip(told.rows, told.answers, strict=True)
        log.add(
            Answer(f"{told.request}-{i}", now, run, row, answer, told.seconds)
            for i, (row, answer) in enumerate(answered)
        )
        service.metrics.unlogged.set(log.dropped)

    service.listeners.append(keep)
