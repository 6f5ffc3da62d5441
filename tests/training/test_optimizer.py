import torch

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
    assert [(g["weight_decay"], {p.ndim for p in g["params"]}) for g in groups] == [(0.1, {2}), (0.0, {1})]


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
