"""Packed linear layers against the stock ones, in every architecture that has them."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from transformers import (
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from tunesmith.acceleration import packed_linear
from tunesmith.acceleration.encoder import use_fast_encoder
from tunesmith.acceleration.evaluating import evaluating
from tunesmith.acceleration.packed_linear import Linear, PackedLinear, can_pack

pytestmark = pytest.mark.skipif(not can_pack(torch.float32), reason="this torch has no oneDNN")

_FAMILIES = {
    "llama": lambda: LlamaForCausalLM(
        LlamaConfig(
            vocab_size=60, hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4
        )
    ),
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(vocab_size=60, n_embd=24, n_layer=2, n_head=4)),
    "t5": lambda: T5ForConditionalGeneration(
        T5Config(
            vocab_size=60, d_model=24, d_kv=6, d_ff=40, num_layers=2, num_heads=4, decoder_start_token_id=0
        )
    ),
}


def _model(family: str) -> nn.Module:
    torch.manual_seed(0)
    return _FAMILIES[family]().eval()


def _logits(model: nn.Module) -> torch.Tensor:
    torch.manual_seed(1)
    ids = torch.randint(5, 50, (3, 7))
    return model(input_ids=ids, labels=ids).logits


@pytest.fixture(autouse=True)
def _small_layers_too(monkeypatch):
    monkeypatch.setattr(packed_linear, "_LEAST_WEIGHTS", 1)


def _packed(model: nn.Module) -> int:
    return sum(module in packed_linear._PACKED for module in model.modules())


@pytest.mark.parametrize("rows", [1, 8, 33, 300])
@pytest.mark.parametrize(("dtype", "off"), [(torch.float32, 1e-5), (torch.bfloat16, 0.02)])
def test_a_packed_product_is_that_of_the_weight_as_it_lies(dtype, off, rows):
    if not can_pack(dtype):
        pytest.skip("no such products here")
    torch.manual_seed(0)
    x, weight, bias = torch.randn(rows, 48), torch.randn(20, 48) / 7, torch.randn(20)
    plain, packed = (kind(weight.to(dtype), bias.to(dtype)) for kind in (Linear, PackedLinear))
    exact = Linear(weight.double(), bias.double())
    for found, expected in (
        (packed(x.to(dtype)), exact(x.double())),
        (packed.then_gelu(x.to(dtype))[1], exact.then_gelu(x.double())[1]),
    ):
        torch.testing.assert_close(found.double(), expected, rtol=off, atol=off)
    torch.testing.assert_close(packed(x.to(dtype)), plain(x.to(dtype)), rtol=off, atol=off)


@pytest.mark.parametrize("family", sorted(_FAMILIES))
def test_a_model_answers_and_writes_as_before(family):
    model = _model(family)
    asked = {
        "input_ids": torch.tensor([[7, 8, 9]]),
        "max_new_tokens": 8,
        "do_sample": False,
        "pad_token_id": 0,
    }
    with torch.inference_mode():
        expected, written = _logits(model), model.generate(**asked)
        packed_linear.install(model)
        torch.testing.assert_close(_logits(model), expected, rtol=1e-5, atol=1e-5)
        assert torch.equal(model.generate(**asked), written)
    assert _packed(model) > 8
    copied = copy.deepcopy(model)
    with torch.inference_mode():
        torch.testing.assert_close(_logits(copied), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(not can_pack(torch.bfloat16), reason="no such products here")
@pytest.mark.parametrize("how", ["autocast", "weights"])
def test_bfloat16_is_as_near_to_float32_as_stock(how):
    model = _model("llama")
    errors = []
    with torch.no_grad():
        exact = _logits(model)
        if how == "weights":
            model.bfloat16()
        for use in (lambda _: None, packed_linear.install):
            use(model)
            with torch.autocast("cpu", torch.bfloat16, enabled=how == "autocast"):
                errors.append(float((_logits(model).float() - exact).abs().mean()))
    assert _packed(model) > 8
    assert errors[1] <= 1.1 * errors[0]


def test_gradients_are_those_of_stock_and_nothing_stays_packed_beside_training():
    gradients = []
    for use in (lambda _: None, packed_linear.install):
        model = _model("gpt2").train()
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        use(model)
        with evaluating(model):
            _logits(model)
            assert (_packed(model) > 8) == (use is packed_linear.install)
        assert _packed(model) == 0
        _logits(model).square().sum().backward()
        gradients.append([p.grad for p in model.parameters()])
    for ours, theirs in zip(*gradients, strict=True):
        assert torch.equal(ours, theirs)


def test_a_changed_weight_is_seen_at_once():
    layer, x = nn.Linear(8, 4), torch.randn(3, 8)
    packed_linear.install(layer)
    with torch.no_grad():
        before = layer(x)
        layer.weight.mul_(2.0)
        layer.bias.add_(1.0)
        torch.testing.assert_close(layer(x), torch.addmm(layer.bias, x, layer.weight.t()))
        assert not torch.allclose(layer(x), before)


def test_a_model_made_without_versions_is_left_as_it_is():
    with torch.inference_mode():
        layer, model = (
            nn.Linear(8, 4),
            BertModel(BertConfig(hidden_size=24, num_attention_heads=4, vocab_size=9)),
        )
        packed_linear.install(layer)
        layer(torch.randn(3, 8))
    assert _packed(layer) == 0
    assert not use_fast_encoder(model)


@pytest.mark.parametrize("limit", [{"_MOST_BYTES": 100}, {"_LEAST_WEIGHTS": 33}])
def test_a_large_model_is_not_kept_twice_and_a_small_layer_not_packed(monkeypatch, limit):
    for name, value in limit.items():
        monkeypatch.setattr(packed_linear, name, value)
    layer = nn.Linear(8, 4)
    packed_linear.install(layer)
    with torch.no_grad():
        layer(torch.randn(3, 8))
    assert _packed(layer) == 0
