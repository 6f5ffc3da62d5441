import warnings

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from tunesmith.encoded import Encoded, Ragged
from tunesmith.tasks import IGNORED, TASKS, EvalPredictions, LinearProbe, Task
from tunesmith.training.probe import ProbeHead, fit_probe, probe_answers

RUN = "c0ffee"
TASK = TASKS.get("text-classification")


def encoded(labels):
    """Sequences of one token, with these labels."""
    return Encoded.of({"input_ids": [[1]] * len(labels)}, {"labels": labels})


def fitted(task, label_schema, train, validation):
    """The probe of features and labels."""
    sequences = encoded(validation[1])
    return fit_probe(
        task, label_schema, (train[0], encoded(train[1])), (validation[0], EvalPredictions({}, sequences))
    )


def data(k, n=300, d=8, seed=0):
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(k, d))
    labels = rng.integers(0, k, n)
    features = (centres[labels] + rng.normal(size=(n, d))) * np.logspace(-2, 2, d)
    return features.astype(np.float32), labels


@pytest.mark.parametrize("k", [2, 5])
def test_the_head_gives_the_probabilities_of_scikit_learn(k):
    train, validation = data(k), data(k, seed=1)
    head = fitted(TASK, {"labels": [str(i) for i in range(k)]}, train, validation)
    scaler = StandardScaler().fit(train[0])
    # Two classes have weights of their own with us, and one row of weights for both with scikit-learn.
    strength = head.strength * (2 if k == 2 else 1)
    theirs = LogisticRegression(C=strength, max_iter=1000).fit(scaler.transform(train[0]), train[1])
    logits = head.logits(validation[0])
    ours = np.exp(logits - logits.max(1, keepdims=True))
    ours /= ours.sum(1, keepdims=True)
    assert np.allclose(ours, theirs.predict_proba(scaler.transform(validation[0])), atol=0.01)


def test_a_feature_without_variance_gets_no_weight():
    """The trap: a standard deviation of 8e-33 made weights of 1e31."""
    (features, labels), validation = data(3), data(3, seed=1)
    features[:, 2] = 0.25
    features[:, 3] = 0.5 + 1e-32 * np.arange(len(features))
    head = fitted(TASK, {"labels": list("abc")}, (features, labels), validation)
    assert np.all(head.weight[:, 2:4] == 0)
    assert np.abs(head.weight).max() < 1e4


def test_a_class_without_rows_is_never_predicted():
    features, labels = data(2)
    head = fitted(TASK, {"labels": list("abc")}, (features, labels), (features, labels))
    assert set(head.logits(features).argmax(1).tolist()) <= {0, 1}


def test_several_labels_are_a_logistic_regression_each():
    """The solver for any loss, against scikit-learn's."""
    (features, classes), (others, _) = data(4), data(4, seed=1)
    labels = np.eye(4, dtype=np.float32)[classes]
    labels[::7, 0] = 1.0
    task = TASKS.get("multi-label-classification")
    head = fitted(task, {"labels": list("abcd")}, (features, labels), (features, labels))
    scaler = StandardScaler().fit(features)
    logits = head.logits(others)
    for label in range(4):
        theirs = LogisticRegression(C=head.strength, max_iter=2000, tol=1e-8).fit(
            scaler.transform(features), labels[:, label]
        )
        ours = 1 / (1 + np.exp(-logits[:, label]))
        assert np.allclose(ours, theirs.predict_proba(scaler.transform(others))[:, 1], atol=0.01)


