"""The expected calibration error against scikit-learn, and against models whose calibration is known."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from tunesmith.evaluation.intervals import Method
from tunesmith.evaluation.reliability import MOST_BINS, Reliability, _mean_of_folded, calibration_errors

METHOD = Method(200, 0.95, 0)


def model(n, *, off=0.0, seed=0):
    """Scores, and answers that are right with the score less `off` as probability."""
    rng = np.random.default_rng(seed)
    scores = rng.beta(6, 1.5, n) * 0.9 + 0.05
    return scores, rng.random(n) < np.clip(scores - off, 0, 1)


def ece(scores, right):
    found = Reliability(scores, right)
    return calibration_errors(np.asarray(found.statistics.sum(0)).ravel())


def test_the_plug_in_estimate_is_that_of_scikit_learns_curve():
    scores, right = model(3400, off=0.1)
    true, predicted = calibration_curve(right, scores, n_bins=MOST_BINS, strategy="quantile")
    edges = np.percentile(scores, np.linspace(0, 1, MOST_BINS + 1) * 100)
    counts = np.bincount(np.searchsorted(edges[1:-1], scores), minlength=MOST_BINS)
    expected = (np.abs(true - predicted) * counts).sum() / len(scores)
    assert float(ece(scores, right)["ece_plug_in"]) == pytest.approx(expected, abs=2e-3)


def test_bins_are_equal_but_for_equal_scores():
    scores = np.concatenate([np.linspace(0.1, 0.9, 100), np.ones(50)])
    found = Reliability(scores, np.ones(150, dtype=bool))
    counts = np.bincount(found.bins)
    assert counts.sum() == 150
    assert counts[-1] >= 50
    assert len(np.unique(found.bins[scores == 1.0])) == 1
    assert found.n_bins == len(counts) <= MOST_BINS


def test_the_order_of_the_rows_does_not_matter():
    scores, right = model(300)
    order = np.random.default_rng(1).permutation(300)
    one, other = ece(scores, right), ece(scores[order], right[order])
    assert float(one["ece"]) == pytest.approx(float(other["ece"]), abs=1e-12)


def test_the_mean_of_a_folded_normal_variable():
    draws = np.random.default_rng(0).normal(size=400_000)
    for mean, deviation in ((0.0, 0.1), (0.05, 0.1), (-0.3, 0.02)):
        expected = np.abs(mean + deviation * draws).mean()
        found = _mean_of_folded(np.array([mean]), np.array([deviation]))[0]
        assert found == pytest.approx(expected, rel=5e-3)
    assert _mean_of_folded(np.array([-0.2]), np.array([0.0]))[0] == pytest.approx(0.2)


@pytest.mark.parametrize(("off", "left"), [(0.0, 0.7), (0.03, 0.5), (0.08, 0.3)])
def test_debiasing_brings_the_estimate_nearer_to_the_truth(off, left):
    """The truth is the distance of each score from its probability, which is known here."""
    found = [ece(*model(400, off=off, seed=seed)) for seed in range(100)]
    plug_in, debiased = (np.mean([one[key] for one in found]) for key in ("ece_plug_in", "ece"))
    assert abs(debiased - off) < left * abs(plug_in - off)


def test_a_perfect_model_is_above_its_noise_floor_in_one_case_of_twenty():
    above = []
    for seed in range(120):
        scores, right = model(250, seed=seed)
        floor = Reliability(scores, right).noise_floor(seed)["ece"]
        above.append(float(ece(scores, right)["ece"]) > floor)
    assert np.mean(above) <= 0.12
    assert Reliability(*model(250, off=0.15)).noise_floor(0)["ece"] < float(ece(*model(250, off=0.15))["ece"])


def test_the_noise_of_many_answers_is_that_of_the_normal_distribution(monkeypatch):
    from tunesmith.evaluation import reliability

    scores, right = model(5000)
    exact = Reliability(scores, right).noise_floor(0)
    monkeypatch.setattr(reliability, "_EXACT", 10)
    normal = Reliability(scores, right).noise_floor(0)
    assert normal["ece_plug_in"] == pytest.approx(exact["ece_plug_in"], rel=0.05)


def test_the_interval_holds_the_truth():
    for off in (0.0, 0.1):
        found = [Reliability(*model(400, off=off, seed=seed)).describe(METHOD)["ece"] for seed in range(60)]
        assert np.mean([one["low"] <= off <= one["high"] for one in found]) >= 0.88


def test_rows_of_a_group_widen_the_interval():
    scores, right = model(200, off=0.1)
    many = np.repeat(np.arange(200), 5)
    alone = Reliability(scores[many], right[many]).describe(METHOD)["ece"]
    grouped = Reliability(scores[many], right[many], many).describe(METHOD)["ece"]
    assert grouped["high"] - grouped["low"] > 1.5 * (alone["high"] - alone["low"])


def test_what_is_described():
    scores, right = model(600, off=0.1)
    found = Reliability(scores, right).describe(METHOD)
    assert found["mean_score"] == pytest.approx(scores.mean())
    assert found["right"] == pytest.approx(right.mean())
    assert sum(one["n"] for one in found["bins"]) == 600
    assert all(one["low"] <= one["value"] <= one["high"] for one in found["bins"])
    assert np.all(np.diff([one["score"] for one in found["bins"]]) > 0)
    weighted = sum(one["n"] * abs(one["score"] - one["value"]) for one in found["bins"]) / 600
    assert found["ece_plug_in"]["value"] == pytest.approx(weighted)


@pytest.mark.parametrize("n", [1, 5, 20])
def test_few_answers_and_perfect_ones(n):
    found = Reliability(np.full(n, 1.0), np.ones(n, dtype=bool)).describe(METHOD)
    assert found["ece"]["value"] == 0.0
    assert found["ece"]["noise_floor"] == 0.0
    assert np.isfinite([found["bins"][0][key] for key in ("score", "value", "low", "high")]).all()
