"""How often the model abstains, where its recipe promised a share of wrong answers."""

from __future__ import annotations

from tunesmith.monitoring.statistics import Compared, Measured, Statistic
from tunesmith.monitoring.statistics._shares import measured_share


def _measure(compared: Compared) -> Measured:
    return measured_share(compared, "abstained", "of the texts have no answer, as the model abstains")


statistic = Statistic("texts from whose answer the model abstains", "Abstained", "share", _measure)
