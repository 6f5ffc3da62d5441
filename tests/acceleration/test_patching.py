import copy

import pytest
import torch
from torch import nn

from tunesmith.acceleration import patching


def doubled(module, x):
    return 2 * type(module).forward(module, x)


def zeroed(module, x):
    return 0 * x


X = torch.ones(3, 4)


@pytest.fixture
def layer():
    torch.manual_seed(0)
    return nn.Linear(4, 4)


def test_a_replacement_computes_for_this_instance_alone_and_leaves_no_trace(layer):
    expected, attributes = layer(X), set(vars(layer))
    patching.install(layer, doubled)
    assert patching.is_installed(layer, doubled)
    assert not patching.is_installed(layer, zeroed)
    assert torch.equal(layer(X), 2 * expected)
    patching.remove(layer, doubled)
    assert torch.equal(layer(X), expected)
    assert set(vars(layer)) == attributes


def test_a_copy_computes_with_its_own_weights(layer):
    patching.install(layer, doubled)
    copied = copy.deepcopy(layer)
    with torch.no_grad():
        copied.weight.zero_()
        copied.bias.fill_(1.0)
    assert torch.equal(copied(X), torch.full((3, 4), 2.0))


def test_what_came_later_is_not_removed(layer):
    patching.install(layer, doubled)
    patching.install(layer, zeroed)
    patching.remove(layer, doubled)
    assert patching.is_installed(layer, zeroed)


def test_for_a_while_and_then_what_was_before(layer):
    patching.install(layer, doubled)
    with pytest.raises(ZeroDivisionError), patching.installed(layer, zeroed):
        assert not layer(X).any()
        raise ZeroDivisionError
    assert patching.is_installed(layer, doubled)
    patching.remove(layer, doubled)
    with patching.installed(layer, zeroed):
        assert not layer(X).any()
    assert "forward" not in vars(layer)
