import pytest
import torch

from tunesmith.models import heads
from tunesmith.models.loading import load_for_training
from tunesmith.models.resolve import resolve_model
from tunesmith.tasks import TASKS
from tunesmith.training.optimizer import (
    load_optimizer_tensors,
    make_optimizer,
    optimizer_tensors,
    set_learning_rate,
)


def a_model():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.LayerNorm(3), torch.nn.Linear(3, 2))
    model[0].requires_grad_(False)
    return model


def step(model, optimizer, seed):
    torch.manual_seed(seed)
    model(torch.randn(5, 4)).pow(2).sum().backward()
    optimizer.step()
    optimizer.zero_grad()


def test_matrices_decay_and_vectors_do_not():
    groups = make_optimizer(a_model(), weight_decay=0.1).param_groups
    found = sorted((g["weight_decay"], {p.ndim for p in g["params"]}) for g in groups)
    assert found == [(0.0, {1}), (0.1, {2})]
    # A frozen layer is not among them.
    assert sum(len(g["params"]) for g in groups) == 4


def test_a_state_saved_by_name_goes_on_bit_for_bit():
    model = a_model()
    optimizer = make_optimizer(model, weight_decay=0.1)
    set_learning_rate(optimizer, 0.01)
    step(model, optimizer, 1)
    weights = {name: t.clone() for name, t in model.state_dict().items()}
    state = {name: t.clone() for name, t in optimizer_tensors(model, optimizer).items()}
    step(model, optimizer, 2)

    other = a_model()
    other.load_state_dict(weights)
    resumed = make_optimizer(other, weight_decay=0.1)
    set_learning_rate(resumed, 0.01)
    load_optimizer_tensors(other, resumed, state)
    step(other, resumed, 2)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name])


def test_the_update_is_that_of_the_paper():
    """One step by hand: Loshchilov and Hutter 2019, algorithm 2."""
    model = torch.nn.Linear(2, 2, bias=False).double()
    optimizer = make_optimizer(model, weight_decay=0.1)
    set_learning_rate(optimizer, 0.01)
    before = model.weight.detach().clone()
    model(torch.ones(1, 2, dtype=torch.float64)).pow(2).sum().backward()
    gradient = model.weight.grad.clone()
    optimizer.step()
    expected = before * (1 - 0.01 * 0.1) - 0.01 * gradient / (gradient.abs() + 1e-8)
    assert torch.allclose(model.weight, expected, atol=1e-9)


def rates(model, optimizer):
    """The learning rate of each parameter, by name."""
    by_id = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    return {name: by_id[id(p)] for name, p in model.named_parameters() if id(p) in by_id}


@pytest.fixture
def bert(tiny_model):
    task = TASKS.get("text-classification")
    return load_for_training(
        resolve_model(str(tiny_model)), task, {"labels": ["a", "b"]}, pooling="mean", seed=1
    ).model


def test_each_layer_learns_slower_than_the_one_above(bert):
    """Howard and Ruder 2018, section 3.1: the head at the full rate, the embeddings slowest."""
    optimizer = make_optimizer(bert, weight_decay=0.01, layer_lr_decay=0.5)
    set_learning_rate(optimizer, 0.8)
    found = rates(bert, optimizer)
    assert set(found) == {name for name, p in bert.named_parameters() if p.requires_grad}
    expected = {"classifier.": 0.8, "layer.1.": 0.4, "layer.0.": 0.2, "embeddings.": 0.1}
    for name, rate in found.items():
        (depth,) = [part for part in expected if part in name]
        assert rate == pytest.approx(expected[depth]), name


def test_layers_that_are_frozen_still_count(bert):
    bert.bert.embeddings.requires_grad_(False)
    optimizer = make_optimizer(bert, weight_decay=0.01, layer_lr_decay=0.5)
    set_learning_rate(optimizer, 1.0)
    assert {rate for name, rate in rates(bert, optimizer).items() if "layer.0." in name} == {0.25}


def test_without_decay_all_learn_alike_and_every_parameter_once(bert):
    optimizer = make_optimizer(bert, weight_decay=0.01)
    set_learning_rate(optimizer, 0.3)
    assert set(rates(bert, optimizer).values()) == {0.3}
    assert len(optimizer.param_groups) == 2
    ids = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert len(ids) == len(set(ids)) == sum(p.requires_grad for p in bert.parameters())


def trained_head(unit, centre, steps=30):
    """A body and a head, in float64, on targets in this unit; predictions, in units of the targets."""
    torch.manual_seed(3)
    model = torch.nn.Sequential(torch.nn.Linear(5, 6), torch.nn.Tanh(), torch.nn.Linear(6, 1)).double()
    head = model[2]
    inputs, label_schema = torch.randn(40, 5).double(), centre + unit * torch.randn(40, 1).double()
    with torch.no_grad():
        head.weight *= unit
        head.bias.copy_(centre + unit * head.bias)
    optimizer = make_optimizer(model, weight_decay=0.1, head=head, head_scale=unit)
    for step in range(steps):
        set_learning_rate(optimizer, 0.05 * (1 - step / steps))
        (((model(inputs) - label_schema) / unit) ** 2).sum().div(40).backward()
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        return (model(inputs) - centre) / unit, ((model(inputs) - label_schema) / unit).square().mean()


@pytest.mark.parametrize(
    "unit", [1e-3, 0.2, 37.0, 1e5],
)  # fmt: skip
def test_a_head_with_a_unit_learns_as_one_with_outputs_divided_by_it(unit):
    plain, loss = trained_head(1.0, 0.0)
    scaled, same = trained_head(unit, 3 * unit)
    assert float(loss) < 0.7
    # The bias is not decayed, so the centre changes nothing either.
    assert torch.allclose(scaled, plain, atol=1e-4)
    assert float(same) == pytest.approx(float(loss), abs=1e-4)


def test_only_the_head_has_the_unit(bert):
    head = heads.find_head(bert, 2)
    optimizer = make_optimizer(bert, weight_decay=0.1, layer_lr_decay=0.5, head=head, head_scale=8.0)
    set_learning_rate(optimizer, 1.0)
    found = rates(bert, optimizer)
    assert found["classifier.weight"] == found["classifier.bias"] == 8.0
    assert max(rate for name, rate in found.items() if "classifier" not in name) == 0.5
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    # Rate times decay, which is what a step takes off, is as without the unit.
    assert 8.0 * decays[id(head.weight)] == pytest.approx(0.1)
    assert decays[id(head.bias)] == 0.0
