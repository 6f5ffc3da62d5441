"""Rates by group: fairlearn and scikit-learn give the same values."""

import numpy as np
import pytest

from tunesmith.evaluation.group_rates import (
    Decisions,
    auc,
    differences,
    equality_differences,
    gap_interval,
    group_aucs,
    rates,
)
from tunesmith.evaluation.intervals import Interval, Method

METHOD = Method(100, 0.95, 0)
RNG = np.random.default_rng(0)
N = 600
TRUE = RNG.random(N) < 0.4
GROUP = RNG.choice(["a", "b", "c"], N, p=[0.5, 0.3, 0.2])
SCORES = np.clip(0.3 * TRUE + 0.15 * (GROUP == "b") + RNG.random(N) * 0.7, 0, 1).round(2)
DECISIONS = Decisions(TRUE, SCORES > 0.5, SCORES)


def by_group():
    found = {name: rates(DECISIONS, np.flatnonzero(name == GROUP), METHOD, None) for name in "abc"}
    return {name: {rate: it.value for rate, it in each.items()} for name, each in found.items()}


def test_rates_and_differences_are_those_of_fairlearn():
    fairlearn = pytest.importorskip("fairlearn.metrics", reason="needs `pip install fairlearn`")
    given = DECISIONS.given
    frame = fairlearn.MetricFrame(
        metrics={
            name: getattr(fairlearn, name)
            for name in ("selection_rate", "true_positive_rate", "false_positive_rate")
        },
        y_true=TRUE, y_pred=given, sensitive_features=GROUP,
    )  # fmt: skip
    found = by_group()
    for name in "abc":
        for rate, value in found[name].items():
            assert value == pytest.approx(frame.by_group.loc[name, rate])
    how = {"y_true": TRUE, "y_pred": given, "sensitive_features": GROUP}
    expected = {
        name: getattr(fairlearn, name)(**how)
        for name in (
            "demographic_parity_difference", "equal_opportunity_difference", "equalized_odds_difference",
        )
    }  # fmt: skip
    assert differences(list(found.values())) == pytest.approx(expected)


def test_equality_differences_add_up_the_distances_of_dixon_et_al():
    overall = {rate: it.value for rate, it in rates(DECISIONS, np.arange(N), METHOD, None).items()}
    fpr = {name: DECISIONS.given[~TRUE & (name == GROUP)].mean() for name in "abc"}
    fnr = {name: 1 - DECISIONS.given[TRUE & (name == GROUP)].mean() for name in "abc"}
    expected = {
        "fped": sum(abs(DECISIONS.given[~TRUE].mean() - value) for value in fpr.values()),
        "fned": sum(abs(1 - DECISIONS.given[TRUE].mean() - value) for value in fnr.values()),
    }
    assert equality_differences(overall, list(by_group().values())) == pytest.approx(expected)


def test_aucs_are_those_of_borkan_et_al_by_scikit_learn():
    from sklearn.metrics import roc_auc_score

    inside = GROUP == "b"
    rows = {
        "subgroup_auc": inside,
        "bpsn_auc": (~inside & TRUE) | (inside & ~TRUE),
        "bnsp_auc": (inside & TRUE) | (~inside & ~TRUE),
    }
    expected = {name: roc_auc_score(TRUE[chosen], SCORES[chosen]) for name, chosen in rows.items()}
    assert group_aucs(DECISIONS, inside) == pytest.approx(expected)
    assert auc(np.array([0.5]), np.array([0.5])) == 0.5


def test_the_interval_of_a_rate_is_that_of_a_proportion():
    from statsmodels.stats.proportion import proportion_confint

    rows = np.flatnonzero(GROUP == "a")
    found = rates(DECISIONS, rows, METHOD, None)["selection_rate"]
    n = int(DECISIONS.given[rows].sum())
    low, high = proportion_confint(n, len(rows), method="agresti_coull")
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-3)


def test_the_interval_of_a_gap_is_newcombes():
    from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

    sides = []
    for count, n in ((80, 100), (60, 110)):
        low, high = proportion_confint(count, n, method="wilson")
        sides.append(Interval(count / n, low, high))
    expected = confint_proportions_2indep(80, 100, 60, 110, method="newcomb", compare="diff")
    found = gap_interval(*sides)
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-6)
