import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from tunesmith.tasks import TASKS
from tunesmith.training.probe import ProbeHead, fit_probe

TASK = TASKS.get("text-classification")


def data(k, n=300, d=8, seed=0):
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(k, d))
    labels = rng.integers(0, k, n)
    features = (centres[labels] + rng.normal(size=(n, d))) * np.logspace(-2, 2, d)
    return features.astype(np.float32), labels


@pytest.mark.parametrize("k", [2, 5])
def test_the_head_gives_the_probabilities_of_scikit_learn(k):
    train, validation = data(k), data(k, seed=1)
    head = fit_probe(TASK, {"labels": [str(i) for i in range(k)]}, train, validation)
    scaler = StandardScaler().fit(train[0])
    theirs = LogisticRegression(C=head.strength, max_iter=1000).fit(scaler.transform(train[0]), train[1])
    logits = head.logits(validation[0])
    ours = np.exp(logits - logits.max(1, keepdims=True))
    ours /= ours.sum(1, keepdims=True)
    assert np.allclose(ours, theirs.predict_proba(scaler.transform(validation[0])), atol=0.01)


def test_a_feature_without_variance_gets_no_weight():
    """The trap: a standard deviation of 8e-33 made weights of 1e31."""
    (features, labels), validation = data(3), data(3, seed=1)
    features[:, 2] = 0.25
    features[:, 3] = 0.5 + 1e-32 * np.arange(len(features))
    head = fit_probe(TASK, {"labels": list("abc")}, (features, labels), validation)
    assert np.all(head.weight[:, 2:4] == 0)
    assert np.abs(head.weight).max() < 1e4


def test_a_class_without_rows_is_never_predicted():
    features, labels = data(2)
    head = fit_probe(TASK, {"labels": list("abc")}, (features, labels), (features, labels))
    assert set(head.logits(features).argmax(1).tolist()) <= {0, 1}


def test_a_saved_head_is_the_same(tmp_path):
    head = ProbeHead(np.eye(3, dtype=np.float32), np.arange(3, dtype=np.float32), 0.01)
    head.save(tmp_path / "checkpoints" / "probe.safetensors")
    again = ProbeHead.load(tmp_path / "checkpoints" / "probe.safetensors")
    assert np.array_equal(head.weight, again.weight)
    assert np.array_equal(head.bias, again.bias)
    assert again.strength == 0.01
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["probe.safetensors"]


@pytest.mark.parametrize("fault", ["flip", "cut", "remove"])
def test_a_damaged_head_is_no_head(tmp_path, fault):
    file = tmp_path / "probe.safetensors"
    ProbeHead(np.eye(3, dtype=np.float32), np.arange(3, dtype=np.float32), 0.01).save(file)
    data = bytearray(file.read_bytes())
    data[-10] ^= 1
    if fault == "remove":
        file.unlink()
    else:
        file.write_bytes(data if fault == "flip" else data[:-4])
    assert ProbeHead.load(file) is None
