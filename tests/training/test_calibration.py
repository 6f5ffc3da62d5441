"""Scale and shift of a head, against scipy, torch and what was planted."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import expit, log_softmax, softmax
from sklearn.metrics import log_loss, recall_score

from tunesmith.encoded import Encoded
from tunesmith.tasks import TASKS, EvalPredictions
from tunesmith.training.calibration import (
    LEAST_ANSWERS,
    Items,
    Question,
    choose_scaling,
    fit_temperature,
    fit_vector,
)


def drawn(n, k, *, temperature=1.0, bias=0.0, spread=2.0, seed=0):
    """Logits, and labels whose probabilities are the softmax of the logits by a temperature."""
    rng = np.random.default_rng(seed)
    logits = spread * rng.normal(size=(n, k))
    shares = softmax(logits / temperature + bias, axis=-1)
    return logits, (shares.cumsum(-1) < rng.random((n, 1))).sum(-1)


def items_of(logits, labels):
    return Items(np.arange(len(logits)), logits, np.eye(logits.shape[1])[labels])


def question_of(logits, labels, *, groups=None, has_bias=True, scores=None):
    task = TASKS.get("text-classification")
    ids = [[1]] * len(labels)
    encoded = Encoded.of({"input_ids": ids}, {"labels": np.asarray(labels)})
    evaluated = EvalPredictions({}, encoded, np.asarray(logits, dtype=np.float32))
    return Question(
        task.calibration,
        evaluated,
        {"labels": [str(i) for i in range(np.asarray(logits).shape[1])]},
        groups,
        seed=3,
        has_bias=has_bias,
        scores=scores or (lambda rows: {"accuracy": float((rows.outputs.argmax(-1) == labels).mean())}),
    )


@pytest.mark.parametrize("true", [0.4, 1.0, 2.5])
def test_the_temperature_is_scipys_and_near_the_planted_one(true):
    logits, labels = drawn(3000, 5, temperature=true)
    scale = fit_temperature(items_of(logits, labels)).scale[0]

    targets = np.where(np.eye(5)[labels] > 0, 3001 / 3002, 1 / 3002 / 4)

    def loss(values):
        return -(targets * log_softmax(np.exp(values[0]) * logits, axis=-1)).sum()

    expected = minimize(loss, [0.0], method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-10}).x[0]
    assert scale == pytest.approx(np.exp(expected), rel=2e-5)
    assert 1 / scale == pytest.approx(true, rel=0.08)


@pytest.mark.parametrize("independent", [False, True])
def test_the_vector_is_that_of_torch(independent):
    rng = np.random.default_rng(1)
    logits = 2 * rng.normal(size=(500, 4))
    if independent:
        targets = (rng.random((500, 4)) < expit(logits * [0.5, 1, 2, 1] + [-1, 0, 1, 0.3])).astype(float)
    else:
        targets = np.eye(4)[drawn(500, 4, bias=np.array([0.8, -0.5, 0, 0]), seed=1)[1]]
        logits = drawn(500, 4, seed=1)[0]
    items = Items(np.arange(500), logits, targets, independent)
    found = fit_vector(items, ridge=1.0)
    factor = fit_temperature(items).scale[0]
    n_true = targets.sum(0)
    if independent:
        targets = np.where(targets > 0, (n_true + 1) / (n_true + 2), 1 / (500 - n_true + 2))
    else:
        targets = np.where(targets > 0, 501 / 502, 1 / 502 / 3)
    x, y = torch.tensor(logits), torch.tensor(targets)
    scale = torch.full((4,), factor, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [scale, bias], max_iter=500, tolerance_grad=1e-10, line_search_fn="strong_wolfe"
    )

    def closure():
        optimizer.zero_grad()
        scaled = x * scale + bias
        if independent:
            loss = torch.nn.functional.binary_cross_entropy_with_logits(scaled, y, reduction="sum")
        else:
            loss = torch.nn.functional.cross_entropy(scaled, y, reduction="sum")
        total = loss + ((scale / factor - 1).square().sum() + bias.square().sum()) / 2
        total.backward()
        return total

    optimizer.step(closure)
    assert found.scale == pytest.approx(scale.tolist(), rel=2e-3)
    assert found.bias == pytest.approx(bias.tolist(), abs=2e-3)


@pytest.mark.parametrize("margin", [2.0, 4.0, 12.0])
def test_thirty_rows_that_are_all_right_do_not_make_it_certain(margin):
    logits = np.zeros((30, 3))
    labels = np.arange(30) % 3
    logits[np.arange(30), labels] = margin
    scaled = fit_temperature(items_of(logits, labels))(logits)
    assert softmax(scaled, axis=-1).max() == pytest.approx(31 / 32, abs=1e-3)
    found = choose_scaling(question_of(logits, labels), "auto")
    assert softmax(found.scaling(logits), axis=-1).max() <= max(31 / 32, softmax(logits[0]).max()) + 1e-3


def test_rows_that_are_all_wrong_have_a_bound_too():
    logits = np.tile([9.0, 0.0], (40, 1))
    scale = fit_temperature(items_of(logits, np.ones(40, dtype=int))).scale[0]
    assert scale == pytest.approx(np.exp(-3), rel=1e-4)


def test_a_label_without_validation_rows_keeps_the_common_factor():
    logits, labels = drawn(400, 4, bias=np.array([1.0, 0, -1.0, 0]))
    logits, labels = logits[labels != 3], labels[labels != 3]
    found = fit_vector(items_of(logits, labels), ridge=1.0)
    common = fit_temperature(items_of(logits, labels)).scale[0]
    assert found.scale[3] == pytest.approx(common)
    assert found.bias[3] == 0.0
    assert abs(found.bias[0]) > 0.1


def test_nothing_is_changed_where_nothing_helps():
    logits, labels = drawn(200, 3, seed=5)
    found = choose_scaling(question_of(logits, labels), "auto")
    assert (found.method, found.scaling.is_identity) == ("none", True)
    assert found.log_loss["none"] == pytest.approx(
        log_loss(labels, softmax(np.float32(logits).astype(float), axis=-1)), rel=1e-5
    )


def test_too_much_confidence_is_taken_back_and_no_answer_changes():
    logits, labels = drawn(400, 5, temperature=3.0)
    question = question_of(logits, labels, has_bias=False)
    found = choose_scaling(question, "auto")
    assert found.method == "temperature"
    assert found.to_json()["temperature"] == pytest.approx(3.0, rel=0.25)
    after = found.scaling.applied(question.evaluated).outputs
    assert (after.argmax(-1) == question.evaluated.outputs.argmax(-1)).all()
    back = found.scaling.inverse().applied(found.scaling.applied(question.evaluated)).outputs
    assert back == pytest.approx(question.evaluated.outputs, abs=1e-5)


def test_labels_with_shifts_of_their_own_get_a_vector():
    shift = np.array([1.0, -1.0, 0.0, 0.5])
    logits, labels = drawn(2500, 4, temperature=1.5, bias=shift)
    found = choose_scaling(question_of(logits, labels), "auto")
    assert found.method == "vector"
    assert np.subtract(found.scaling.bias, np.mean(found.scaling.bias)) == pytest.approx(
        shift - shift.mean(), abs=0.25
    )
    assert found.log_loss["vector"] < found.log_loss["temperature"]


def test_a_vector_that_lowers_a_metric_is_not_taken():
    """The shifts of rows with many of one label raise the accuracy and lower the recall of the others."""
    logits, labels = drawn(900, 3, spread=0.7, bias=np.array([2.5, 0, 0]))

    def macro_recall(rows):
        return {"recall": float(recall_score(labels, rows.outputs.argmax(-1), average="macro"))}

    assert choose_scaling(question_of(logits, labels), "auto").method == "vector"
    found = choose_scaling(question_of(logits, labels, scores=macro_recall), "auto")
    assert found.method != "vector"
    assert "changes answers" in found.reason
    assert choose_scaling(question_of(logits, labels, scores=macro_recall), "vector").method == "vector"


def test_a_vector_that_only_lowers_the_loss_does_not_change_answers():
    """Shifts that change hardly any answer: the loss falls clearly, and no answer becomes right."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 800)
    logits = np.where(np.eye(2)[labels] > 0, 3.0, -3.0) + 0.5 * rng.normal(size=(800, 2))
    flipped = (rng.random(800) < 0.2) & (labels == 1)
    labels = np.where(flipped, 0, labels)
    found = choose_scaling(question_of(logits, labels), "auto")
    assert found.log_loss["vector"] < 0.97 * found.log_loss["temperature"]
    assert found.method == "temperature"
    assert "changes answers without" in found.reason


