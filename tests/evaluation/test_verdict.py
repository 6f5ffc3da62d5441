import numpy as np
import pytest

from tunesmith.data.examples import Examples
from tunesmith.encoded import Encoded
from tunesmith.evaluation.baselines import RowStatistics
from tunesmith.evaluation.scoring import Scored
from tunesmith.evaluation.verdict import compare_with_baselines, describe_tests, judge, strongest
from tunesmith.recipe import EvaluateRecipe
from tunesmith.tasks import TASKS, EvalPredictions

CLASSES, NUMBERS = TASKS.get("text-classification"), TASKS.get("text-regression")
SCHEMA = {"labels": ["a", "b"]}
HOW = EvaluateRecipe(bootstrap_samples=500)


def examples(n, documents=None):
    columns = {"text": [f"text {i}" for i in range(n)]}
    extra = {} if documents is None else {"doc": documents}
    return Examples(columns, ("x.csv",), np.zeros(n, np.int32), np.arange(n), extra=extra)


def right(n, n_right):
    """The first rows are answered right, the others wrong."""
    labels = np.zeros(n, dtype=np.int64)
    encoded = Encoded.of({"input_ids": [[1]] * n}, {"labels": labels}, n_rows=n)
    logits = np.eye(2, dtype=np.float32)[(np.arange(n) >= n_right).astype(int)]
    return EvalPredictions({"text": [""] * n}, encoded, logits)


def model(n, n_right, documents=None):
    group_by = None if documents is None else "doc"
    return Scored(CLASSES, SCHEMA, examples(n, documents), right(n, n_right), group_by)


def baseline(n, n_right):
    return RowStatistics.of(CLASSES, right(n, n_right), SCHEMA)


def verdict_of(final, baselines, **rest):
    return judge(final, compare_with_baselines(final, baselines, HOW, 0), split="test", **rest)


def test_better_is_said_with_the_interval_of_the_difference():
    found = verdict_of(model(200, 180), {"majority": baseline(200, 100), "probe": baseline(200, 150)})
    assert (found["outcome"], found["against"]) == ("better", "probe")
    assert found["difference"] == pytest.approx(0.15)
    assert 0 < found["low"] < 0.15 < found["high"]
    low, high = 100 * found["low"], 100 * found["high"]
    assert found["text"] == f"+15.0 points over the probe [{low:.1f}, {high:.1f}]: fine-tuning was worth it"


def test_the_comparison_is_paired():
    """Both err on the same rows: a difference that is within either interval alone is found."""
    found = verdict_of(model(400, 300), {"probe": baseline(400, 284)})
    final = model(400, 300).intervals(HOW, 0)["accuracy"]
    assert final.low < 284 / 400
    assert found["outcome"] == "better"


def test_a_small_difference_is_not_shown_and_worse_is_said():
    small = verdict_of(model(100, 80), {"probe": baseline(100, 79)})
    assert small["outcome"] == "not_shown"
    assert small["low"] < 0 < small["high"]
    assert "it is not shown that fine-tuning was worth it" in small["text"]
    worse = verdict_of(model(200, 100), {"majority": baseline(200, 160)})
    assert worse["outcome"] == "worse"
    assert worse["high"] < 0
    assert worse["text"].startswith("-30.0 points over the most frequent label")
    assert worse["text"].endswith("fine-tuning made it worse than the most frequent label")


def test_a_few_rows_are_not_judged():
    found = verdict_of(model(29, 29), {"probe": baseline(29, 0)})
    assert found["outcome"] == "too_few_rows"
    assert found["difference"] is None
    assert found["text"] == "29 test rows are too few to judge: about 30 are needed"
    assert verdict_of(model(30, 30), {"probe": baseline(30, 0)})["outcome"] == "better"


def test_rows_of_a_few_groups_are_not_judged_either():
    documents = [f"d{i % 5}" for i in range(100)]
    found = verdict_of(model(100, 90, documents), {"probe": baseline(100, 50)})
    assert found["outcome"] == "too_few_rows"
    assert "5 test groups of rows" in found["text"]


