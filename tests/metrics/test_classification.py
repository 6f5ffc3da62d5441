import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support

from tunesmith.metrics import classification, total

pairs = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=80).map(np.array)


@settings(max_examples=100, deadline=None)
@given(pairs)
def test_scores_are_those_of_scikit_learn(rows):
    gold, predicted = rows[:, 0], rows[:, 1]
    scores = classification.formula(total(classification.statistics(gold, predicted, 6)))
    assert np.isclose(scores["accuracy"], accuracy_score(gold, predicted))
    for average in ("macro", "weighted"):
        expected = f1_score(gold, predicted, average=average, zero_division=0)
        assert np.isclose(scores[f"f1_{average}"], expected)


@settings(max_examples=50, deadline=None)
@given(pairs)
def test_the_table_is_that_of_scikit_learn(rows):
    gold, predicted = rows[:, 0], rows[:, 1]
    table = classification.per_class(total(classification.statistics(gold, predicted, 6)))
    expected = precision_recall_fscore_support(gold, predicted, labels=range(6), zero_division=0)
    for name, values in zip(("precision", "recall", "f1", "support"), expected, strict=True):
        assert np.allclose(table[name], values)


@settings(max_examples=30, deadline=None)
@given(pairs)
def test_statistics_add_up(rows):
    statistics = classification.statistics(rows[:, 0], rows[:, 1], 6)
    cut = len(rows) // 2
    assert np.allclose(total(statistics[:cut]) + total(statistics[cut:]), total(statistics))


def test_the_formula_takes_many_sums_at_once():
    sums = np.stack([total(classification.statistics(np.array([0, 1]), np.array([0, i]), 2)) for i in (0, 1)])
    assert classification.formula(sums)["accuracy"].tolist() == [0.5, 1.0]
