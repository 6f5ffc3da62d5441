"""The share of rows of which something is so."""

from __future__ import annotations

from tunesmith.monitoring.statistics import Compared, Measured


def measured_share(compared: Compared, name: str, what: str) -> Measured:
    """A share, with the exact interval of Clopper and Pearson (1934).

    Args:
        compared: window and reference.
        name: the number of the rows that is 1 where it is so, and else 0.
        what: what follows the share in a sentence.

    Raises:
        NotMeasurable: it is known of too few rows.
    """
    reference, window = compared.pair(name)
    value, usual = float(window.mean()), float(reference.mean())
    low, high = exact_interval(int(window.sum()), len(window), 0.95)
    return Measured(
        value,
        f"{value:.1%} {what}, of the reference {usual:.1%}",
        reference=usual,
        low=low,
        high=high,
        p=compared.test_numbers(name).p,
    )


def exact_interval(n: int, of: int, confidence: float) -> tuple[float, float]:
    """The interval of a share, by Clopper and Pearson.

    Args:
        n: rows of which it is so.
        of: all rows.
        confidence: least probability that the interval holds the true share.
    """
    from scipy.special import betaincinv

    tail = (1 - confidence) / 2
    low = float(betaincinv(n, of - n + 1, tail)) if n else 0.0
    high = float(betaincinv(n + 1, of - n, 1 - tail)) if n < of else 1.0
    return low, high
