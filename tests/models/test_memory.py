from types import SimpleNamespace

import pytest
import torch

from tunesmith.errors import RecipeError
from tunesmith.models import memory as memory_module
from tunesmith.models.living import Living
from tunesmith.models.memory import free_memory, in_gb, longest_that_fits, measure_memory, use_checkpointing

CONFIG = SimpleNamespace(num_hidden_layers=6, hidden_size=384, num_attention_heads=12)


def test_the_activations_of_the_answer_take_half_the_memory():
    n = longest_that_fits(CONFIG, free_bytes=8 * 2**30)
    activations = 2 * 6 * n * (34 * 384 + 5 * 12 * n)
    assert activations == pytest.approx(4 * 2**30, rel=0.01)


def test_more_memory_fits_more():
    assert longest_that_fits(CONFIG, 2**30) < longest_that_fits(CONFIG, 2**32)
    assert longest_that_fits(CONFIG) > 512


def test_what_lives_at_once_is_seen():
    """Three steps of 4 kB, of which two live at once, and the gradient of a weight, which does not count."""
    weight = torch.nn.Parameter(torch.ones(1000))
    living = Living()
    hook = weight.register_post_accumulate_grad_hook(living.drop_gradient)
    with living:
        x = torch.zeros(1000)
        x = x + 1
        x = x + 1
    assert living.peak() == 8000
    with living:
        (weight * 3).sum().backward()
    hook.remove()
    assert weight.grad is None
    assert 8000 <= living.peak() <= 4 * 4000
    del x


def test_a_linear_layer_keeps_its_input():
    """[b, s, 64] → [b, s, 64]: autograd needs the input; the output, its log-softmax and gradients come on top."""

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(64, 64, bias=False)

    def forward(sequences, tokens):
        x = torch.ones(sequences, tokens, 64) * 2
        return model.linear(x), sequences * tokens, tokens

    model = Model()
    memory = measure_memory(model, forward, longest=100)
    assert (memory.weights, memory.gradients, memory.optimizer) == (64 * 64 * 4, 64 * 64 * 4, 2 * 64 * 64 * 4)
    per_vector = 64 * 4
    token = memory.activations.of(10_000, 100) / 10_000
    assert 3 * per_vector <= token <= 6 * per_vector
    assert memory.activations.of(10_000, 1000) == pytest.approx(10_000 * token, rel=0.01)
    twice = measure_memory(model, forward, longest=100, passes=2)
    assert twice.activations.of(10_000, 100) == pytest.approx(20_000 * token, rel=0.01)


def test_the_square_of_the_length_is_told_apart():
    weight = torch.nn.Linear(8, 8)

    def forward(sequences, tokens):
        x = weight(torch.ones(sequences, tokens, 8))
        return (x @ x.transpose(1, 2)).softmax(-1) @ x, sequences * tokens, tokens

    found = measure_memory(weight, forward, longest=200).activations
    shares = 4  # bytes of one share of attention, of which some are alive at once
    assert found.of(2000, 1000) - found.of(2000, 100) >= shares * 2000 * 900
    assert found.tokens_within(found.of(2000, 1000), 1000) == pytest.approx(2000, abs=2)


def test_free_memory_heeds_the_limit_of_a_container(tmp_path, monkeypatch):
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("700000\n")
    (tmp_path / "memory.stat").write_text("anon 500000\ninactive_file 50000\n")
    monkeypatch.setattr(memory_module, "_CGROUP", tmp_path)
    assert free_memory() == 350_000
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory() > 10**8
    monkeypatch.setattr(memory_module, "_CGROUP", tmp_path / "absent")
    assert free_memory() > 10**8


def test_a_model_that_cannot_checkpoint_is_told():
    model = SimpleNamespace(supports_gradient_checkpointing=False, config=SimpleNamespace(model_type="odd"))
    with pytest.raises(RecipeError, match="not for models of the type `odd`"):
        use_checkpointing(model)


def test_sizes_as_people_say_them():
    assert (in_gb(1.24e9), in_gb(45_400_000)) == ("1.2 GB", "45 MB")
