"""The memory of a CUDA device: estimated, kept to, and an error with a remedy when it runs out."""

import pytest
import torch

from tunesmith import pipeline
from tunesmith.errors import RecipeError
from tunesmith.models import memory
from tunesmith.testing.listeners import Recorder, at_step
from tunesmith.testing.tiny import tiny_rows, write_rows, write_tiny_model

ROWS, TOKENS = 1200, 16_384


@pytest.fixture
def recipe(recipe_of, tmp_path):
    """A step of some hundred megabytes, which is much beside the weights."""

    def make(name, family="bert", **train):
        found = recipe_of("text-classification" if family == "bert" else "text-generation", name)
        model = tmp_path / f"wide-{family}"
        if not model.exists():
            write_tiny_model(model, family=family, width=256, layers=4)
        rows = write_rows(tmp_path / "many.jsonl", tiny_rows(ROWS))
        how = {"max_steps": 4, "per_device_train_batch_size": None, "tokens_per_batch": TOKENS, **train}
        changed = found.replace(data={"train": [str(rows)]}, train=how)
        return changed.model_copy(update={"model": str(model)})

    return make


def taken_in_training(recipe):
    """The run, and the most bytes of tensors during the loop, without what was there before."""
    recorder, peak = Recorder(), []

    def first_step():
        torch.cuda.reset_peak_memory_stats()

    def last_step():
        peak.append(torch.cuda.max_memory_allocated())

    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    run = pipeline.train(recipe, listeners=[recorder, at_step(1, first_step), at_step(4, last_step)])
    return run, peak[0] - before, recorder


@pytest.mark.parametrize("family", ["bert", "llama"])
@pytest.mark.parametrize(
    "how",
    [{}, {"bf16": True}, {"method": "lora"}, {"gradient_checkpointing": True}],
    ids=lambda how: next(iter(how), "full"),
)
def test_the_estimate_is_near_what_tensors_take(recipe, record_property, family, how):
    run, taken, _ = taken_in_training(recipe("run", family, **how))
    facts = run.manifest()["memory"]
    estimate = sum(facts[part] for part in ("weights", "gradients", "optimizer", "activations", "overhead"))
    record_property("estimate", f"{estimate / 1e6:.0f} MB for {taken / 1e6:.0f} MB: {estimate / taken:.2f}")
    assert 0.8 < estimate / taken < 1.5


def test_batches_are_cut_to_a_small_memory(recipe, monkeypatch, record_property):
    _, taken, _ = taken_in_training(recipe("whole"))
    little = taken // 2
    monkeypatch.setattr(memory, "free_memory", lambda device=None: little)
    cut, less, recorder = taken_in_training(recipe("cut"))
    assert any("does not fit: it is split into forward passes" in text for text in recorder.warnings)
    assert cut.recipe().train.tokens_per_micro_batch < TOKENS
    record_property("taken", f"{less / 1e6:.0f} MB, with {little / 1e6:.0f} MB free")
    weights = cut.manifest()["memory"]["weights"]
    assert less - weights < little


def test_what_torch_keeps_for_later_counts_as_free():
    device = torch.device("cuda", torch.cuda.current_device())
    held = torch.empty(1 << 30, dtype=torch.uint8, device=device)
    del held
    assert memory.free_memory(device) - torch.cuda.mem_get_info(device)[0] > 0.9 * (1 << 30)


def test_a_memory_that_runs_out_is_an_error_with_a_remedy(recipe):
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(200e6 / total)  # the driver still says that all is free
    try:
        with pytest.raises(RecipeError, match="training ran out of memory") as caught:
            pipeline.train(recipe("run"))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert "train.tokens_per_micro_batch=" in caught.value.remedy
    assert "gradient_checkpointing" in caught.value.remedy
