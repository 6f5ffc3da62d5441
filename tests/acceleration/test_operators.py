"""Another version of torch may lack what is not public: the trick is left out, and the results are the same."""

from __future__ import annotations

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from tunesmith.acceleration import accelerate, encoder_blocks, operators, packed_linear
from tunesmith.acceleration.bf16 import bf16_is_faster

BATCH = {"input_ids": torch.tensor([[2, 9, 11, 3], [2, 12, 3, 0]])}
BATCH["attention_mask"] = (BATCH["input_ids"] != 0).long()


class _Lacking:
    """A namespace of torch without one of its names."""

    def __init__(self, namespace, lacking):
        self._namespace, self._lacking = namespace, lacking

    def __getattr__(self, name):
        if name == self._lacking:
            raise AttributeError(name)
        return getattr(self._namespace, name)


@pytest.fixture
def remove(monkeypatch):
    """Takes an operator out of torch."""

    def taken_out(name):
        *folders, leaf = name.split(".")
        parent = torch
        for folder in folders[:-1]:
            parent = getattr(parent, folder)
        if folders:
            monkeypatch.setattr(parent, folders[-1], _Lacking(getattr(parent, folders[-1]), leaf))
        else:
            monkeypatch.delattr(torch, leaf)
        _forget()

    yield taken_out
    monkeypatch.undo()
    _forget()


def _forget():
    operators.find.cache_clear()
    packed_linear.can_pack.cache_clear()


@pytest.fixture(autouse=True)
def _small_layers_too(monkeypatch):
    monkeypatch.setattr(packed_linear, "_LEAST_WEIGHTS", 1)


def _model():
    torch.manual_seed(0)
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=30, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
        )
    ).eval()


def _logits_and_gradients(model):
    with torch.inference_mode():
        logits = model(**BATCH).logits
    model(**BATCH).logits.square().sum().backward()
    return [logits.clone(), *(p.grad for p in model.parameters())]


@pytest.mark.parametrize(
    ("name", "trick"),
    [
        *((name, "the fast encoder") for name in encoder_blocks.OPERATORS),
        ("ops.mkldnn._reorder_linear_weight", "the product of packed weights"),
        ("ops.mkldnn._linear_pointwise", "the product of packed weights"),
        ("ops.mkldnn._is_mkldnn_bf16_supported", ""),
    ],
)
def test_without_an_operator_the_stock_arithmetic_gives_the_same(remove, name, trick):
    expected = _logits_and_gradients(_model())
    model = _model()
    assert accelerate(model) == ()
    remove(name)
    notes = accelerate(lacking := _model())
    if trick and (trick == "the fast encoder" or torch.backends.mkldnn.is_available()):
        (note,) = notes
        assert f"no `torch.{name}`" in note
        assert trick in note
    else:
        assert notes == ()
    for found, other in zip(_logits_and_gradients(lacking), expected, strict=True):
        torch.testing.assert_close(found, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["cpu._is_avx512_bf16_supported", "cpu._is_amx_tile_supported"])
def test_a_processor_that_cannot_be_asked_has_no_more_than_it_has(remove, name):
    has = bf16_is_faster("cpu")
    remove(name)
    assert bf16_is_faster("cpu") in (False, has)


def test_an_operator_that_never_was():
    assert operators.find("ops.mkldnn._no_such") is None
    assert operators.find("no_such.operator") is None
    with pytest.raises(AttributeError, match="no operator `no_such`"):
        operators.need("no_such")
