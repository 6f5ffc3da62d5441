"""Models with random weights from a config: whole or reduced, as a training begins with them."""

import pytest
import torch

from tunesmith.models.catalogue import find_known
from tunesmith.models.from_config import build, config_for, layer_counts, layer_cycle, reduced
from tunesmith.models.heads import has_pooling_layer
from tunesmith.tasks import TASKS

LABELS = {"labels": ["a", "b", "c"]}


def config_of(name, task="text-classification", labels=LABELS):
    return config_for(find_known(name).config, TASKS.get(task).config(labels), pad_token_id=0)


@pytest.mark.parametrize(
    ("name", "layers", "cycle"),
    [
        ("google-bert/bert-base-uncased", {"num_hidden_layers": 12}, 1),
        ("distilbert/distilbert-base-uncased", {"num_hidden_layers": 6}, 1),
        ("answerdotai/ModernBERT-base", {"num_hidden_layers": 22}, 3),
        ("openai-community/gpt2", {"num_hidden_layers": 12}, 1),
        ("google/byt5-small", {"num_layers": 12, "num_decoder_layers": 4}, 1),
        ("sshleifer/distilbart-cnn-12-6", {"encoder_layers": 12, "decoder_layers": 6}, 1),
    ],
)
def test_layers_are_counted_and_reduced(name, layers, cycle):
    config = config_for(find_known(name).config, {})
    assert layer_counts(config) == layers
    assert layer_cycle(config) == cycle
    small = reduced(config, dict.fromkeys(layers, 2), 1000)
    assert layer_counts(small) == dict.fromkeys(layers, 2)
    assert layer_counts(config) == layers
    assert small.vocab_size == 1000
    assert (small.pad_token_id or 0) < 1000


def test_a_reduced_model_is_as_large_as_its_layers_say():
    """What extrapolation relies on: the whole model has exactly the weights of its steps."""
    task, config = TASKS.get("text-classification"), config_of("answerdotai/ModernBERT-base")

    def weights(layers, vocabulary):
        model = build(reduced(config, {"num_hidden_layers": layers}, vocabulary), task, without_weights=True)
        return model.num_parameters()

    one, four = weights(1, 1000), weights(4, 1000)
    of_vocabulary = weights(1, 2000) - one
    assert one + (four - one) * 7 + of_vocabulary * (50_368 - 1000) / 1000 == weights(22, 50_368)


def test_a_pooling_layer_is_added_as_in_training():
    task = TASKS.get("text-classification")
    small = reduced(config_of("google-bert/bert-base-uncased"), {"num_hidden_layers": 1}, 1000)
    model = build(small, task)
    assert has_pooling_layer(model)
    assert len(model.bert.encoder.layer) == 2
    assert not any(p.requires_grad for p in model.bert.encoder.layer[-1].parameters())
    assert not has_pooling_layer(build(small, task, adds_pooling=False))
    ids = torch.arange(8)[None]
    assert model(input_ids=ids).logits.shape == (1, 3)


def test_an_output_layer_that_is_kept_apart_has_its_own_weights():
    task = TASKS.get("summarization")
    for name, is_tied in (("google-t5/t5-small", True), ("google/flan-t5-small", False)):
        config = config_for(find_known(name).config, {})
        small = reduced(config, {"num_layers": 1, "num_decoder_layers": 1}, 1000)
        model = build(small, task)
        assert (model.get_output_embeddings().weight is model.get_input_embeddings().weight) == is_tied
