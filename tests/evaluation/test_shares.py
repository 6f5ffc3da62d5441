"""What is declared as a share is the same number as the formula's."""

import numpy as np
import pytest

from tunesmith.evaluation.clusters import Clusters
from tunesmith.evaluation.shares import evidence
from tunesmith.metrics import (
    METRICS,
    classification,
    language_modelling,
    multi_label,
    overlap,
    preference,
    spans,
    squad,
    total,
)
from tunesmith.tasks import TASKS

RNG = np.random.default_rng(0)


def case_of_classes():
    # Class 3 never occurs.
    gold = RNG.integers(0, 3, 100)
    statistics = classification.statistics(gold, np.where(RNG.random(100) < 0.7, gold, 1), 4)
    return statistics, classification.formula, classification.shares(4)


def case_of_labels():
    gold = RNG.random((80, 5)) < [0.5, 0.3, 0.2, 0.1, 0.0]
    statistics = multi_label.statistics(gold, gold ^ (RNG.random((80, 5)) < 0.1) & (np.arange(5) < 4))
    return statistics, multi_label.formula, multi_label.shares(5)


def case_of_entities():
    gold = [[(i, i + 1, "PER") for i in range(RNG.integers(4))] for _ in range(50)]
    found = [row[:2] + [(9, 12, "ORG")] * (len(row) % 2) for row in gold]
    return spans.statistics(gold, found, ["PER", "ORG", "LOC"]), spans.formula, spans.shares(3)


def case_of_answers():
    golds = [["red wine"], [], ["blue"], ["two"]] * 10
    statistics = squad.statistics(["red", "", "blue", "three", "wine", "x", "blue", ""] * 5, golds)
    return (
        statistics,
        lambda sums: squad.formula(sums, with_unanswerable=True),
        squad.shares(with_unanswerable=True),
    )


def case_of_texts():
    texts, references = ["a cat sat", "the dog", "a bird sings"], [["a cat sat down"], ["the dog"], ["birds"]]
    statistics = overlap.statistics(texts, references, overlap.MEASURES)
    before = np.ones((3, 2))
    return (
        np.concatenate([before, statistics], axis=1),
        lambda sums: overlap.formula(sums[..., 2:], overlap.MEASURES),
        overlap.shares(overlap.MEASURES, first=2),
    )


def case_of_pairs():
    return preference.statistics(RNG.normal(size=60).round(0)), preference.formula, preference.shares()


def case_of_tokens():
    tokens = RNG.integers(1, 9, 40)
    statistics = language_modelling.statistics(tokens * 2.0, tokens, correct=RNG.binomial(tokens, 0.6))
    return (
        statistics,
        lambda sums: language_modelling.formula(sums, with_accuracy=True),
        language_modelling.shares(),
    )


CASES = [
    case_of_classes, case_of_labels, case_of_entities, case_of_answers, case_of_texts, case_of_pairs,
    case_of_tokens,
]  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_share_is_the_value_of_the_formula(case):
    statistics, formula, shares = case()
    sums = total(statistics)
    assert shares
    for name, share in shares.items():
        if share.right is None:
            continue
        below = sums @ share.of
        values = (sums @ share.right) / np.where(below > 0, below, 1)
        weights = (below > 0) / (len(below) if share.counts_all else (below > 0).sum())
        if share.by is not None:
            weights = sums @ share.by / (sums @ share.by).sum()
        assert values @ weights == pytest.approx(float(formula(sums)[name])), name


@pytest.mark.parametrize("case", CASES)
def test_its_influence_is_the_derivative_of_the_formula(case):
    statistics, formula, shares = case()
    clusters = Clusters.of(statistics, None)
    for name, share in shares.items():
        if name == "bleu":  # too few hits: its smoothing has steps
            continue
        found = evidence(clusters, statistics, share, lambda sums, name=name: formula(sums)[name])
        numeric = clusters.influence(lambda sums, name=name: formula(sums)[name])
        assert np.allclose(found.influence, numeric, atol=1e-6), name
        assert found.weights @ found.counts == pytest.approx(1.0)
        assert found.n_groups <= found.n_decisions * 1.05  # a wrong class is half a decision in two parts


def test_every_task_declares_its_shares():
    """A metric that people read as a percentage has an interval that is never a point."""
    label_schema = {"labels": ["O", "B-a", "I-a"], "has_unanswerable": True}
    for name in TASKS.names():
        task = TASKS.get(name)
        shares = task.shares(label_schema)
        assert all(METRICS.get(metric).is_share for metric in shares)
        if METRICS.get(task.primary_metric).is_share:
            assert task.primary_metric in shares
