from dataclasses import replace

import numpy as np
import pytest

from tunesmith.data.examples import Examples
from tunesmith.data.train_texts import TrainTexts
from tunesmith.encoded import Encoded
from tunesmith.evaluation.scoring import Scored
from tunesmith.evaluation.seen import describe_seen, rows_that_count, take_rows
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


def trained_on(texts):
    return TrainTexts.of(rows(texts))


def test_rows_that_were_trained_on_are_left_out_and_scored_beside(scored):
    found, entry = rows_that_count(scored, trained_on(["TEXT 0", "text  1", "another"]), HOW, 0)
    assert found.tolist() == list(range(2, 10))
    assert {key: entry[key] for key in ("rows", "exact", "of")} == {"rows": 2, "exact": 2, "of": 10}
    assert set(entry["with"]) == {"accuracy", "f1_macro", "f1_weighted"}
    assert entry["with"]["accuracy"] == scored.intervals(HOW, 0)["accuracy"].to_json()
    kept = take_rows(scored, found)
    assert kept.intervals(HOW, 0)["accuracy"].value == pytest.approx(2 / 8)
    assert kept.intervals(HOW, 0)["accuracy"] == scored.intervals(HOW, 0, found)["accuracy"]
    assert kept.examples.lines.tolist() == found.tolist()
    assert kept.evaluated.columns["text"] == [f"text {row}" for row in range(2, 10)]


def test_an_edited_copy_was_trained_on_too(scored):
    words = ["sun", "moon", "tues", "wednes", "thurs", "fri", "satur", "birth", "holi", "work"]
    texts = [
        f"my {word}bike came on a {word}day with {word}lights and {word}locks, not mine" for word in words
    ]
    edited = "My sunbike CAME on a sunday with sunlights and sunlocks, not really mine!"
    examples = rows(texts)
    train = trained_on([edited, *(f"another text {number} about nothing" for number in range(30))])
    found, entry = rows_that_count(replace(scored, examples=examples), train, HOW, 0)
    assert found.tolist() == list(range(1, 10))
    assert (entry["rows"], entry["exact"]) == (1, 0)


def test_none_or_all_of_them(scored):
    found, entry = rows_that_count(scored, trained_on(["another"]), HOW, 0)
    assert len(found) == 10
    assert entry == {"rows": 0, "exact": 0, "of": 10, "with": {}}
    found, entry = rows_that_count(scored, TrainTexts.of(scored.examples), HOW, 0)
    assert len(found) == 10, "they stay, for there are no others"
    assert entry == {"rows": 10, "exact": 10, "of": 10, "with": {}}
    primary = {"name": "accuracy", "split": "test"}
    assert "say nothing about new texts" in describe_seen({"primary": primary, "seen_in_training": entry})
    assert rows_that_count(scored, None, HOW, 0)[1] is None


def test_in_words():
    primary = {"name": "f1", "split": "test"}
    score = {"f1": {"value": 0.811, "low": 0.8, "high": 0.82}}
    seen = {"rows": 15, "exact": 9, "of": 4797, "with": score}
    assert describe_seen({"primary": primary, "seen_in_training": seen}) == (
        "15 of 4,797 test rows are also in training, or nearly, and left out of the scores; "
        "with them F1 = 81.1 % (80.0 % to 82.0 %)"
    )
    assert describe_seen({"primary": primary}) == ""
    assert describe_seen({"primary": primary, "seen_in_training": {**seen, "rows": 0}}) == ""
    earlier = {"rows": 15, "of": 4797, "without": score}
    assert describe_seen({"primary": primary, "seen_in_training": earlier}) == (
        "15 of 4,797 test rows are also in training; without them F1 = 81.1 % (80.0 % to 82.0 %)"
    )
