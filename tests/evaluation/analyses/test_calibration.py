"""What the analysis says where there is little to say."""

import numpy as np
import pytest

from tunesmith.data.examples import Examples
from tunesmith.encoded import Encoded
from tunesmith.evaluation.analyses import ANALYSES, Answered
from tunesmith.evaluation.scoring import Scored
from tunesmith.recipe import EvaluateRecipe
from tunesmith.run import Run, write_json
from tunesmith.tasks import TASKS, EvalPredictions

HOW = EvaluateRecipe(bootstrap_samples=100)


def answered(tmp_path, outputs, labels, *, task="text-classification", fitted=None, split="test"):
    run = Run(tmp_path)
    write_json(run.manifest_file, {"format": 2, **({} if fitted is None else {"calibration": fitted})})
    outputs = np.asarray(outputs, dtype=np.float32)
    n, k = outputs.shape
    encoded = Encoded.of({"input_ids": [[1]] * n}, {"labels": np.asarray(labels)})
    schema = {"labels": [str(i) for i in range(k)]}
    rows = Examples({"text": ["a"] * n}, ("x.csv",), np.zeros(n, dtype=np.int32), np.arange(n))
    scored = Scored(TASKS.get(task), schema, rows, EvalPredictions({}, encoded, outputs))
    return Answered(scored, HOW, 0, run, metrics={"primary": {"split": split}})


def test_before_is_what_the_head_said_without_its_scaling(tmp_path):
    rng = np.random.default_rng(0)
    raw = 4 * rng.normal(size=(300, 3))
    labels = (np.exp(raw / 3) / np.exp(raw / 3).sum(-1, keepdims=True)).cumsum(-1)
    labels = (labels < rng.random((300, 1))).sum(-1)
    fitted = {"method": "vector", "scale": [0.3, 0.4, 0.3], "bias": [0.1, 0.0, -0.2]}
    scaled = raw * fitted["scale"] + fitted["bias"]
    find = ANALYSES.get("calibration").find
    found = find(answered(tmp_path, scaled, labels, fitted=fitted))
    plain = find(answered(tmp_path, raw, labels))
    assert found["before"]["ece"]["value"] == pytest.approx(plain["after"]["ece"]["value"], abs=1e-6)
    assert found["before"]["log_loss"]["value"] == pytest.approx(
        plain["after"]["log_loss"]["value"], rel=1e-5
    )
    assert found["after"]["ece"]["value"] < found["before"]["ece"]["value"]
    assert (plain["method"], found["n"], plain["n"]) == ("none", 300, 300)


def test_few_answers_are_not_measured(tmp_path):
    found = ANALYSES.get("calibration").find(answered(tmp_path, np.eye(2).repeat(5, 0), [0] * 10))
    assert found["n"] == 0
    assert "after" not in found


def test_rows_that_it_was_fitted_on_are_named(tmp_path):
    fitted = {"method": "temperature", "scale": [0.5], "bias": [0.0], "temperature": 2.0}
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(60, 2)), rng.integers(0, 2, 60)
    find = ANALYSES.get("calibration").find
    assert find(answered(tmp_path, *rows, fitted=fitted, split="validation"))["is_fitted_on_these_rows"]
    assert not find(answered(tmp_path, *rows, fitted=fitted))["is_fitted_on_these_rows"]
    assert not find(answered(tmp_path, *rows, split="validation"))["is_fitted_on_these_rows"]


def test_a_task_without_scores_has_none(tmp_path):
    assert ANALYSES.get("calibration").find(
        answered(tmp_path, np.zeros((30, 1)), np.zeros(30), task="text-regression")
    ) is None  # fmt: skip
