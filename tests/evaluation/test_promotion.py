"""The rule of promotion: what it lets through, and what it refuses."""

import json
import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from tunesmith.evaluation.answered_rows import AnsweredRows
from tunesmith.evaluation.candidate_slices import Slice
from tunesmith.evaluation.promotion import Rule, decide, margin_of
from tunesmith.metrics import METRICS, classification
from tunesmith.tasks import TASKS

LABELS = {"labels": ["no", "yes"]}


def answers(right, labels=None, groups=None):
    """Rows of a classifier, of which some are right."""
    n = len(right)
    labels = np.zeros(n, dtype=np.int64) if labels is None else labels
    given = np.where(right, labels, 1 - labels)
    statistics = classification.statistics(labels, given, 2)
    nothing = np.zeros(n, dtype=np.uint64)
    task = TASKS.get("text-classification")
    return AnsweredRows(task, LABELS, statistics, nothing, nothing.astype(bool), groups)


def rows(n_both, n_champion, n_challenger, n_none=0):
    """Champion and challenger with so many rows that both, only one, or none have right."""
    counts = (n_both, n_champion, n_challenger, n_none)
    champion = np.repeat([True, True, False, False], counts)
    challenger = np.repeat([True, False, True, False], counts)
    return champion, challenger


def together(*parts):
    return [np.concatenate(each) for each in zip(*parts, strict=True)]


def decided(new, old, slices=(), rule=None, groups=None):
    champion, challenger = together(rows(*new), rows(*old))
    is_new = np.arange(len(champion)) < sum(new)
    return decide(answers(champion, groups=groups), answers(challenger, groups=groups), is_new, slices, rule)


def test_what_is_better_on_new_rows_and_loses_nothing_is_promoted():
    found = decided(new=(150, 5, 40, 5), old=(900, 10, 20, 70))
    assert found.promote
    assert found.failed == ()
    assert found.new.paired.only_first == 40
    assert found.new.challenger == pytest.approx(190 / 200)
    assert found.new.champion == pytest.approx(155 / 200)
    assert "better" in found.reasons[0]
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["tests"]["new"]["outcome"] == "better"


def test_its_figures_are_those_of_statsmodels():
    found = decided(new=(150, 12, 30, 8), old=(900, 10, 20, 70))
    exact = mcnemar([[150, 12], [30, 8]], exact=True).pvalue
    mid = exact - stats.binom.pmf(12, 42, 0.5)
    assert found.new.paired.p == pytest.approx(max(mid, exact / 1.08))
    assert found.new.paired.p_holm == pytest.approx(found.new.paired.p / 2)
    assert found.new.paired.gain.value == pytest.approx(18 / 200)


def test_a_gain_within_noise_is_refused():
    found = decided(new=(150, 20, 26, 4), old=(900, 10, 20, 70))
    assert (found.promote, found.failed) == (False, ("new_rows",))
    assert found.reasons == (next(said for said in found.reasons if "200 new rows" in said),)
    assert "no difference" in found.reasons[0]


def test_a_loss_on_old_rows_is_refused_and_a_loss_that_few_rows_cannot_exclude_too():
    lost = decided(new=(150, 5, 40, 5), old=(900, 40, 10, 50))
    assert lost.failed == ("old_rows",)
    assert lost.old.paired.outcome == "worse"
    few = decided(new=(150, 5, 40, 5), old=(80, 4, 4, 2))
    assert few.failed == ("old_rows",)
    assert few.old.paired.gain.value == 0
    assert "more test rows" in few.reasons[0]
    wide = decided(new=(150, 5, 40, 5), old=(80, 4, 4, 2), rule=Rule(margin=0.08))
    assert wide.promote


def test_the_bound_on_old_rows_is_one_sided():
    """Blackwelder's test: the bound of an interval with twice the level."""
    found = decided(new=(150, 5, 40, 5), old=(3800, 60, 50, 90))
    n, only_champion, only_challenger = 4000, 60, 50
    gain = (only_challenger - only_champion) / n
    spread = math.sqrt((only_champion + only_challenger) / n - gain**2) / math.sqrt(n)
    expected = gain - stats.norm.ppf(0.95) * spread
    assert found.old.paired.gain.low == pytest.approx(expected, rel=0.05)


def test_a_greater_risk_asks_for_less_but_never_overlooks_a_loss_that_is_shown():
    asked = {"new": (150, 5, 40, 5), "old": (180, 8, 7, 5)}
    assert not decided(**asked).promote
    assert decided(**asked, rule=Rule(risk=0.5)).promote
    lost = {"new": (150, 5, 40, 5), "old": (1900, 30, 10, 60)}
    assert decided(**lost, rule=Rule(risk=0.5)).failed == ("old_rows",)


