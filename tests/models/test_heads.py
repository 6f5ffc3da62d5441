import pytest
import torch
from torch.nn import functional as F

from tunesmith.errors import ModelError
from tunesmith.models import heads
from tunesmith.models.loading import load_for_training
from tunesmith.models.resolve import resolve_model
from tunesmith.tasks import TASKS
from tunesmith.testing.tiny import write_tiny_model

TASK = TASKS.get("text-classification")
TEXTS = ["the cat is red", "a dog", "the old new big small otter is here and there and not near"]


@pytest.fixture(params=["bert", "roberta"])
def loaded(request, tmp_path):
    folder = write_tiny_model(tmp_path / request.param, family=request.param)
    found = load_for_training(
        resolve_model(str(folder)), TASK, {"labels": ["a", "b", "c"]}, pooling="mean", seed=1
    )
    found.model.eval()
    return found


def batch_of(loaded):
    return loaded.tokenizer(TEXTS, padding=True, return_tensors="pt", return_token_type_ids=False)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_the_stock_layer_computes_the_mean(loaded, attention):
    """Against the mean written out: LayerNorm twice, the scaled identity, tanh."""
    loaded.model.set_attn_implementation(attention)
    batch = batch_of(loaded)
    with torch.no_grad():
        states = loaded.model.base_model(**batch, output_hidden_states=True).hidden_states[-2]
        mask = batch["attention_mask"].unsqueeze(-1)
        mean = (states * mask).sum(1) / mask.sum(1)
        width = (states.shape[-1],)
        pooled = F.layer_norm(F.layer_norm(states[:, 0] + 1024 * mean, width), width)
        expected = heads.find_head(loaded.model, 3)(torch.tanh(0.25 * pooled))
        assert torch.allclose(loaded.model(**batch).logits, expected, atol=1e-5)


def test_the_pooling_layer_is_frozen_and_not_counted(loaded):
    frozen = {n for n, p in loaded.model.named_parameters() if not p.requires_grad}
    assert any("layer.2." in name for name in frozen)
    assert not any("layer.1." in name for name in frozen)
    assert len(heads.encoder_layers(loaded.model)) == 2


def test_a_pooling_layer_that_was_trained_is_not_taken_for_one(loaded):
    layer = loaded.model.base_model.encoder.layer[-1]
    with torch.no_grad():
        layer.intermediate.dense.weight[0, 0] = 0.5
    with pytest.raises(ModelError, match="does not compute a mean"):
        heads.pooling_layer(loaded.model)


def test_the_head_stays_precise_under_autocast(loaded):
    head = heads.find_head(loaded.model, 3)
    heads.keep_head_precise(head)
    features = torch.randn(4, head.in_features)
    with torch.autocast("cpu", torch.bfloat16):
        logits = head(features)
    assert logits.dtype == torch.float32
    assert torch.equal(logits, F.linear(features, head.weight, head.bias))


def test_no_head_of_that_size(loaded):
    with pytest.raises(ModelError, match="no linear head with 99 outputs"):
        heads.find_head(loaded.model, 99)
