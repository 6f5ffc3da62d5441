from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nervaluate import Evaluator

from tunesmith.evaluation.intervals import Method, intervals
from tunesmith.metrics import spans, total

LABELS = ["PER", "LOC", "ORG", "MISC"]


def flat_entities(rng):
    """Entities of one text that do not overlap: cuts of 12 words, some of them labelled."""
    cuts = sorted(rng.choice(13, size=rng.integers(2, 8), replace=False).tolist())
    return [(start, end, str(rng.choice(LABELS[:3]))) for start, end in pairwise(cuts) if rng.random() < 0.6]


def disturbed(entities, rng):
    """Some entities lost, some with another label, some shorter: right often enough to tell scores apart."""
    kept = [entity for entity in entities if rng.random() < 0.8]
    return [
        (start, max(start + 1, end - int(rng.random() < 0.2)), str(rng.choice([label] * 4 + LABELS[:3])))
        for start, end, label in kept
    ] or flat_entities(rng)


def as_nervaluate(rows):
    # Its ends are inclusive.
    return [[{"start": s, "end": e - 1, "label": label} for s, e, label in row] for row in rows]


@pytest.mark.parametrize("seed", range(8))
def test_scores_are_those_of_nervaluate(seed):
    rng = np.random.default_rng(seed)
    gold = [flat_entities(rng) for _ in range(40)]
    predicted = [disturbed(row, rng) for row in gold]
    result = Evaluator(as_nervaluate(gold), as_nervaluate(predicted), LABELS, loader="dict").evaluate()
    sums = total(spans.statistics(gold, predicted, LABELS))
    scores, table = spans.formula(sums), spans.per_label(sums)
    strict = result["overall"]["strict"]
    by_label = {label: found["strict"] for label, found in result["entities"].items()}
    for name in ("f1", "precision", "recall"):
        assert np.isclose(scores[name], getattr(strict, name))
        for label, found in by_label.items():
            value = table[name][LABELS.index(label)]
            assert np.isclose(0.0 if value is None else value, getattr(found, name))
    assert np.isclose(scores["f1_macro"], np.mean([found.f1 for found in by_label.values()]))
    assert table["support"] == [sum(label == e[2] for row in gold for e in row) for label in LABELS]


entities = st.lists(st.tuples(st.integers(0, 3), st.integers(4, 6), st.sampled_from(LABELS)), max_size=6)
rows = st.lists(st.tuples(entities, entities), min_size=1, max_size=12)


@settings(max_examples=100, deadline=None)
@given(rows)
def test_f1_is_that_of_sets(pairs):
    gold, predicted = zip(*pairs, strict=True)
    scores = spans.formula(total(spans.statistics(gold, predicted, LABELS)))
    true = {(i, *e) for i, row in enumerate(gold) for e in row}
    guessed = {(i, *e) for i, row in enumerate(predicted) for e in row}
    both = len(true & guessed)
    assert np.isclose(scores["f1"], 2 * both / (len(true) + len(guessed)) if true or guessed else 0.0)
    assert np.isclose(scores["precision"], both / len(guessed) if guessed else 0.0)
    assert np.isclose(scores["recall"], both / len(true) if true else 0.0)


@settings(max_examples=50, deadline=None)
@given(rows)
def test_statistics_add_up_and_swapping_sides_swaps_precision_and_recall(pairs):
    gold, predicted = zip(*pairs, strict=True)
    statistics = spans.statistics(gold, predicted, LABELS)
    cut = len(pairs) // 2
    assert np.array_equal(total(statistics[:cut]) + total(statistics[cut:]), total(statistics))
    scores = spans.formula(total(statistics))
    swapped = spans.formula(total(spans.statistics(predicted, gold, LABELS)))
    assert scores["precision"] == swapped["recall"]
    assert scores["f1"] == swapped["f1"]
    assert scores["f1_macro"] == swapped["f1_macro"]


def test_an_entity_given_twice_counts_once_and_lists_do_as_well_as_tuples():
    once, twice = [[(0, 2, "PER")]], [[[0, 2, "PER"], [0, 2, "PER"]]]
    sums = total(spans.statistics(once, twice, LABELS))
    assert spans.formula(sums)["f1"] == 1.0


def test_no_entities_score_zero():
    scores = spans.formula(total(spans.statistics([[], []], [[], []], LABELS)))
    assert set(scores) == {"f1", "precision", "recall", "f1_macro"}
    assert all(score == 0.0 for score in scores.values())


def test_an_unknown_label_is_an_error():
    with pytest.raises(KeyError, match="GPE"):
        spans.statistics([[(0, 1, "GPE")]], [[]], LABELS)


def test_intervals_of_mostly_empty_rows_are_finite():
    gold = [[(0, 1, "PER")]] + [[]] * 6
    statistics = spans.statistics(gold, gold, LABELS)
    found = intervals(statistics, spans.formula, spans.shares(len(LABELS)), Method(200, 0.95, 0))["f1"]
    assert found.value == found.high == 1.0
    assert 0.0 <= found.low < 0.2  # one entity says next to nothing


def test_errors_of_entities_are_of_four_kinds():
    gold = [(0, 4, "A"), (10, 14, "A"), (20, 24, "A"), (30, 34, "B"), (40, 44, "B")]
    predicted = [(0, 4, "A"), (10, 16, "A"), (20, 24, "B"), (50, 54, "A")]
    of_gold, of_predicted = spans.error_kinds(gold, predicted)
    assert of_gold == {
        (10, 14, "A"): "boundary",
        (20, 24, "A"): "type",
        (30, 34, "B"): "missed",
        (40, 44, "B"): "missed",
    }
    assert of_predicted == {
        (10, 16, "A"): "boundary",
        (20, 24, "B"): "type",
        (50, 54, "A"): "spurious",
    }
    counts = spans.count_errors([gold, []], [predicted, [(0, 1, "A")]])
    assert counts == {"boundary": 1, "type": 1, "missed": 2, "spurious": 2}


def test_a_wrong_entity_is_paired_with_one_gold_entity_alone():
    of_gold, of_predicted = spans.error_kinds([(0, 5, "A"), (6, 20, "A")], [(0, 20, "A")])
    assert of_predicted == {(0, 20, "A"): "boundary"}
    assert of_gold == {(0, 5, "A"): "missed", (6, 20, "A"): "boundary"}
    of_gold, _ = spans.error_kinds([(0, 9, "A")], [(0, 5, "B"), (4, 9, "A")])
    assert of_gold == {(0, 9, "A"): "boundary"}
