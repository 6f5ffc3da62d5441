from pathlib import Path

import numpy as np
import pytest
import torch

from tunesmith.data.encoding import Encoded
from tunesmith.inference.forward import evaluating, forward_logits, has_bf16


@pytest.fixture
def model(finished_run):
    from transformers import AutoModelForSequenceClassification

    return AutoModelForSequenceClassification.from_pretrained(finished_run.model)


@pytest.fixture
def encoded():
    rng = np.random.default_rng(0)
    lengths = rng.integers(3, 30, 57)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Encoded(offsets, {"input_ids": rng.integers(5, 40, offsets[-1]).astype(np.int32)})


def test_logits_are_those_of_each_row_alone_in_order(model, encoded):
    batched = forward_logits(model, encoded, pad_token_id=0, tokens_per_batch=100)
    model.eval()
    for row in range(len(encoded)):
        ids = torch.from_numpy(encoded.fields["input_ids"][encoded.offsets[row] : encoded.offsets[row + 1]])
        with torch.no_grad():
            alone = model(input_ids=ids.long().unsqueeze(0)).logits[0].numpy()
        assert np.allclose(batched[row], alone, atol=1e-5)


def test_the_mode_comes_back_and_no_gradient_is_kept(model, encoded):
    model.train()
    seen = []
    forward_logits(model, encoded, pad_token_id=0, advance=lambda done, total: seen.append((done, total)))
    assert model.training
    assert all(p.grad is None for p in model.parameters())
    assert seen[-1] == (57, 57)
    with evaluating(model):
        assert not model.training


def test_bf16_is_close(model, encoded):
    precise = forward_logits(model, encoded, pad_token_id=0)
    assert np.allclose(forward_logits(model, encoded, pad_token_id=0, bf16=True), precise, atol=0.15)


def test_bf16_is_only_claimed_where_the_processor_has_it():
    flags = Path("/proc/cpuinfo").read_text() if has_bf16("cpu") else ""
    assert not has_bf16("cpu") or "avx512_bf16" in flags or "amx_bf16" in flags
    assert has_bf16("mps") is False
