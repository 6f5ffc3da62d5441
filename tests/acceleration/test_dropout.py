"""Masks: their share, their scale, their seed."""

from __future__ import annotations

import pytest
import torch

from tunesmith.acceleration import dropout
from tunesmith.acceleration.dropout import Masks

pytestmark = pytest.mark.usefixtures("lean")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("p", [0.1, 0.5])
def test_a_mask_drops_its_share_and_keeps_the_mean(dtype, p):
    torch.manual_seed(0)
    mask = Masks(dtype).draw(p, 1000, 333)
    assert mask.dtype is dtype
    assert mask.shape == (1000, 333)
    assert float((mask == 0).double().mean()) == pytest.approx(p, abs=0.004)
    assert float(mask.double().mean()) == pytest.approx(1.0, abs=0.006)
    assert len(mask.unique()) == 2


def test_nothing_and_everything():
    assert Masks(torch.float32).draw(0.0, 4) is None
    assert not Masks(torch.float32).draw(1.0, 100).any()


def test_masks_follow_the_seed_and_differ_from_each_other():
    def draw(seed: int) -> list[torch.Tensor]:
        torch.manual_seed(seed)
        masks = Masks(torch.float32)
        return [masks.draw(0.5, 64), masks.draw(0.5, 64)]

    first, again, other = draw(1), draw(1), draw(2)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[0], other[0])


def test_modules_drop_in_training_alone():
    module = torch.nn.Sequential(torch.nn.Dropout(0.5))
    dropout.install(module)
    values = torch.ones(100, 100)
    assert set(module.train()(values).unique().tolist()) == {0.0, 2.0}
    assert torch.equal(module.eval()(values), values)
