import numpy as np
import pytest
import torch

from tunesmith.encoded import Encoded
from tunesmith.errors import DataError
from tunesmith.tasks import PLAIN_LOSS, TASKS, EvalPredictions, LossOptions, RowError
from tunesmith.tasks._texts import softmax

TASK = TASKS.get("text-classification")


def test_label_names_keep_their_spelling_and_have_a_stable_order():
    assert TASK.learn_label_schema({"label": ["b", "A b", "b"]})["labels"] == ["A b", "b"]
    assert TASK.learn_label_schema({"label": ["10", "9", "-1"]})["labels"] == ["-1", "9", "10"]


@pytest.mark.parametrize(
    ("value", "name"), [("pos", "pos"), (1, "1"), (1.0, "1"), (True, "True"), (" x ", " x "), (0, "0")]
)
def test_labels_become_names(value, name):
    assert TASK.read({"text": "t", "label": value})["label"] == name


@pytest.mark.parametrize("value", [None, float("nan"), "", "  ", "NaN", "nan", 0.5, ["a"], {"a": 1}])
def test_what_is_no_label(value):
    with pytest.raises(RowError):
        TASK.read({"text": "t", "label": value})


@pytest.mark.parametrize("value", [None, float("nan"), "", " \n", 3, ["a"], "NaN"])
def test_what_is_no_text(value):
    with pytest.raises(RowError):
        TASK.read({"text": value, "label": "a"})


def test_one_class_is_refused():
    with pytest.raises(DataError, match="needs two labels or more, and all 3 training rows have `a`"):
        TASK.learn_label_schema({"label": ["a"] * 3})


def test_labels_that_never_repeat_are_refused():
    with pytest.raises(DataError, match="a label must repeat"):
        TASK.learn_label_schema({"label": [f"label {i}" for i in range(30)]})


def test_an_unknown_label_is_told_with_a_suggestion():
    with pytest.raises(RowError, match="Did you mean `refund`"):
        TASK.check_targets({"label": "refnd"}, {"labels": ["refund", "order"]})


def test_config_round_trip(tiny_model):
    from transformers import AutoConfig

    label_schema = {"labels": ["x", "y", "z"]}
    config = AutoConfig.from_pretrained(tiny_model, **TASK.config(label_schema))
    assert TASK.label_schema_of(config) == label_schema
    assert config.num_labels == 3


def test_the_loss_is_a_sum():
    logits, labels = torch.randn(7, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1, 2, 0])
    mean = torch.nn.functional.cross_entropy(logits, labels)
    batch = {"labels": labels}
    assert torch.allclose(TASK.loss(logits, batch, PLAIN_LOSS), 7 * mean)
    assert TASK.loss(logits.bfloat16(), batch, PLAIN_LOSS).dtype == torch.float32


LOGITS = torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
BATCH = {"labels": torch.tensor([0, 1, 2, 0, 1, 2, 0])}


def test_label_smoothing_mixes_in_the_mean_over_labels():
    """Szegedy et al. 2016, section 7."""
    plain = TASK.loss(LOGITS, BATCH, PLAIN_LOSS)
    uniform = -LOGITS.log_softmax(-1).mean(-1).sum()
    smoothed = TASK.loss(LOGITS, BATCH, LossOptions(label_smoothing=0.2))
    assert torch.allclose(smoothed, 0.8 * plain + 0.2 * uniform)


def test_the_focal_factor_is_that_of_the_paper():
    """Lin et al. 2017, equation 4; with γ = 0 it is the plain loss."""
    p = LOGITS.softmax(-1)[torch.arange(7), BATCH["labels"]]
    expected = (-((1 - p) ** 2.0) * p.log()).sum()
    assert torch.allclose(TASK.loss(LOGITS, BATCH, LossOptions(focal_gamma=2.0)), expected)
    nearly = TASK.loss(LOGITS, BATCH, LossOptions(focal_gamma=1e-12))
    assert torch.allclose(nearly, TASK.loss(LOGITS, BATCH, PLAIN_LOSS))


@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_weights_by_label_weigh_rows(gamma):
    weights = (0.5, 1.0, 4.0)
    options = LossOptions(class_weights=weights, focal_gamma=gamma)
    alone = [
        weights[int(label)] * TASK.loss(row[None], {"labels": label[None]}, LossOptions(focal_gamma=gamma))
        for row, label in zip(LOGITS, BATCH["labels"], strict=True)
    ]
    assert torch.allclose(TASK.loss(LOGITS, BATCH, options), torch.stack(alone).sum())


def evaluated(logits, labels=None):
    dense = {} if labels is None else {"labels": labels}
    return EvalPredictions(
        {}, Encoded.of({"input_ids": [[1]] * len(logits)}, dense), np.asarray(logits, np.float32)
    )


def test_decode_gives_the_best_label_with_its_probability():
    answer = TASK.decode(evaluated([[0.0, 2.0, -1.0]]), {"labels": ["a", "b", "c"]})[0]
    assert answer["label"] == "b"
    assert answer["score"] == pytest.approx(float(np.exp(2) / (1 + np.exp(2) + np.exp(-1))), abs=1e-6)
    assert softmax(np.array([[1e4, 0.0]], dtype=np.float32)).tolist() == [[1.0, 0.0]]


def test_details_count_what_is_mistaken_for_what():
    logits = np.eye(3, dtype=np.float32)[[0, 1, 1]]
    details = TASK.details(evaluated(logits, np.array([0, 1, 2])), {"labels": ["a", "b", "c"]})
    assert details["confusion"]["counts"] == [[1, 0, 0], [0, 1, 0], [0, 1, 0]]
    assert details["per_class"]["recall"] == [1.0, 1.0, 0.0]
