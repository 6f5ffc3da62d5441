"""Families that have one implementation of attention alone stay with it."""

from __future__ import annotations

import pytest
import torch
import transformers

from tunesmith.models.attention import choose_attention

_SIZE = {
    "vocab_size": 60,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
}
_FAMILIES = {
    "Bert": ({}, "sdpa"),
    "Gemma2": ({"num_key_value_heads": 2, "head_dim": 8}, "eager"),
    "FNet": ({}, "eager"),
    "Mamba": ({"state_size": 4}, "eager"),
}


@pytest.mark.parametrize("name", sorted(_FAMILIES))
def test_what_a_family_lacks_is_not_forced_upon_it(name):
    options, expected = _FAMILIES[name]
    config = getattr(transformers, f"{name}Config")(**_SIZE, **options)
    model = transformers.AutoModel.from_config(config).eval()
    assert choose_attention(model, "sdpa") == expected
    with torch.no_grad():
        assert model(input_ids=torch.full((1, 140), 7))[0].isfinite().all()
    assert choose_attention(model, "eager") == "eager"
