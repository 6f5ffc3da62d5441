"""Packing is relied on where two packed texts give what the same texts give alone."""

from __future__ import annotations

import pytest
import torch
import transformers

from tunesmith.inference.packed import keeps_packed_texts_apart
from tunesmith.tasks import TASKS

TASK = TASKS.get("text-generation")
_SIZE = {
    "vocab_size": 60,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 66,
    "head_dim": 8,
}
_LINEAR = {
    "layer_types": ["linear_attention", "full_attention"],
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
}
_FAMILIES = {
    "GPT2": (True, {}),
    "Llama": (True, {}),
    "Gemma2": (True, {}),
    "Gemma3Text": (True, {}),
    "Qwen3": (True, {}),
    "OPT": (False, {"ffn_dim": 48, "word_embed_proj_dim": 32}),
    "BioGpt": (False, {}),
    "Bloom": (False, {}),
    "Mamba": (False, {"state_size": 8}),
    "Lfm2": (False, {"layer_types": ["conv", "full_attention"]}),
    "Qwen3_5Text": (False, _LINEAR),
}


def _model(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**_SIZE, **_FAMILIES[name][1])
    return transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")


@pytest.mark.parametrize("name", sorted(_FAMILIES))
def test_a_family_in_which_packed_texts_see_each_other_is_found_out(name):
    assert keeps_packed_texts_apart(TASK, _model(name), 0) is _FAMILIES[name][0]


def test_a_model_that_ignores_where_positions_begin_anew_is_found_out():
    model = _model("Llama")
    stock = model.forward

    def forward(input_ids=None, position_ids=None, attention_mask=None, use_cache=None):
        return stock(input_ids=input_ids, attention_mask=attention_mask, use_cache=use_cache)

    model.forward = forward
    assert not keeps_packed_texts_apart(TASK, model, 0)
