import pytest

from tunesmith.errors import RecipeError
from tunesmith.models.freezing import (
    freeze_body,
    freeze_bottom,
    freeze_embeddings,
    freeze_named,
    keep_frozen_parts_still,
)
from tunesmith.models.loading import load_for_training
from tunesmith.models.resolve import resolve_model
from tunesmith.tasks import TASKS

pytestmark = pytest.mark.usefixtures("lean")


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


def test_embeddings_alone(model):
    before = trainable(model)
    freeze_embeddings(model)
    gone = before - trainable(model)
    assert gone
    assert gone == {name for name in before if name.startswith("bert.embeddings.")}


def test_embeddings_of_a_decoder(shared):
    files, task = resolve_model(str(shared / "models" / "stories260K")), TASKS.get("text-classification")
    decoder = load_for_training(files, task, {"labels": ["a", "b"]}, pooling="first", seed=1).model
    before = trainable(decoder)
    freeze_embeddings(decoder)
    assert before - trainable(decoder) == {"model.embed_tokens.weight"}


LAYER = "bert.encoder.layer."


@pytest.mark.parametrize(
    ("patterns", "gone"),
    [
        (["classifier.bias"], lambda name: name == "classifier.bias"),
        (["classifier"], lambda name: name.startswith("classifier.")),
        (["bert.encoder"], lambda name: name.startswith("bert.encoder.")),
        (["LayerNorm"], lambda name: ".LayerNorm." in name),
        (["*.bias"], lambda name: name.endswith(".bias")),
        ([f"{LAYER}0.*"], lambda name: name.startswith(f"{LAYER}0.")),
        ([f"{LAYER}[01].output"], lambda name: f"{LAYER}0.output." in name or f"{LAYER}1.output." in name),
        (["classifier", "embeddings"], lambda name: "classifier" in name or "bert.embeddings." in name),
        ([], lambda name: False),
    ],
)
def test_named(model, patterns, gone):
    before = trainable(model)
    freeze_named(model, patterns)
    assert trainable(model) == {name for name in before if not gone(name)}
    assert patterns == [] or trainable(model) < before


@pytest.mark.parametrize("pattern", ["clasifier", "bert.encoder.layer.9", "Classifier", "class", "word"])
def test_a_name_that_fits_nothing_is_refused(model, pattern):
    before = trainable(model)
    with pytest.raises(RecipeError, match=f"no parameter of this model matches `{pattern}`"):
        freeze_named(model, [pattern])
    assert trainable(model) == before


def test_a_name_misspelt_gets_a_suggestion(model):
    with pytest.raises(RecipeError, match="Did you mean `classifier`"):
        freeze_named(model, ["clasifier"])


def test_freezing_everything_is_refused(model):
    with pytest.raises(RecipeError, match="leaves nothing to train"):
        freeze_named(model, ["*"])
    model.requires_grad_(True)
    freeze_body(model)
    with pytest.raises(RecipeError, match="leaves nothing to train"):
        freeze_named(model, ["classifier"])


def test_no_dropout_where_nothing_learns(model):
    freeze_bottom(model, 1)
    model.train()
    keep_frozen_parts_still(model)
    assert not model.bert.embeddings.dropout.training
    assert not model.bert.encoder.layer[0].output.dropout.training
    assert model.bert.encoder.layer[1].output.dropout.training
    assert model.dropout.training


def test_positions_are_embeddings_too():
    from transformers import OPTConfig, OPTForCausalLM

    opt = OPTForCausalLM(
        OPTConfig(vocab_size=50, hidden_size=16, word_embed_proj_dim=8, ffn_dim=32, num_hidden_layers=2,
                  num_attention_heads=2)
    )  # fmt: skip
    before = trainable(opt)
    freeze_bottom(opt, 1)
    gone = {name.removeprefix("model.decoder.") for name in before - trainable(opt)}
    assert {name for name in gone if not name.startswith("layers.0.")} == {
        "embed_tokens.weight", "embed_positions.weight", "project_in.weight",
    }  # fmt: skip


def test_dropout_of_frozen_embeddings_is_off():
    from transformers import GPT2Config, GPT2LMHeadModel

    gpt2 = GPT2LMHeadModel(GPT2Config(vocab_size=50, n_positions=16, n_embd=16, n_layer=2, n_head=2))
    gpt2.train()
    keep_frozen_parts_still(gpt2)
    assert gpt2.transformer.drop.training
    freeze_bottom(gpt2, 1)
    keep_frozen_parts_still(gpt2)
    assert not gpt2.transformer.drop.training
    assert not gpt2.transformer.h[0].mlp.dropout.training
    assert gpt2.transformer.h[1].mlp.dropout.training
