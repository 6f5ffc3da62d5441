from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tunesmith.acceleration.embedding_rows import training_rows
from tunesmith.errors import RecipeError
from tunesmith.models import memory as memory_module
from tunesmith.models.memory import (
    Activations,
    Memory,
    free_memory,
    in_gb,
    longest_that_fits,
    measure_memory,
    use_checkpointing,
)
from tunesmith.models.tensor_tracker import TensorTracker


class Transformers:
    """What is asked of a model of transformers besides what every module has."""

    @property
    def base_model(self):
        return self

    def get_input_embeddings(self):
        return self._modules.get("embedding") or torch.nn.Identity()


class Linear(Transformers, torch.nn.Linear):
    pass


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
    tracker = TensorTracker()
    hook = weight.register_post_accumulate_grad_hook(tracker.drop_gradient)
    with tracker:
        x = torch.zeros(1000)
        x = x + 1
        x = x + 1
    assert tracker.peak() == 8000
    with tracker:
        (weight * 3).sum().backward()
    hook.remove()
    assert weight.grad is None
    assert 8000 <= tracker.peak() <= 4 * 4000
    del x


def test_a_linear_layer_keeps_its_input():
    """[b, s, 64] → [b, s, 64]: autograd needs the input; the output, its log-softmax and gradients come on top."""

    class Model(Transformers, torch.nn.Module):
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
    weight = Linear(8, 8)

    def forward(sequences, tokens):
        x = weight(torch.ones(sequences, tokens, 8))
        return (x @ x.transpose(1, 2)).softmax(-1) @ x, sequences * tokens, tokens

    found = measure_memory(weight, forward, longest=200).activations
    shares = 4  # bytes of one share of attention, of which some are alive at once
    assert found.of(2000, 1000) - found.of(2000, 100) >= shares * 2000 * 900
    assert found.tokens_within(found.of(2000, 1000), 1000) == pytest.approx(2000, abs=2)


def test_what_other_hands_made_is_seen():
    """A mask by numpy, first read by an operation and kept for the backward pass, as that of dropout."""
    linear = Linear(64, 64, bias=False)

    def forward_with(is_masked):
        def forward(sequences, tokens):
            x = linear(torch.ones(sequences, tokens, 64))
            mask = np.ones((sequences, tokens, 64), dtype=np.float32)
            return x * torch.from_numpy(mask) if is_masked else x * 2, sequences * tokens, tokens

        return forward

    with_mask, without = (
        measure_memory(linear, forward_with(is_masked), longest=100).activations.of(1000, 100)
        for is_masked in (True, False)
    )
    assert with_mask - without >= 0.9 * 1000 * 64 * 4


def test_weights_that_are_there_do_not_count():
    """Neither a weight that does not learn nor a copy that an earlier pass has made."""
    linear = Linear(512, 512, bias=False)
    copies = {}

    def forward(sequences, tokens):
        if not copies:
            copies["half"] = linear.weight.detach().bfloat16()
        x = torch.ones(sequences, tokens, 512, dtype=torch.bfloat16) @ copies["half"].t()
        return x.float() @ linear.weight[:2].t(), sequences * tokens, tokens

    size = 512 * 512
    first, later = (measure_memory(linear, forward, longest=100).activations.of(1, 1) for _ in range(2))
    assert first - later == pytest.approx(2 * size, rel=0.01)


class Table(Transformers, torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(1000, 8)
        self.linear = torch.nn.Linear(8, 2, bias=False)


@pytest.mark.parametrize(("ids", "rows"), [(None, 1000), ([3, 5, 5], 2), (list(range(900)), 1000)])
def test_rows_of_the_token_table_that_do_not_occur_take_nothing(ids, rows):
    model = Table()
    table, before = model.embedding, model.embedding.weight.detach().clone()

    def forward(sequences, tokens):
        return model.linear(model.embedding(torch.full((sequences, tokens), 5))), sequences * tokens, tokens

    used = None if ids is None else [np.array(ids)]
    memory = measure_memory(model, forward, longest=100, as_trained=training_rows(model, used))
    assert memory.gradients == (8 * rows + 16) * 4
    assert memory.optimizer == 2 * memory.gradients
    assert memory.weights == (8 * 1000 + 16) * 4
    assert model.embedding is table
    assert torch.equal(table.weight, before)


def test_what_is_no_tensor_is_counted():
    activations = Activations(np.zeros(1), np.array([1000.0]), np.array([0.0]))
    memory = Memory(100, 200, 400, activations, free=10**6, libraries=50_000, gaps=0.5)
    tensors = 200 + 400 + 1000 * 100
    assert memory.overhead(100, 10) == 50_000 + tensors / 2
    assert memory.to_come(100, 10) == tensors + memory.overhead(100, 10)
    described = memory.to_json(100, 10)
    parts = sum(described[name] for name in ("gradients", "optimizer", "activations", "overhead"))
    assert parts == memory.to_come(100, 10)
    fits = memory.tokens_that_fit(10)
    assert memory.to_come(fits, 10) <= 0.85 * memory.free < memory.to_come(fits + 2, 10)


@pytest.mark.parametrize(
    ("libraries", "bf16", "share"),
    [(80_000_000, False, 0.05), (340_000_000, False, 0.25), (80_000_000, True, 0.5)],
)
def test_what_training_usually_takes_is_between_its_tensors_and_the_most(libraries, bf16, share):
    activations = Activations(np.array([10.0]), np.array([2.0]), np.array([0.0]))
    memory = Memory(100, 200, 400, activations, free=10**6, libraries=libraries, gaps=0.5)
    tensors = 100 + 200 + 400 + 10 + 2 * 50
    overhead = memory.overhead(50, 10)
    assert memory.total(50, 10) == tensors + overhead
    assert memory.usual(50, 10, bf16=bf16) == pytest.approx(tensors + share * overhead, abs=1)


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
    with pytest.raises(RecipeError, match=r"type `odd` do not support train\.gradient_checkpointing"):
        use_checkpointing(model)


def test_sizes_as_people_say_them():
    assert (in_gb(1.24e9), in_gb(45_400_000)) == ("1.2 GB", "45 MB")
