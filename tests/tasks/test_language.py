"""Logits only where a token is learned: loss and gradient are those of all logits."""

import numpy as np
import peft
import pytest
import torch
from torch.nn import functional as F
from transformers import AutoModelForCausalLM

from tunesmith.data.batches import collate
from tunesmith.data.packing import pack
from tunesmith.tasks import IGNORED, MODEL_INPUTS, PLAIN_LOSS, Encoded
from tunesmith.tasks import _language as language
from tunesmith.testing.families import write_family

FAMILIES = ("llama", "qwen2", "gpt2", "gemma2", "cohere", "granite", "mistral", "olmo2")
"""Some of them scale their logits (cohere, granite) or cap them (gemma2)."""


def model_of(family, folder):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(
        write_family(folder, family), attn_implementation="eager", dtype=torch.float64
    ).eval()
    for name, value in (("logit_scale", 0.3), ("logits_scaling", 3.0), ("final_logit_softcapping", 0.5)):
        if getattr(model.config, name, None) is not None:
            setattr(model.config, name, value)
            if hasattr(model, name):
                setattr(model, name, value)
    return model


def rows(n_prompt=(7, 3, 11), n_answer=(4, 9, 2)):
    generator = torch.Generator().manual_seed(1)
    made = [
        torch.randint(5, 40, (a + b,), generator=generator).tolist()
        for a, b in zip(n_prompt, n_answer, strict=True)
    ]
    labels = [[IGNORED] * a + ids[a:] for a, ids in zip(n_prompt, made, strict=True)]
    return Encoded.of({"input_ids": made, "labels": labels}, rows=[0, 1, 2], n_rows=3)


def by_all_logits(model, batch):
    """The same batch, with the formula written out."""
    inputs = {name: value for name, value in batch.items() if name in MODEL_INPUTS}
    logits = model(**inputs, use_cache=False).logits
    return F.cross_entropy(
        logits[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten(), ignore_index=IGNORED, reduction="sum"
    )


def row_by_row(model, encoded):
    """Each row alone. Attention is computed in float32, so its rounding depends on the company."""
    total = 0.0
    for row in range(len(encoded)):
        ids = torch.from_numpy(encoded.ragged["input_ids"][row][None]).long()
        labels = torch.from_numpy(encoded.ragged["labels"][row][None]).long()
        logits = model(input_ids=ids).logits
        total += F.cross_entropy(logits[0, :-1], labels[0, 1:], ignore_index=IGNORED, reduction="sum")
    return total


def gradient_of(loss, model):
    model.zero_grad()
    loss.backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("adapted", [False, True], ids=["whole", "adapter"])
@pytest.mark.parametrize("family", FAMILIES)
def test_loss_and_gradient_are_those_of_all_logits(family, adapted, tmp_path):
    model = model_of(family, tmp_path)
    if adapted:
        view = peft.get_peft_model(
            model, peft.LoraConfig(target_modules="all-linear", r=2, init_lora_weights=False)
        )
        view.double()
    encoded = rows()
    batch = collate(encoded, pad_token_id=0)
    reference = by_all_logits(model, batch)
    expected = gradient_of(reference, model)
    assert float(reference.detach()) == pytest.approx(float(row_by_row(model, encoded).detach()), rel=1e-6)
    logits = language.forward_where_labelled(model, batch)
    labelled = int((batch["labels"][:, 1:] != IGNORED).sum())
    if family in ("gemma2", "cohere", "granite"):
        assert logits.ndim == 3, "the class computes its logits itself"
        assert logits.shape[1] < batch["labels"].shape[1], "less than all are computed"
    else:
        assert logits.shape == (labelled, model.config.vocab_size), "exactly the needed ones are computed"
    loss = language.next_token_loss(logits, batch, PLAIN_LOSS)
    assert float(loss.detach()) == pytest.approx(float(reference.detach()), rel=1e-10)
    gradient = gradient_of(loss, model)
    assert torch.allclose(gradient, expected, rtol=1e-8, atol=1e-8 * float(expected.abs().max()))


def test_a_cap_is_noticed_however_small_the_logits_are(tmp_path):
    """A cap of 30 changes the small logits of an untrained model by less than a thousandth."""
    model = AutoModelForCausalLM.from_pretrained(write_family(tmp_path, "gemma2"), dtype=torch.float32)
    assert model.config.final_logit_softcapping == 30.0
    batch = collate(rows(), pad_token_id=0)
    logits = language.forward_where_labelled(model, batch)
    assert float(logits.detach().abs().max()) < 5
    assert logits.ndim == 3


@pytest.mark.parametrize("family", ["llama", "qwen2", "gemma2", "granite"])
def test_so_are_those_of_packed_rows(family, tmp_path):
    model = model_of(family, tmp_path)
    encoded = rows()
    packed = pack(encoded, 64)
    assert len(packed) == 1
    batch = collate(packed, pad_token_id=0)
    loss = language.next_token_loss(language.forward_where_labelled(model, batch), batch, PLAIN_LOSS)
    reference = by_all_logits(model, batch)
    assert float(loss.detach()) == pytest.approx(float(reference.detach()), rel=1e-10)
    assert float(loss.detach()) == pytest.approx(float(row_by_row(model, encoded).detach()), rel=1e-6)
    one, other = gradient_of(loss, model).clone(), gradient_of(reference, model)
    assert torch.allclose(one, other, rtol=1e-8, atol=1e-8 * float(other.abs().max()))


@pytest.mark.parametrize("family", ["llama", "granite"])
def test_selected_outputs_are_the_likelihoods_of_each_row(family, tmp_path):
    model, encoded = model_of(family, tmp_path), rows()
    batch = collate(encoded, pad_token_id=0)
    kept = language.next_token_nll(language.forward_where_labelled(model, batch), batch["labels"])
    for row in range(3):
        alone = row_by_row(model, encoded.take(np.array([row])))
        assert float(kept[row, 0].detach()) == pytest.approx(float(alone.detach()), rel=1e-6)
    assert kept[:, 1].tolist() == [4, 9, 2]


def test_without_labels_there_are_all_logits(tmp_path):
    model = model_of("llama", tmp_path)
    batch = {name: value for name, value in collate(rows(), pad_token_id=0).items() if name != "labels"}
    assert language.forward_where_labelled(model, batch).shape[:2] == batch["input_ids"].shape


def test_a_batch_without_a_label_has_no_loss_and_no_gradient(tmp_path):
    model, encoded = model_of("llama", tmp_path), rows(n_answer=(0, 0, 0))
    batch = collate(encoded, pad_token_id=0)
    loss = language.next_token_loss(language.forward_where_labelled(model, batch), batch, PLAIN_LOSS)
    assert float(loss.detach()) == 0.0
    assert float(gradient_of(loss, model).abs().max()) == 0.0


def test_a_class_that_cannot_leave_logits_out_computes_all():
    class Whole(torch.nn.Module):
        def forward(self, input_ids, attention_mask=None):
            return type("Output", (), {"logits": torch.zeros(*input_ids.shape, 50)})

    batch = collate(rows(), pad_token_id=0)
    assert language.forward_where_labelled(Whole(), batch).shape[1] == batch["labels"].shape[1]