def test_labels_from_the_store_are_read_without_a_warning():
    """They are mapped from the disk and cannot be written to."""
    (features, classes), always = data(3, n=30), torch.is_warn_always_enabled()
    labels = np.eye(3, dtype=np.float32)[classes]
    labels.setflags(write=False)
    torch.set_warn_always(True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            task = TASKS.get("multi-label-classification")
            head = fitted(task, {"labels": list("abc")}, (features, labels), (features, labels))
    finally:
        torch.set_warn_always(always)
    assert head.weight.any()


def test_few_validation_rows_that_every_strength_answers_rightly_do_not_choose_flat_probabilities():
    """The strongest regularisation used to win a tie: 22 % for answers of which 83 % were right."""
    rng = np.random.default_rng(3)
    labels = np.repeat(np.arange(4), 10)
    features = (3 * np.eye(4)[labels] + 0.3 * rng.normal(size=(40, 4))).astype(np.float32)
    held = np.arange(0, 40, 5)
    head = fitted(TASK, {"labels": list("abcd")}, (features, labels), (features[held], labels[held]))
    logits = head.logits(features[held])
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert (logits.argmax(1) == labels[held]).all()
    assert probabilities.max(1).min() > 0.9


@pytest.mark.parametrize("unit", [0.01, 1.0, 1000.0])
def test_a_number_is_a_ridge_regression_in_every_unit(unit):
    features, _ = data(3)
    rng = np.random.default_rng(5)
    weights, noise = rng.normal(size=features.shape[1]), rng.normal(size=len(features))
    scores = unit * (features / features.std(0) @ weights + noise + 40.0)
    task = TASKS.get("text-regression")
    label_schema = task.learn_label_schema({"score": scores.tolist()})
    labels = np.stack([scores, np.full_like(scores, label_schema["deviation"])], axis=1).astype(np.float32)
    head = fitted(task, label_schema, (features, labels), (features, labels))
    scaler = StandardScaler().fit(features)
    # Σ (error / deviation)² + |w / deviation|² / 2C is ridge regression with α = 1 / 2C.
    theirs = Ridge(alpha=1 / (2 * head.strength)).fit(scaler.transform(features), scores)
    error = head.logits(features)[:, 0] - theirs.predict(scaler.transform(features))
    assert np.abs(error).max() < 0.01 * scores.std()


class Tags(Task, abstract=True):
    """A label a token."""

    name, primary_metric, probe, outputs_per_token = "tags", "accuracy", LinearProbe(), True

    def config(self, label_schema):
        return {"num_labels": 2}

    def loss(self, outputs, batch, options):
        return torch.nn.functional.cross_entropy(outputs, batch["labels"], reduction="sum")

    def statistics(self, evaluated, label_schema):
        labels = evaluated.encoded.ragged["labels"].values
        right = (evaluated.outputs.values.argmax(1) == labels) & (labels != IGNORED)
        return np.stack([right, labels != IGNORED], axis=1).astype(float)

    def formula(self, sums, label_schema):
        return {"accuracy": sums[..., 0] / sums[..., 1]}


def test_tokens_whose_label_is_ignored_are_no_items():
    """Their features say the opposite; a probe that heard them would answer at chance."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 400).astype(np.int32)
    features = (np.where(labels, 1.0, -1.0)[:, None] + 0.1 * rng.normal(size=(400, 2))).astype(np.float32)
    heard = np.arange(400) % 2 == 0
    features[~heard] *= -1
    labels[~heard] = IGNORED
    offsets = np.arange(0, 401, 8)
    tokens = Ragged(labels, offsets)
    sequences = Encoded({"input_ids": tokens, "labels": tokens}, {}, np.arange(50), 50)
    values = Ragged(features, offsets)
    head = fit_probe(Tags(), {}, (values, sequences), (values, EvalPredictions({}, sequences)))
    answered = probe_answers(head, values, EvalPredictions({}, sequences))
    assert answered.outputs.offsets.tolist() == offsets.tolist()
    assert (answered.outputs.values.argmax(1) == labels)[heard].all()


def test_a_saved_head_is_the_same(tmp_path):
    head = ProbeHead(np.eye(3, dtype=np.float32), np.arange(3, dtype=np.float32), 0.01)
    head.save(tmp_path / "checkpoints" / "probe.safetensors", RUN)
    again = ProbeHead.load(tmp_path / "checkpoints" / "probe.safetensors", RUN)
    assert np.array_equal(head.weight, again.weight)
    assert np.array_equal(head.bias, again.bias)
    assert again.strength == 0.01
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["probe.safetensors"]


@pytest.mark.parametrize("problem", ["flip", "cut", "remove"])
def test_a_damaged_head_is_no_head(tmp_path, problem):
    file = tmp_path / "probe.safetensors"
    ProbeHead(np.eye(3, dtype=np.float32), np.arange(3, dtype=np.float32), 0.01).save(file, RUN)
    data = bytearray(file.read_bytes())
    data[-10] ^= 1
    if problem == "remove":
        file.unlink()
    else:
        file.write_bytes(data if problem == "flip" else data[:-4])
    assert ProbeHead.load(file, RUN) is None


def test_new_outputs_are_fitted_beside_outputs_that_stay():
    """Three clusters, of which the head knows two: the third is learned, and the two stay bit for bit."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)
    features = (np.eye(3)[labels] * 4 + rng.normal(size=(300, 3))).astype(np.float32)
    known = ProbeHead(np.array([[2, 0, -1], [0, 0, 0], [-1, 0, 2]], np.float32), np.zeros(3, np.float32), 1.0)
    rows = encoded(labels)
    head = fit_probe(
        TASK, {"labels": ["a", "b", "c"]}, (features, rows), (features, EvalPredictions({}, rows)),
        grown=(known, (1,)),
    )  # fmt: skip
    assert np.array_equal(head.weight[[0, 2]], known.weight[[0, 2]])
    assert np.array_equal(head.bias[[0, 2]], known.bias[[0, 2]])
    assert (head.logits(features).argmax(1) == labels).mean() > 0.95
    assert (known.logits(features).argmax(1) == labels).mean() < 0.75
