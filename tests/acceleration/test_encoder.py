"""The fast encoder against the stock one, in float64; gradients against autograd's and against differences."""

from __future__ import annotations

import copy

import pytest
import torch
import transformers
from transformers import (
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    ElectraConfig,
    ElectraModel,
    RobertaConfig,
    RobertaModel,
)

from tunesmith.acceleration import accelerate, encoder
from tunesmith.acceleration.encoder import use_fast_encoder, use_stock_encoder
from tunesmith.acceleration.packed_linear import can_pack
from tunesmith.training.optimizer import make_optimizer, set_learning_rate

pytestmark = pytest.mark.usefixtures("lean")

_SIZE = {
    "vocab_size": 50,
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "max_position_embeddings": 80,
}
_FAMILIES = {
    "bert": lambda: BertModel(BertConfig(**_SIZE)),
    "roberta": lambda: RobertaModel(RobertaConfig(**_SIZE)),
    "electra": lambda: ElectraModel(ElectraConfig(**_SIZE, embedding_size=24)),
    "distilbert": lambda: DistilBertModel(
        DistilBertConfig(
            vocab_size=50, dim=24, n_layers=3, n_heads=4, hidden_dim=40, max_position_embeddings=80
        )
    ),
}


def _model(family: str, attention: str = "eager") -> torch.nn.Module:
    torch.manual_seed(0)
    model = _FAMILIES[family]().double().eval()
    model.set_attn_implementation(attention)
    return model


def _batch(*, padded: bool, longest: int = 9) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    mask = torch.ones(4, longest, dtype=torch.long)
    if padded:
        mask[1, 6:] = 0
        mask[3, 2:] = 0
    return {"input_ids": torch.randint(5, 50, (4, longest)), "attention_mask": mask}


def _output_and_gradients(model: torch.nn.Module, batch: dict[str, torch.Tensor]):
    real = batch["attention_mask"][..., None]
    torch.manual_seed(2)
    weight = torch.randn(4, real.shape[1], 24, dtype=torch.float64) * real
    model.zero_grad()
    output = model(**batch).last_hidden_state
    (output * weight).sum().backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return (output * real).detach(), gradients


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("family", sorted(_FAMILIES))
def test_output_and_every_gradient_are_those_of_the_stock_encoder(family, attention, padded):
    model, batch = _model(family, attention), _batch(padded=padded)
    expected, expected_gradients = _output_and_gradients(model, batch)
    assert use_fast_encoder(model)
    output, gradients = _output_and_gradients(model, batch)
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-12)
    assert gradients.keys() == expected_gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected_gradients[name], rtol=0, atol=1e-11, msg=name)


