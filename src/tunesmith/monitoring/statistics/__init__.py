"""What is measured of a window of rows, against the reference of the run.

A file in this folder is a statistic; its name is the key in the results. It gives a value, and where it can
alarm, a p-value that is at most `a` in a share `a` of windows without drift. An alarm is a p-value of at most the
level of a window and statistic (`monitoring/watching.py`), so that false alarms are bounded for all of them
together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from tunesmith.monitoring.permutation import Distance, of_numbers, permutation_test
from tunesmith.registry import Registry

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tunesmith.monitoring.observed import Observed
    from tunesmith.monitoring.reference import Reference
    from tunesmith.types import JsonObject

FEWEST_ROWS = 30
"""Rows on either side below which nothing is tested: such a test would find only what everybody sees."""
_DIGITS = 4
"""Digits of a number that count: the last ones depend on the batch in which a row was computed."""


class NotMeasurable(Exception):  # noqa: N818 (no error: a fact about the rows)
    """A statistic says nothing about some rows; the message says why, as the end of `…: the log has no texts`."""


@dataclass(frozen=True)
class Compared:
    """A window, and what it is compared with.

    Args:
        reference: of the run.
        window: rows of the window.
        earlier: rows of the windows before it, the oldest first.
        level: the p-value that is an alarm.
        seed: random seed.
    """

    reference: Reference
    window: Observed
    earlier: Sequence[Observed] = ()
    level: float = 0.001
    seed: int = 42

    def pair(self, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The known numbers of the reference, and of the window.

        Raises:
            NotMeasurable: too few are known on one side.
        """
        both = [np.round(rows.known(name), _DIGITS) for rows in (self.reference.rows, self.window)]
        require_rows(len(both[0]), len(both[1]))
        return both[0], both[1]

    def test_numbers(self, name: str) -> Distance:
        """Whether a number of the rows is distributed as in the reference.

        Raises:
            NotMeasurable: too few are known on one side.
        """
        reference, window = self.pair(name)
        features = of_numbers(np.concatenate([reference, window]))
        return permutation_test(features, len(reference), level=self.level)

    def test(self, features: NDArray[np.floating], n_reference: int) -> Distance:
        """Whether features of the window are like those of the reference, which come first."""
        return permutation_test(features, n_reference, level=self.level)


def require_rows(n_reference: int, n_window: int) -> None:
    """Raises NotMeasurable where there are too few rows to test."""
    if n_reference == 0:
        raise NotMeasurable("the reference does not have it")
    if n_window == 0:
        raise NotMeasurable("the rows do not have it")
    if n_reference < FEWEST_ROWS:
        raise NotMeasurable(f"the reference has {n_reference} rows with it, and {FEWEST_ROWS} are needed")
    if n_window < FEWEST_ROWS:
        raise NotMeasurable(f"{n_window} rows of the window have it, and {FEWEST_ROWS} are needed")


@dataclass(frozen=True)
class Measured:
    """What was measured of one window.

    Args:
        value: the figure of the time line.
        text: the same for people, without a full stop; of an alarm, what has changed.
        reference: the figure of the reference; None where there is none.
        low: lower end of the interval of `value`; None without one.
        high: its upper end.
        p: p-value; None where it cannot alarm.
        details: further figures, as JSON.
    """

    value: float
    text: str
    reference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    details: JsonObject = field(default_factory=dict)


def _nothing(compared: Compared) -> JsonObject:
    return {}


def _no_conclusion(reference: Reference, windows: Sequence[Observed]) -> JsonObject:
    return {}


@dataclass(frozen=True)
class Statistic:
    """One statistic.

    Args:
        summary: what it measures, in a few words without a full stop.
        title: what people call it.
        unit: how its figures are shown: a share as percent, or a number.
        measure: measures a window; raises NotMeasurable where it says nothing about its rows.
        explain: what is found out about a window with an alarm, as JSON: rows, words.
        conclude: what all windows together show, as JSON.
        tested: whether it can alarm.
    """

    summary: str
    title: str
    unit: Literal["share", "number"]
    measure: Callable[[Compared], Measured]
    explain: Callable[[Compared], JsonObject] = _nothing
    conclude: Callable[[Reference, Sequence[Observed]], JsonObject] = _no_conclusion
    tested: bool = True


STATISTICS: Registry[Statistic] = Registry(
    "tunesmith.monitoring.statistics", "statistic", Statistic, hyphens=False
)
