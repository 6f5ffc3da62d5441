from pathlib import Path

import numpy as np
import pytest
import torch

from tunesmith.acceleration.bf16 import has_bf16
from tunesmith.acceleration.evaluating import evaluating
from tunesmith.encoded import Encoded, Ragged
from tunesmith.inference.forward import forward, tokens_per_pass
from tunesmith.tasks import TASKS, Task

pytestmark = pytest.mark.usefixtures("lean")

TASK = TASKS.get("text-classification")


@pytest.fixture
def model(finished_run):
    from transformers import AutoModelForSequenceClassification

    return AutoModelForSequenceClassification.from_pretrained(finished_run.model)


@pytest.fixture
def encoded():
    rng = np.random.default_rng(0)
    lengths = rng.integers(3, 30, 57)
    return Encoded.of({"input_ids": [rng.integers(5, 40, length).tolist() for length in lengths]})


def test_logits_are_those_of_each_row_alone_in_order(model, encoded):
    batched = forward(TASK, model, encoded, pad_token_id=0, tokens_per_batch=100)
    model.eval()
    for row in range(len(encoded)):
        ids = torch.from_numpy(encoded.ragged["input_ids"][row])
        with torch.no_grad():
            alone = model(input_ids=ids.long().unsqueeze(0)).logits[0].numpy()
        assert np.allclose(batched[row], alone, atol=1e-5)


class OfTokens(Task, abstract=True):
    """Keeps the features of every token."""

    outputs_per_token = True

    def forward(self, model, batch):
        return model.base_model(batch["input_ids"], batch["attention_mask"]).last_hidden_state


def test_a_task_may_keep_something_of_every_token(model, encoded):
    kept = forward(OfTokens(), model, encoded, pad_token_id=0, tokens_per_batch=100)
    assert isinstance(kept, Ragged)
    assert kept.lengths.tolist() == encoded.lengths.tolist()
    model.eval()
    for row in range(len(encoded)):
        ids = torch.from_numpy(encoded.ragged["input_ids"][row]).long().unsqueeze(0)
        with torch.no_grad():
            alone = model.base_model(ids, torch.ones_like(ids)).last_hidden_state[0].numpy()
        assert np.allclose(kept[row], alone, atol=1e-5)


def test_the_mode_comes_back_and_no_gradient_is_kept(model, encoded):
    model.train()
    computed = []
    forward(TASK, model, encoded, pad_token_id=0, advance=lambda done, total: computed.append((done, total)))
    assert model.training
    assert all(p.grad is None for p in model.parameters())
    assert computed[-1] == (57, 57)
    with evaluating(model):
        assert not model.training


def test_bf16_is_close(model, encoded):
    precise = forward(TASK, model, encoded, pad_token_id=0)
    assert np.allclose(forward(TASK, model, encoded, pad_token_id=0, bf16=True), precise, atol=0.15)


def test_bf16_is_only_claimed_where_the_processor_has_it():
    flags = Path("/proc/cpuinfo").read_text() if has_bf16("cpu") else ""
    assert not has_bf16("cpu") or "avx512_bf16" in flags or "amx_bf16" in flags
    assert has_bf16("mps") is False


@pytest.mark.parametrize(
    ("vocabulary", "tokens"),
    [(300, 16_384), (32_768, 8192), (151_936, 2048)],
    ids=["small", "usual", "large"],
)
def test_a_pass_on_an_accelerator_has_more_tokens_unless_its_outputs_are_large(vocabulary, tokens):
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    with torch.device("meta"):  # any device but a CPU
        model = LlamaForCausalLM(LlamaConfig(vocab_size=vocabulary, **shape))
    assert tokens_per_pass(model) == tokens


def test_a_pass_of_a_classifier(model):
    assert tokens_per_pass(model) == 2048
    assert tokens_per_pass(model.to("meta")) == 16_384