def test_a_slice_that_gets_worse_is_refused_and_named():
    champion, challenger = together(rows(150, 5, 40, 5), rows(900, 5, 60, 35), rows(60, 25, 1, 14))
    is_new = np.arange(len(champion)) < 200
    hurt = np.arange(len(champion)) >= 1200
    slices = [
        Slice("column", "whose `product` is `b`", hurt),
        Slice("column", "whose `product` is `a`", ~hurt),
        Slice("column", "whose `product` is `tiny`", np.arange(len(champion)) < 3),
    ]
    found = decide(answers(champion), answers(challenger), is_new, slices)
    assert found.failed == ("slices",)
    assert "whose `product` is `b`" in found.reasons[0]
    assert [it.name for it in found.slices] == ["whose `product` is `b`", "whose `product` is `a`"]
    raw = [it.paired.p for it in found.slices]
    corrected = multipletests(raw, method="holm")[1]
    assert [it.paired.p_holm for it in found.slices] == pytest.approx(corrected)


def test_a_slice_is_judged_with_the_correction_for_all_slices():
    champion, challenger = together(rows(150, 5, 40, 5), rows(2900, 5, 40, 55), rows(80, 10, 2, 8))
    is_new = np.arange(len(champion)) < 200
    hurt = np.arange(len(champion)) >= 3200
    alone = [Slice("column", "b", hurt)]
    rng = np.random.default_rng(0)
    many = [*alone, *(Slice("column", str(i), rng.random(len(hurt)) < 0.1) for i in range(30))]
    assert decide(answers(champion), answers(challenger), is_new, alone).failed == ("slices",)
    assert decide(answers(champion), answers(challenger), is_new, many).promote


def test_a_few_rows_of_a_new_label_are_enough_if_all_are_right():
    assert decided(new=(0, 0, 8), old=(2000, 2, 4, 30)).promote
    assert decided(new=(0, 0, 3), old=(2000, 2, 4, 30)).failed == ("new_rows",)


def test_without_old_or_new_rows_nothing_is_promoted():
    champion, challenger = rows(150, 5, 40, 5)
    every = np.ones(200, dtype=bool)
    without_old = decide(answers(champion), answers(challenger), every)
    assert (without_old.failed, without_old.old) == (("old_rows",), None)
    without_new = decide(answers(champion), answers(challenger), ~every)
    assert (without_new.failed, without_new.new) == (("new_rows",), None)
    assert json.dumps(without_new.to_json(), allow_nan=False)


def test_rows_of_one_group_count_together():
    """Forty rows of one customer are one piece of evidence, not forty."""
    groups = np.concatenate([np.arange(160), np.full(40, 160), np.arange(161, 1161)])
    assert decided(new=(150, 5, 40, 5), old=(900, 10, 20, 70)).promote
    champion, challenger = together(rows(155, 5, 0, 0), rows(0, 0, 40), rows(900, 10, 20, 70))
    is_new = np.arange(1200) < 200
    found = decide(answers(champion, groups=groups), answers(challenger, groups=groups), is_new)
    assert "new_rows" in found.failed
    assert found.new.paired.test == "permutation"


def test_a_metric_that_is_no_share_of_rows_has_a_relative_margin():
    rmse, pearson, f1 = (METRICS.get(name) for name in ("rmse", "pearson", "f1_macro"))
    assert margin_of(rmse, 2.0, 0.01) == pytest.approx(0.02)
    assert margin_of(pearson, 0.5, 0.01) == 0.01
    assert margin_of(f1, 0.5, 0.01) == 0.01


def test_a_regression_is_judged_by_its_own_metric():
    task, rng = TASKS.get("text-regression"), np.random.default_rng(1)
    true = rng.normal(size=600)
    noise = np.where(np.arange(600) < 300, 1.5, 0.3)
    from tunesmith.metrics import regression

    def model(spread):
        return regression.statistics(true, true + rng.normal(size=600) * spread)

    nothing = np.zeros(600, dtype=np.uint64)
    schema = {"mean": 0.0, "deviation": 1.0}
    one, other = (
        AnsweredRows(task, schema, model(spread), nothing, nothing.astype(bool)) for spread in (noise, 0.28)
    )
    found = decide(one, other, np.arange(600) < 300, rule=Rule(margin=0.05))
    assert found.new.paired.test == "permutation"
    assert found.promote, found.reasons
    assert not decide(other, one, np.arange(600) < 300, rule=Rule(margin=0.05)).promote