def test_a_head_without_bias_gets_no_vector():
    logits, labels = drawn(900, 4, temperature=1.5, bias=np.array([2.0, -2.0, 0.0, 1.0]))
    found = choose_scaling(question_of(logits, labels, has_bias=False), "auto")
    assert found.method == "temperature"
    assert "vector" not in found.log_loss


@pytest.mark.parametrize(
    ("n", "groups", "reason"),
    [(LEAST_ANSWERS - 1, None, "19 answers are too few"), (60, np.zeros(60, dtype=int), "of one group")],
)
def test_rows_that_tell_nothing(n, groups, reason):
    logits, labels = drawn(n, 3, temperature=4.0)
    found = choose_scaling(question_of(logits, labels, groups=groups), "temperature")
    assert found.method == "none"
    assert reason in found.reason


def test_copies_of_rows_in_one_group_do_not_choose_for_themselves():
    """Twenty copies of each row fit themselves perfectly; held out as a group they do not."""
    logits, labels = drawn(30, 6, seed=2)
    many = np.repeat(np.arange(30), 20)
    apart = choose_scaling(question_of(logits[many], labels[many]), "auto")
    together = choose_scaling(question_of(logits[many], labels[many], groups=many), "auto")
    assert apart.method == "vector"
    assert together.method != "vector"


