import numpy as np
import pytest

from tunesmith.errors import RecipeError
from tunesmith.inference import prediction_sets
from tunesmith.tasks import TASKS

LABELS = TASKS.get("text-classification").sets
NUMBERS = TASKS.get("text-regression").sets


def probabilities(n, seed, k=5):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (n, k))
    values = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    true = np.array([rng.choice(k, p=row) for row in values])
    return values, true


def known(k):
    """A classifier for mapie whose inputs are its probabilities."""
    from sklearn.base import BaseEstimator, ClassifierMixin

    class Known(ClassifierMixin, BaseEstimator):
        classes_ = np.arange(k)

        def fit(self, X, y):
            return self

        def predict_proba(self, X):
            return np.asarray(X)

        def predict(self, X):
            return np.asarray(X).argmax(1)

        def __sklearn_is_fitted__(self):
            return True

    return Known()


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95, 0.99])
def test_sets_are_those_of_mapie(coverage):
    from mapie.classification import SplitConformalClassifier

    classifier = known(5)
    values, true = probabilities(307, 0)
    new, _ = probabilities(200, 1)
    theirs = SplitConformalClassifier(
        classifier, confidence_level=coverage, conformity_score="lac", prefit=True
    )
    theirs.conformalize(values, true)
    _, sets = theirs.predict_set(new)
    most = prediction_sets.limit(prediction_sets.strangeness(LABELS, values, true), coverage)
    ours = prediction_sets.holds(LABELS, new, most)
    expected = sets[:, :, 0].copy()
    expected[np.arange(200), new.argmax(1)] = True  # we give no empty set
    assert np.array_equal(ours, expected)


def test_intervals_are_those_of_crepes():
    from crepes import ConformalRegressor

    rng = np.random.default_rng(0)
    true, predicted = rng.normal(size=333), rng.normal(size=333)
    theirs = ConformalRegressor().fit(true - predicted)
    expected = theirs.predict_int(np.array([0.5, -2.0]), confidence=0.9)
    most = prediction_sets.limit(prediction_sets.strangeness(NUMBERS, predicted[:, None], true), 0.9)
    found = prediction_sets.entries(NUMBERS, np.array([[0.5], [-2.0]]), most, {})
    assert [list(row["interval"].values()) for row in found] == pytest.approx(expected)


def test_sets_hold_the_true_label_as_often_as_promised():
    held = []
    for seed in range(300):
        values, true = probabilities(200, seed)
        new, truth = probabilities(200, 1000 + seed)
        most = prediction_sets.limit(prediction_sets.strangeness(LABELS, values, true), 0.9)
        held.append(prediction_sets.holds(LABELS, new, most)[np.arange(200), truth].mean())
    assert 0.895 < np.mean(held) < 0.92


def test_a_set_is_never_empty_and_the_best_label_comes_first():
    values = np.array([[0.4, 0.35, 0.25], [0.98, 0.01, 0.01]])
    found = prediction_sets.entries(LABELS, values, 0.05, {"labels": ["a", "b", "c"]})
    assert [[one["label"] for one in row["set"]] for row in found] == [["a"], ["a"]]
    wide = prediction_sets.entries(LABELS, values, 0.7, {"labels": ["a", "b", "c"]})
    assert [one["label"] for one in wide[0]["set"]] == ["a", "b"]


def test_too_few_rows_for_a_coverage():
    with pytest.raises(RecipeError, match="need at least 99 validation rows") as refused:
        prediction_sets.limit(np.linspace(0, 1, 98), 0.99)
    assert "Ask for 0.98 at most" in refused.value.remedy
    assert prediction_sets.limit(np.linspace(0, 1, 99), 0.99) == 1.0


@pytest.mark.parametrize("coverage", [0, 1, 95, -0.1])
def test_a_coverage_is_a_share(coverage):
    with pytest.raises(RecipeError, match="between 0 and 1"):
        prediction_sets.limit(np.linspace(0, 1, 98), coverage)
