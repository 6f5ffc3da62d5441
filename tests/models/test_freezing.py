import pytest

from tunesmith.errors import RecipeError
from tunesmith.models.freezing import freeze_body, freeze_bottom, keep_frozen_parts_still
from tunesmith.models.loading import load_for_training
from tunesmith.models.resolve import resolve_model
from tunesmith.tasks import TASKS


@pytest.fixture
def model(tiny_model):
    task = TASKS.get("text-classification")
    return load_for_training(
        resolve_model(str(tiny_model)), task, {"labels": ["a", "b"]}, pooling="mean", seed=1
    ).model


def trainable(model):
    return {name for name, p in model.named_parameters() if p.requires_grad}


def test_body(model):
    freeze_body(model)
    assert trainable(model) == {"classifier.weight", "classifier.bias"}


def test_bottom(model):
    before = trainable(model)
    freeze_bottom(model, 0)
    assert trainable(model) == before
    freeze_bottom(model, 1)
    assert not any("embeddings" in name or "layer.0." in name for name in trainable(model))
    assert any("layer.1." in name for name in trainable(model))


def test_more_layers_than_there_are(model):
    with pytest.raises(RecipeError, match="must be at most 2, the layers of this model, got 3"):
        freeze_bottom(model, 3)


def test_no_dropout_where_nothing_learns(model):
    freeze_bottom(model, 1)
    model.train()
    keep_frozen_parts_still(model)
    assert not model.bert.embeddings.dropout.training
    assert not model.bert.encoder.layer[0].output.dropout.training
    assert model.bert.encoder.layer[1].output.dropout.training
    assert model.dropout.training
