"""Windows, the level of an alarm, and what is given of both."""

import json

import numpy as np
import pytest

from tunesmith.encoded import Ragged
from tunesmith.monitoring.observed import Observed
from tunesmith.monitoring.reference import Reference
from tunesmith.monitoring.statistics import STATISTICS, Measured, NotMeasurable, Statistic
from tunesmith.monitoring.texts import Vocabulary
from tunesmith.monitoring.watching import HORIZON, guarantee, watch, windows_of


def rows(n, rng, shift=0.0):
    answers = rng.choice(2, n, p=[0.6 - shift, 0.4 + shift])
    numbers = {
        "score": np.clip(rng.beta(8, 2, n) - shift, 0, 1),
        "tokens": rng.poisson(20 + 40 * shift, n).astype(float),
        "correct": (rng.random(n) < 0.9).astype(float),
    }
    vectors = (rng.standard_normal((n, 5)) + shift).astype(np.float32)
    return Observed(
        n, numbers, vectors, answers=Ragged.of([[a] for a in answers]), names=[str(i) for i in range(n)]
    )


def a_reference(rng, n=300):
    return Reference(rows(n, rng), ("a", "b"), Vocabulary(), "text-classification", "test")


@pytest.mark.parametrize(
    ("n", "size", "complete", "expected", "waiting"),
    [
        (1000, 500, False, [500, 500], 0), (1200, 500, False, [500, 500], 200), (1200, 500, True, [500, 500], 200),
        (1300, 500, True, [500, 500, 300], 0), (300, 500, False, [], 300), (80, 500, True, [80], 0),
        (0, 500, True, [], 0),
    ],
)  # fmt: skip
def test_rows_are_cut_into_windows_and_a_rest_waits(n, size, complete, expected, waiting):
    windows, rest = windows_of(rows(n, np.random.default_rng(0)), size, is_complete=complete)
    assert [len(window) for window in windows] == expected
    assert rest == waiting
    assert [name for window in windows for name in window.names] == [
        str(i) for i in range(n - waiting if windows else 0)
    ]


def test_the_level_is_shared_by_windows_and_statistics():
    promised = guarantee(0.05)
    assert promised.level * HORIZON * promised.n_tested == pytest.approx(0.05)
    assert promised.n_tested == sum(STATISTICS.get(name).tested for name in STATISTICS.names())


def test_drift_is_an_alarm_with_what_explains_it_and_all_of_it_is_json():
    rng = np.random.default_rng(1)
    windows = [rows(200, rng), rows(200, rng), rows(200, rng, shift=0.5)]
    found = watch(a_reference(rng), windows)
    assert not found["ok"]
    assert {alarm["window"] for alarm in found["alarms"]} == {3}
    assert {"input_drift", "output_drift", "length"} <= {alarm["statistic"] for alarm in found["alarms"]}
    drift = next(alarm for alarm in found["alarms"] if alarm["statistic"] == "input_drift")
    assert drift["evidence"]["auc"] > 0.7
    assert found["not_measured"]["language"] == "the reference does not have it"
    assert "language" not in found["windows"][0]["statistics"]
    json.dumps(found, allow_nan=False)


def test_old_windows_that_are_not_measured_keep_their_number_and_their_labels():
    rng = np.random.default_rng(2)
    windows = [rows(100, rng) for _ in range(3)]
    found = watch(a_reference(rng), windows, skipped=2)
    assert [window["window"] for window in found["windows"]] == [3]
    assert found["windows"][0]["statistics"]["real_accuracy"]["details"]["all_labels"] == 300


def test_a_statistic_of_another_package_joins_and_shares_the_level():
    def measure(compared):
        if len(compared.window) > 100:
            raise NotMeasurable("too many")
        return Measured(0.0, "it is so", p=1e-9)

    rng = np.random.default_rng(3)
    with STATISTICS.replaced("always", Statistic("alarms", "Always", "number", measure)):
        found = watch(a_reference(rng), [rows(100, rng), rows(101, rng)])
        assert found["guarantee"]["statistics"] == guarantee().n_tested
    assert [(alarm["window"], alarm["statistic"]) for alarm in found["alarms"]] == [(1, "always")]
    assert "always" not in found["not_measured"]
