"""The mean in place of the layer that computes it."""

import pytest
import torch

from tunesmith.acceleration import pooling
from tunesmith.models.loading import load_for_training
from tunesmith.models.resolve import resolve_model
from tunesmith.tasks import TASKS
from tunesmith.testing.tiny import write_tiny_model

TEXTS = ["the cat is red", "a dog", "the old new big small otter is here and there and not near"]


def opened(folder, family, how):
    path = write_tiny_model(folder / family, family=family)
    task = TASKS.get("text-classification")
    loaded = load_for_training(
        resolve_model(str(path)), task, {"labels": ["a", "b", "c"]}, pooling=how, seed=1
    )
    return loaded.model.eval(), loaded.tokenizer


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_the_mean_is_what_the_layer_computes(tmp_path, family, attention):
    model, tokenizer = opened(tmp_path, family, "mean")
    model.set_attn_implementation(attention)
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt", return_token_type_ids=False)
    with torch.no_grad():
        slow = model(**batch).logits
        alone = model(input_ids=batch["input_ids"][2:]).logits
        pooling.install(model)
        assert torch.allclose(model(**batch).logits, slow, atol=1e-6)
        assert torch.allclose(model(input_ids=batch["input_ids"][2:]).logits, alone, atol=1e-6)


def test_a_model_without_such_a_layer_stays(tmp_path):
    model, _ = opened(tmp_path, "bert", "first")
    pooling.install(model)
    assert not [name for name, module in model.named_modules() if "forward" in module.__dict__]
