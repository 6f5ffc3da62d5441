"""Labels with an order: which are recognised, and what is reported of them."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, mean_absolute_error

from tunesmith.data.preparing import prepare
from tunesmith.errors import RecipeError
from tunesmith.recipe import Recipe
from tunesmith.tasks import ORDER, TASKS
from tunesmith.tasks._order import order_of
from tunesmith.testing.answered import classified
from tunesmith.testing.tiny import write_rows

TASK = TASKS.get("text-classification")


@pytest.mark.parametrize(
    ("labels", "order"),
    [
        (["1", "2", "3", "4", "5"], [0, 1, 2, 3, 4]),
        (["1 star", "2 stars", "3 stars"], [0, 1, 2]),
        (["high", "low", "medium"], [2, 0, 1]),
        (["Negative", "neutral", "positive", "very_positive"], [0, 1, 2, 3]),
        (["0", "1", "2", "3"], None),  # numbers of topics
        (["1", "2", "4"], None),
        (["1", "2"], None),
        (["1 star", "2 moons", "3 stars"], None),
        (["sports", "business", "world"], None),
        (["low", "medium", "sports"], None),
    ],
)
def test_an_order_is_recognised_by_names(labels, order):
    assert order_of(labels) == order


def recipe(tmp_path, labels, **data):
    rows = [{"text": f"text number {n}", "label": labels[n % len(labels)]} for n in range(60)]
    file = write_rows(tmp_path / "rows.csv", rows)
    return Recipe.model_validate({"data": {"train": [str(file)], **data}})


def test_the_order_is_learned_given_or_refused(tmp_path):
    found = prepare(TASK, recipe(tmp_path, ["high", "low", "medium"]))
    assert found.label_schema[ORDER] == [2, 0, 1]
    assert any("low < medium < high" in notice for notice in found.notices)
    assert (
        ORDER
        not in prepare(TASK, recipe(tmp_path, ["high", "low", "medium"], label_order="none")).label_schema
    )
    given = prepare(TASK, recipe(tmp_path, ["0", "1", "2"], label_order=["0", "1", "2"]))
    assert given.label_schema[ORDER] == [0, 1, 2]
    with pytest.raises(RecipeError, match="an order must hold each label once"):
        prepare(TASK, recipe(tmp_path, ["0", "1", "2"], label_order=["0", "1"]))


def test_scores_of_ordered_labels_and_their_config():
    rng = np.random.default_rng(0)
    labels, n = ["high", "low", "medium"], 200
    scored = classified(
        [f"t{i}" for i in range(n)], rng.integers(3, size=n), rng.random(n) < 0.7, names=labels
    )
    schema = {**scored.label_schema, ORDER: [2, 0, 1]}
    from tunesmith.evaluation.scoring import Scored

    ordered = Scored(TASK, schema, scored.examples, scored.evaluated)
    from tunesmith.recipe import EvaluateRecipe

    found = ordered.intervals(EvaluateRecipe(bootstrap_samples=200), 0)
    plain = scored.intervals(EvaluateRecipe(bootstrap_samples=200), 0)
    assert {name: found[name] for name in plain} == plain, "the other metrics stay what they are"
    order = np.array([2, 0, 1])
    true = order[scored.evaluated.encoded.dense["labels"]]
    predicted = order[scored.evaluated.outputs.argmax(-1)]
    assert found["label_distance"].value == pytest.approx(mean_absolute_error(true, predicted))
    kappa = cohen_kappa_score(true, predicted, weights="quadratic")
    assert found["quadratic_kappa"].value == pytest.approx(kappa)
    assert found["quadratic_kappa"].low < kappa < found["quadratic_kappa"].high
    from transformers import BertConfig

    assert TASK.label_schema_of(BertConfig(**TASK.config(schema))) == schema