def test_without_baselines_there_is_nothing_to_compare():
    found = verdict_of(model(100, 90), {})
    assert (found["outcome"], found["against"]) == ("nothing_to_compare", None)


def test_what_was_done_is_named():
    assert verdict_of(model(200, 180), {"majority": baseline(200, 90)}, what="the probe")["text"].endswith(
        "the probe was worth it"
    )


def test_the_strongest_is_compared_and_of_equal_ones_the_probe():
    found = {"tfidf_logistic_regression": baseline(100, 80), "probe": baseline(100, 70)}
    assert strongest(compare_with_baselines(model(100, 90), found, HOW, 0)) == "tfidf_logistic_regression"
    found["probe"] = baseline(100, 80)
    assert strongest(compare_with_baselines(model(100, 90), found, HOW, 0)) == "probe"


def numbers(true, predicted):
    n = len(true)
    encoded = Encoded.of(
        {"input_ids": [[1]] * n}, {"labels": np.asarray(true, np.float32)[:, None]}, n_rows=n
    )
    return EvalPredictions({"text": [""] * n}, encoded, np.asarray(predicted, np.float32)[:, None])


class SmallerIsBetter(type(NUMBERS)):
    primary_metric = "mae"
    name = "smaller"


def test_of_a_metric_that_is_better_when_smaller_the_difference_is_still_a_gain():
    task = SmallerIsBetter()
    rng = np.random.default_rng(0)
    true = rng.normal(size=100)
    final = Scored(task, {}, examples(100), numbers(true, true + 0.1))
    mean = RowStatistics.of(task, numbers(true, np.zeros(100)), {})
    found = verdict_of(final, {"mean": mean})
    assert found["outcome"] == "better"
    assert 0 < found["low"] < found["difference"] < found["high"]
    assert "mean absolute error below the mean of the training rows" in found["text"]
    reverse = verdict_of(
        Scored(task, {}, examples(100), numbers(true, np.zeros(100))),
        {"mean": RowStatistics.of(task, numbers(true, true + 0.1), {})},
    )
    assert reverse["outcome"] == "worse"
    assert "mean absolute error above the mean of the training rows" in reverse["text"]


def test_every_baseline_is_tested_and_the_verdict_has_the_same_figures():
    baselines = {
        "majority": baseline(200, 100),
        "probe": baseline(200, 172),
        "tfidf_ridge": baseline(200, 178),
    }
    final = model(200, 180)
    tests = compare_with_baselines(final, baselines, HOW, 0)
    found = describe_tests(final, tests, HOW, split="test")
    assert (found["metric"], found["n"], found["correction"]) == ("accuracy", 200, "holm")
    strong, weak = found["against"]["tfidf_ridge"], found["against"]["majority"]
    assert (strong["only_this_right"], strong["only_other_right"]) == (2, 0)
    assert (weak["only_this_right"], weak["test"], weak["outcome"]) == (80, "mcnemar", "better")
    assert weak["text"].startswith(
        "this model is better than the most frequent label: +40.0 points (95 % interval "
    )
    assert weak["text"].endswith("p < 0.001")
    assert all(one["p"] <= one["p_holm"] for one in found["against"].values())
    verdict = judge(final, tests, split="test")
    assert verdict["against"] == "tfidf_ridge"
    assert {key: strong[key] for key in ("difference", "low", "high", "outcome")} == {
        key: verdict[key] for key in ("difference", "low", "high", "outcome")
    }


def test_an_interval_above_zero_is_not_enough_where_the_test_says_otherwise():
    """Six rows of 200, all for the model: the p-value is 0.03, and 0.06 after the correction for two baselines."""
    baselines = {"majority": baseline(200, 174), "probe": baseline(200, 174)}
    found = verdict_of(model(200, 180), baselines)
    assert found["low"] > 0
    assert found["outcome"] == "not_shown"
    assert ", but p = 0.0" in found["text"]
