import numpy as np
import pytest

from tunesmith.checks import CHECKS
from tunesmith.checks._probing import N_FOLDS, cross_validated
from tunesmith.checks.learning_curve import SHARES, Gain, gain_of_more, learned

CHECK = CHECKS.get("learning_curve")
SIZES = np.array(SHARES) * 8000


def curve(b=2.0, c=0.5, noise=0.0, seed=0, sizes=SIZES):
    """Accuracies [folds, shares] that follow a power law."""
    rng = np.random.default_rng(seed)
    return 0.95 - b * sizes**-c + noise * rng.normal(size=(N_FOLDS, len(sizes)))


def true_gain(b=2.0, c=0.5):
    return b * 8000**-c * (1 - 2**-c)


@pytest.mark.parametrize("c", [0.3, 0.5, 0.8])
def test_the_gain_of_an_exact_curve_is_found(c):
    gain = gain_of_more(SIZES, curve(c=c), 0)
    assert gain.value == pytest.approx(true_gain(c=c), rel=1e-3)


def test_the_interval_holds_the_true_gain():
    held = 0
    for seed in range(40):
        gain = gain_of_more(SIZES, curve(noise=0.004, seed=seed), seed)
        held += gain.low <= true_gain() <= gain.high
    assert held >= 34


def test_where_nothing_is_gained_nothing_is_shown():
    shown = 0
    for seed in range(40):
        gain = gain_of_more(SIZES, curve(b=0.0, noise=0.004, seed=seed), seed)
        shown += gain.low > 0
    assert shown <= 4


def test_more_rows_help_where_the_probe_has_much_to_learn(topics):
    data, _ = topics(400)
    probed = cross_validated(data)
    values = learned(data, probed)
    assert values.shape == (N_FOLDS, len(SHARES))
    right = probed.logits.argmax(axis=1) == probed.items.labels
    folds = probed.folds[probed.items.rows]
    np.testing.assert_allclose(values[:, -1], [right[folds == fold].mean() for fold in range(N_FOLDS)])
    (finding,) = CHECK.find(data)
    twice = finding.evidence["twice"]
    assert Gain(**twice).low <= twice["value"] <= twice["high"]
    assert ("not shown" in finding.text) is not finding.evidence["is_shown"]
