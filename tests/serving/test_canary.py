"""When a canary ends: its test beside an independent one, its false alarms, its speed; and what is different."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats

from tunesmith.serving.canary import FALSE_ALARM, MOST_ERRORS, Canary, RateTest
from tunesmith.serving.shadow import differ


def test_the_evidence_is_near_that_of_the_integral_over_all_alternatives():
    """Against scipy's quadrature of the binomial likelihood ratio, under the prior that the grid samples."""
    most, (k, n) = 0.01, (4, 60)
    test = RateTest(most)
    for i in range(n):
        test.add(i < k)
    odds = most / (1 - most)
    low, high = np.log(1.5 * odds), np.log(1000.0)

    def ratio(log_odds):
        share = 1 / (1 + np.exp(-log_odds))
        return stats.binom.pmf(k, n, share) / stats.binom.pmf(k, n, most)

    expected = integrate.quad(ratio, low, high, limit=200)[0] / (high - low)
    assert test.evidence == pytest.approx(expected, rel=0.1)


def test_a_canary_that_keeps_to_the_rule_is_rarely_ended_however_often_one_looks():
    rng = np.random.default_rng(0)
    n_ended = 0
    for _ in range(200):
        test, at = RateTest(MOST_ERRORS), 0
        failures = np.flatnonzero(rng.random(3000) < MOST_ERRORS)
        for failure in failures:  # the evidence grows with a failure alone
            test.n += int(failure) - at
            at = int(failure) + 1
            test.add(True)
            if test.is_broken:
                n_ended += 1
                break
    # an upper bound of 1 %, so at most what 200 draws at 1 % give once in 1,000 times
    assert n_ended <= stats.binom.ppf(0.999, 200, FALSE_ALARM)


@pytest.mark.parametrize(("rate", "most_requests"), [(1.0, 3), (0.3, 30), (0.1, 150), (0.05, 500)])
def test_a_canary_that_fails_ends_soon(rate, most_requests):
    rng, needed = np.random.default_rng(1), []
    for _ in range(21):
        test = RateTest(MOST_ERRORS)
        while not test.is_broken and test.n < 5000:
            test.add(rng.random() < rate)
        needed.append(test.n)
    assert np.median(needed) <= most_requests


def test_its_share_is_that_of_the_requests_and_a_request_goes_the_same_way_again():
    canary = Canary(0.05, 1.5)
    taken = [canary.takes(f"request {i}") for i in range(20_000)]
    assert sum(taken) == pytest.approx(1000, abs=4 * np.sqrt(20_000 * 0.05 * 0.95))
    assert taken == [canary.takes(f"request {i}") for i in range(20_000)]
    assert all(Canary(1.0, 1.5).takes(str(i)) for i in range(100))


@pytest.mark.parametrize(("times", "rule"), [(1.0, ""), (1.3, ""), (3.0, "latency")])
def test_a_canary_that_is_slower_than_its_limit_ends(times, rule):
    rng, canary = np.random.default_rng(2), Canary(0.5, 1.5)
    for seconds in rng.lognormal(-4, 0.5, 2000):
        canary.took(times * float(rng.lognormal(-4, 0.5)))
        canary.champion_took(float(seconds))
        if canary.broken_rule:
            break
    assert canary.broken_rule == rule
    said = canary.to_json()
    assert said["latency"]["limit_s"] == pytest.approx(
        1.5 * np.exp(-4 + 0.5 * stats.norm.ppf(0.95)), rel=0.15
    )
    assert said["errors"]["n"] == 0


@pytest.mark.parametrize(
    ("one", "other", "is_other"),
    [
        ({"label": "a", "score": 0.9, "tokens": 3}, {"label": "a", "score": 0.6, "tokens": 5}, False),
        ({"label": "a", "score": 0.9}, {"label": "b", "score": 0.9}, True),
        ({"label": "a", "abstained": False}, {"label": "a", "abstained": True}, True),
        ({"labels": ["a", "b"]}, {"labels": ["a"]}, True),
        ({"entities": [{"word": "Ann", "label": "PER", "start": 0, "score": 0.9}]},
         {"entities": [{"word": "Ann", "label": "PER", "start": 0, "score": 0.7}]}, False),
        ({"entities": [{"word": "Ann", "start": 0}]}, {"entities": [{"word": "Ann", "start": 4}]}, True),
        ({"score": 3.0, "tokens": 1}, {"score": 3.01, "tokens": 1}, False),
        ({"score": 3.0}, {"score": 3.2}, True),
        ({"score": 0.0}, {"score": 0.0}, False),
        ({"answer": "", "score": 0.4}, {"answer": "in 1901", "score": 0.4}, True),
        ({"label": "a", "top": [{"label": "a"}]}, {"label": "a", "top": [{"label": "b"}]}, False),
    ],
)  # fmt: skip
def test_what_counts_as_different(one, other, is_other):
    assert differ(one, other) is is_other
    assert differ(other, one) is is_other