@pytest.mark.parametrize("family", sorted(_FAMILIES))
def test_gradients_under_dropout_are_those_of_differences(family):
    model, batch = _model(family).train(), _batch(padded=True)
    use_fast_encoder(model)
    stack = model.transformer if family == "distilbert" else model.encoder
    mask = batch["attention_mask"].bool()
    bias = torch.zeros(4, 1, 9, 9, dtype=torch.float64)
    bias.masked_fill_(~mask[:, None, None, :], torch.finfo(torch.float64).min)
    states = torch.randn(4, 9, 24, dtype=torch.float64, requires_grad=True)

    def outputs(x: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(3)  # the same masks each time
        return stack(x, bias).last_hidden_state[mask]

    assert torch.autograd.gradcheck(outputs, (states,), fast_mode=True)
    weight = torch.randn(int(mask.sum()), 24, dtype=torch.float64)
    for name, parameter in stack.named_parameters():
        model.zero_grad()
        (outputs(states) * weight).sum().backward()
        direction = torch.randn_like(parameter)
        step, values = 1e-5, []
        for sign in (1, -2):  # one step forward, then one back from the start
            with torch.no_grad():
                parameter.add_(sign * step * direction)
            values.append(float((outputs(states) * weight).sum().detach()))
        with torch.no_grad():
            parameter.add_(step * direction)
        expected = (values[0] - values[1]) / (2 * step)
        assert float((parameter.grad * direction).sum()) == pytest.approx(expected, abs=1e-5, rel=1e-5), name


@pytest.mark.parametrize(("dtype", "off"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_changed_weights_are_seen_at_once(dtype, off):
    model, batch = _model("bert").to(dtype), _batch(padded=True)
    use_fast_encoder(model)
    with torch.inference_mode():
        model(**batch)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.1)
    real = batch["attention_mask"][..., None]
    with torch.inference_mode():
        fast = model(**batch).last_hidden_state
        use_stock_encoder(model)
        torch.testing.assert_close(fast * real, model(**batch).last_hidden_state * real, rtol=0, atol=off)


def test_training_goes_the_way_of_the_stock_encoder():
    ends = []
    for use in (use_stock_encoder, use_fast_encoder):
        model, batch = _model("bert"), _batch(padded=True)
        use(model)
        optimizer = make_optimizer(model, weight_decay=0.01)
        set_learning_rate(optimizer, 1e-3)
        for _ in range(5):
            _output_and_gradients(model, batch)
            optimizer.step()
        with torch.inference_mode():
            ends.append(model(**batch).last_hidden_state * batch["attention_mask"][..., None])
    torch.testing.assert_close(ends[1], ends[0], rtol=0, atol=1e-9)


def test_frozen_layers_get_no_gradient_and_the_others_the_same():
    model, batch = _model("bert"), _batch(padded=True)
    model.encoder.layer[0].requires_grad_(False)
    model.encoder.layer[2].output.dense.requires_grad_(False)
    _, expected = _output_and_gradients(model, batch)
    use_fast_encoder(model)
    _, gradients = _output_and_gradients(model, batch)
    assert gradients.keys() == expected.keys()
    for name in gradients:
        torch.testing.assert_close(gradients[name], expected[name], rtol=0, atol=1e-11)


@pytest.mark.parametrize("longest", [9, 32, 70])
def test_bfloat16_is_as_near_to_float64_as_the_stock_encoder(longest):
    """Also of lengths at which softmax is computed in float32, and at which it is not."""
    model, batch = _model("bert"), _batch(padded=True, longest=longest)
    exact, exact_gradients = _output_and_gradients(model, batch)
    single = model.float()
    real = batch["attention_mask"][..., None]
    errors = {}
    for name, use in (("stock", use_stock_encoder), ("fast", use_fast_encoder)):
        use(single)
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                output = single(**batch).last_hidden_state
            learned, gradients = _output_and_gradients(single, batch)
        errors[name] = [float((found.double() * real - exact).abs().mean()) for found in (output, learned)]
        off = [float((gradients[key] - exact_gradients[key]).abs().mean()) for key in gradients]
        errors[name].append(sum(off))
    for fast, stock in zip(errors["fast"], errors["stock"], strict=True):
        assert fast <= 1.25 * stock


def test_what_does_not_learn_is_packed_and_the_gradients_of_the_rest_are_the_same():
    model, batch = _model("bert"), _batch(padded=True)
    model.embeddings.requires_grad_(False)
    model.encoder.layer[0].requires_grad_(False)
    exact, expected = _output_and_gradients(model, batch)
    model.float()
    use_fast_encoder(model)
    output, gradients = _output_and_gradients(model, batch)
    packed = [encoder._COPIES[layer].kind[1] for layer in model.encoder.layer]
    assert packed == [can_pack(torch.float32), False, False]
    torch.testing.assert_close(output.double(), exact, rtol=0, atol=1e-5)
    assert gradients.keys() == expected.keys()
    for name in gradients:
        torch.testing.assert_close(gradients[name].double(), expected[name], rtol=0, atol=1e-4)


def test_a_model_that_has_answered_can_be_copied():
    """A packed weight cannot, so it is not kept in the model."""
    model, batch = _model("bert").float(), _batch(padded=True)
    use_fast_encoder(model)
    with torch.inference_mode():
        expected = model(**batch).last_hidden_state
    copied = copy.deepcopy(model)
    with torch.inference_mode():
        torch.testing.assert_close(copied(**batch).last_hidden_state, expected)


def test_what_it_does_not_know_takes_the_stock_way():
    config = BertConfig(**_SIZE, hidden_act="relu")
    model = BertModel(config).eval()
    batch = _batch(padded=True)
    expected = model(**batch).last_hidden_state
    assert not use_fast_encoder(model)
    torch.testing.assert_close(model(**batch).last_hidden_state, expected)


def test_dropout_keeps_the_expectation_and_follows_the_seed():
    model, batch = _model("bert").train(), _batch(padded=True)
    use_fast_encoder(model)

    def run(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return model(**batch).last_hidden_state.detach()

    torch.testing.assert_close(run(1), run(1), rtol=0, atol=0)
    assert not torch.equal(run(1), run(2))


_LOOK_ALIKE = {
    "RemBert": {"input_embedding_size": 16, "output_embedding_size": 16},
    "Xmod": {"languages": ["en_XX"], "default_language": "en_XX"},
    "RoFormer": {},
    "MegatronBert": {},
    "RobertaPreLayerNorm": {},
    "Deberta": {},
    "DebertaV2": {},
    "ConvBert": {},
    "Longformer": {"attention_window": 8},
    "MobileBert": {},
}


@pytest.mark.parametrize("name", sorted(_LOOK_ALIKE))
def test_a_family_whose_layers_look_like_berts_computes_as_it_did(name):
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**_SIZE, **_LOOK_ALIKE[name])
    model = transformers.AutoModel.from_config(config).double().eval()
    batch = _batch(padded=True)
    with torch.no_grad():
        before = model(**batch)[0]
        assert accelerate(model) == ()
        torch.testing.assert_close(model(**batch)[0], before, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["Data2VecText", "Ernie", "RoCBert", "XLMRoberta", "Camembert"])
def test_classes_that_are_berts_by_another_name_are_fast(name):
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**_SIZE)
    model = transformers.AutoModel.from_config(config).double().eval()
    expected = _output_and_gradients(model, _batch(padded=True))
    assert accelerate(model) == ()
    assert "forward" in model.encoder.__dict__
    output, gradients = _output_and_gradients(model, _batch(padded=True))
    torch.testing.assert_close(output, expected[0], rtol=0, atol=1e-12)
    for key, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected[1][key], rtol=0, atol=1e-11)


def test_where_fast_and_stock_differ_the_stock_encoder_is_used_and_a_note_says_so():
    model = _model("bert")
    for layer in model.encoder.layer:
        layer.attention.self.scaling *= 3.0  # what another version of transformers may do
        layer.attention.self.query.weight.data *= 20.0  # as large as trained weights are
    with torch.no_grad():
        before = model(**_batch(padded=True)).last_hidden_state
        (note,) = accelerate(model)
        assert "the stock code runs" in note
        torch.testing.assert_close(model(**_batch(padded=True)).last_hidden_state, before, rtol=0, atol=0)
    assert "forward" not in model.encoder.__dict__
