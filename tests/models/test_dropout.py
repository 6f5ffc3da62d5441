"""`train.dropout`: the layers have it, whatever the family calls it, and the saved config says it."""

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModel,
    BertConfig,
    CTRLConfig,
    GPT2Config,
    MambaConfig,
    ModernBertConfig,
    T5Config,
)

from tunesmith import pipeline
from tunesmith.errors import RecipeError
from tunesmith.models.dropout import dropout_of, set_dropout
from tunesmith.tasks import TASKS
from tunesmith.tuning.space import default_space

pytestmark = pytest.mark.usefixtures("lean")

SMALL = {
    "bert": {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8},
    "distilbert": {"dim": 8, "n_layers": 1, "n_heads": 2, "hidden_dim": 8},
    "gpt2": {"n_embd": 8, "n_layer": 1, "n_head": 2},
    "t5": {"d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2},
    "modernbert": {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8},
    "bart": {"d_model": 8, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
             "decoder_attention_heads": 2, "encoder_ffn_dim": 8, "decoder_ffn_dim": 8},
}  # fmt: skip


@pytest.mark.parametrize("family", SMALL)
def test_every_dropout_module_of_a_family_has_it(family):
    size = {"vocab_size": 20, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, **SMALL[family]}
    config = AutoConfig.for_model(family, **size)
    set_dropout(config, 0.37, family)
    modules = [it for it in AutoModel.from_config(config).modules() if isinstance(it, torch.nn.Dropout)]
    assert modules or family == "bart", "BART's layers hold numbers instead of modules"
    assert {it.p for it in modules} <= {0.37}
    assert dropout_of(config) == 0.37


@pytest.mark.parametrize(
    ("config", "expected"),
    [(BertConfig(), 0.1), (BertConfig(attention_probs_dropout_prob=0.0), None), (GPT2Config(), 0.1),
     (T5Config(), 0.1), (ModernBertConfig(), 0.0), (CTRLConfig(), 0.1)],
)  # fmt: skip
def test_auto_is_that_of_the_config_where_there_is_one(config, expected):
    assert dropout_of(config) == expected


def test_a_family_without_dropout_is_refused_with_the_reason():
    with pytest.raises(
        RecipeError, match=r"train.dropout is 0.1, and `x` has no dropout: its type, `mamba`"
    ) as found:
        set_dropout(MambaConfig(), 0.1, "x")
    assert "neftune_noise_alpha" in found.value.remedy


def test_a_training_has_it_and_says_it(tiny_recipe, tmp_path):
    losses = {}
    for dropout in ("auto", 0.1, 0.0):
        run = pipeline.train(tiny_recipe.replace(
            train={"dropout": dropout, "max_steps": 2, "head_start": False},
            data={"check": "off"},
            evaluate={"baselines": False, "calibration": "none"},
        ).model_copy(update={"output_dir": str(tmp_path / str(dropout))}))  # fmt: skip
        assert run.manifest()["used"]["train"]["dropout"] == (0.1 if dropout == "auto" else dropout)
        config = AutoConfig.from_pretrained(run.model)
        assert config.hidden_dropout_prob == (0.1 if dropout == "auto" else dropout)
        losses[dropout] = [line["loss"] for line in run.events() if line["kind"] == "step"]
    assert losses["auto"] == losses[0.1] != losses[0.0]
    used = tiny_recipe.replace(train={"dropout": 0.1, "method": "full"})
    space = {it.key: it for it in default_space(TASKS.get("text-classification"), used, n_layers=2)}
    assert (space["train.dropout"].low, space["train.dropout"].high) == (0.0, 0.3)
    assert space["train.average_last"].choices == (0.0, 0.25)
