import numpy as np
import pytest

from tunesmith.data.examples import Examples
from tunesmith.data.near_copies import text_hashes
from tunesmith.encoded import Encoded
from tunesmith.evaluation.scoring import Scored
from tunesmith.evaluation.seen import describe_seen, seen_in_training
from tunesmith.recipe import EvaluateRecipe
from tunesmith.tasks import TASKS, EvalPredictions

TASK = TASKS.get("text-classification")
HOW = EvaluateRecipe(bootstrap_samples=200)


def rows(texts):
    return Examples({"text": texts}, ("x.csv",), np.zeros(len(texts), np.int32), np.arange(len(texts)))


@pytest.fixture
def scored():
    """Ten rows; the last six are answered wrong."""
    texts = [f"text {i}" for i in range(10)]
    encoded = Encoded.of({"input_ids": [[1]] * 10}, {"labels": np.zeros(10, np.int64)}, n_rows=10)
    logits = np.eye(2, dtype=np.float32)[(np.arange(10) >= 4).astype(int)]
    return Scored(
        TASK, {"labels": ["a", "b"]}, rows(texts), EvalPredictions({"text": texts}, encoded, logits)
    )


def test_the_score_without_rows_that_were_trained_on(scored):
    train = text_hashes(rows(["TEXT 0", "text  1", "another"]))
    found = seen_in_training(scored, train, HOW, 0)
    assert (found["rows"], found["of"]) == (2, 10)
    assert found["without"]["accuracy"]["value"] == pytest.approx(2 / 8)
    assert set(found["without"]) == {"accuracy", "f1_macro", "f1_weighted"}
    others = scored.intervals(HOW, 0, np.arange(2, 10))["accuracy"]
    assert found["without"]["accuracy"] == others.to_json()


def test_none_or_all_of_them(scored):
    assert seen_in_training(scored, text_hashes(rows(["another"])), HOW, 0) == {
        "rows": 0,
        "of": 10,
        "without": {},
    }
    every = seen_in_training(scored, text_hashes(scored.examples), HOW, 0)
    assert every == {"rows": 10, "of": 10, "without": {}}
    primary = {"name": "accuracy", "split": "test"}
    assert "say nothing about new texts" in describe_seen({"primary": primary, "seen_in_training": every})


def test_in_words():
    primary = {"name": "f1", "split": "test"}
    without = {"f1": {"value": 0.811, "low": 0.8, "high": 0.82}}
    seen = {"rows": 15, "of": 4797, "without": without}
    assert describe_seen({"primary": primary, "seen_in_training": seen}) == (
        "15 of 4,797 test rows are also in training; without them F1 = 81.1 % (80.0 % to 82.0 %)"
    )
    assert describe_seen({"primary": primary}) == ""
    assert describe_seen({"primary": primary, "seen_in_training": {**seen, "rows": 0}}) == ""