def test_the_result_does_not_depend_on_what_ran_before():
    logits, labels = drawn(300, 4, temperature=2.0)
    one = choose_scaling(question_of(logits, labels), "auto")
    np.random.default_rng().random(5)
    assert choose_scaling(question_of(logits, labels), "auto") == one


def test_of_very_many_rows_some_are_fitted_on():
    logits, labels = drawn(30_000, 2, temperature=2.0)
    few = items_of(logits, labels)
    whole = fit_temperature(replace(few)).scale[0]
    assert 1 / whole == pytest.approx(2.0, rel=0.05)


def test_independent_labels_are_scaled_each_by_its_own():
    rng = np.random.default_rng(4)
    logits = 2 * rng.normal(size=(600, 3))
    labels = (rng.random((600, 3)) < expit(logits * [0.4, 1.5, 1.0] + [-1.5, 0.0, 1.0])).astype(np.float32)
    task = TASKS.get("multi-label-classification")
    encoded = Encoded.of({"input_ids": [[1]] * 600}, {"labels": labels})
    evaluated = EvalPredictions({}, encoded, logits.astype(np.float32))
    schema = task.thresholds.fit(evaluated, {"labels": ["a", "b", "c"]})
    question = Question(task.calibration, evaluated, schema, None, 1, True, lambda rows: {})
    found = choose_scaling(question, "auto")
    assert found.method == "vector"
    assert found.scaling.scale == pytest.approx([0.4, 1.5, 1.0], rel=0.25)
    assert found.scaling.bias == pytest.approx([-1.5, 0.0, 1.0], abs=0.35)
    moved = task.thresholds.moved(schema, found.scaling)
    before, after = task.decode(evaluated, schema), task.decode(found.scaling.applied(evaluated), moved)
    for one, other in zip(before, after, strict=True):
        assert {item["label"] for item in one["labels"]} == {item["label"] for item in other["labels"]}
