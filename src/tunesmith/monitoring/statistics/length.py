"""How long the texts are, in tokens before anything is cut."""

from __future__ import annotations

import numpy as np

from tunesmith.monitoring.statistics import Compared, Measured, Statistic


def _measure(compared: Compared) -> Measured:
    reference, window = compared.pair("tokens")
    median, usual = float(np.median(window)), float(np.median(reference))
    p = compared.test_numbers("tokens").p
    low, high = np.quantile(window, [0.1, 0.9])
    return Measured(
        median,
        f"half of the texts have over {median:g} tokens, of the reference {usual:g}",
        reference=usual,
        p=p,
        details={"tenth": float(low), "nine_tenths": float(high)},
    )


statistic = Statistic("length of the texts in tokens", "Length", "number", _measure)
