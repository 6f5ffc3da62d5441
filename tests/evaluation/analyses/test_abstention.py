import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from tunesmith.evaluation.abstaining import error_bound, least_error
from tunesmith.evaluation.analyses import ANALYSES
from tunesmith.reports.sections import SECTIONS, Source
from tunesmith.testing.answered import answered, random_rows


def rows(n, right, seed):
    return random_rows(n, np.random.default_rng(seed), right=right)


def find(validation, test):
    return ANALYSES.get("abstention").find(answered(test, scored={"validation": validation}.get))


def said(found):
    section = SECTIONS.get("abstention")
    return section.sentences(section.facts(Source(None, {}, {"abstention": found})))


@pytest.mark.parametrize(("wrong", "given"), [(0, 20), (3, 40), (40, 40)])
def test_the_bounds_are_clopper_and_pearsons(wrong, given):
    low, high = proportion_confint(wrong, given, alpha=0.1, method="beta")
    assert (least_error(wrong, given), error_bound(wrong, given)) == (pytest.approx(low), pytest.approx(high))


def test_a_promise_that_the_test_rows_break_is_not_praised():
    found = find(rows(800, 0.97, 0), rows(800, 0.5, 1))
    level = next(level for level in found["levels"] if level["max_error"] == 0.1)
    assert level["given"]
    assert level["is_broken"]
    (sentence,) = said(found)
    assert "does not hold on the test rows" in sentence
    assert "could answer" not in sentence


def test_a_promise_within_chance_is_not_called_broken():
    found = find(rows(800, 0.97, 2), rows(800, 0.97, 3))
    assert not any(level.get("is_broken") for level in found["levels"])
