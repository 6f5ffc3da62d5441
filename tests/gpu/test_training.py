"""Training on a CUDA device: what the CPU learns, in bfloat16, from a stop to the same bits, with every method."""

import threading

import pytest
import torch
from safetensors.torch import load_file

from tunesmith import pipeline
from tunesmith.errors import InterruptedRunError
from tunesmith.tasks import TASKS
from tunesmith.testing.listeners import Recorder, at_step

SAME_LOSS = 1e-4
"""Relative difference between the losses of both devices in float32, over ten steps of AdamW."""


def losses(run):
    """The loss of every step."""
    return [event["loss"] for event in run.events() if event["kind"] == "step"]


def weights(run):
    [file] = run.model.glob("*model.safetensors")
    return load_file(file)


def assert_same_losses(one, other, record_property, tolerance=SAME_LOSS):
    a, b = torch.tensor(losses(one)), torch.tensor(losses(other))
    assert len(a) == len(b) == 10
    largest = float(((a - b).abs() / b.abs().clamp(min=1e-3)).max())
    record_property("largest", largest)
    assert largest < tolerance


@pytest.mark.parametrize("task", sorted(TASKS.names()))
def test_every_task_learns_what_it_learns_on_the_cpu(recipe_of, train_on_cpu, record_property, task):
    gpu = pipeline.train(recipe_of(task, "gpu"))
    assert gpu.manifest()["machine"]["device"] == torch.cuda.get_device_name(0)
    assert_same_losses(gpu, train_on_cpu(recipe_of(task, "cpu")), record_property)


@pytest.mark.parametrize("task", ["text-classification", "text-generation"])
@pytest.mark.parametrize(
    "how",
    [
        {"method": "lora", "lora_dropout": 0.0},
        {"gradient_checkpointing": True},
        {"freeze_layers": 1},
        {"tokens_per_micro_batch": 64},
        {"acceleration": False},
    ],
    ids=lambda how: next(iter(how)),
)
def test_every_method_learns_what_it_learns_on_the_cpu(recipe_of, train_on_cpu, record_property, task, how):
    gpu = pipeline.train(recipe_of(task, "gpu", **how))
    assert_same_losses(gpu, train_on_cpu(recipe_of(task, "cpu", **how)), record_property)


def test_checkpointing_draws_the_same_dropout_masks_twice(recipe_of, record_property):
    plain = pipeline.train(recipe_of("text-classification", "plain", dropout=0.1))
    saving = pipeline.train(
        recipe_of("text-classification", "saving", dropout=0.1, gradient_checkpointing=True)
    )
    assert_same_losses(plain, saving, record_property)


@pytest.mark.parametrize("task", ["text-classification", "token-classification", "text-generation", "chat"])
def test_bfloat16_is_chosen_and_learns(recipe_of, record_property, task):
    recipe = recipe_of(task, "run", dropout=0.1, bf16="auto", max_steps=60, learning_rate=5e-3)
    run = pipeline.train(recipe)
    assert run.recipe().train.bf16 is True
    found = losses(run)
    first, last = sum(found[:5]) / 5, sum(found[-5:]) / 5
    record_property("improvement", f"{first:.4f} to {last:.4f}")
    assert last < 0.7 * first


def calm_again_and_resumed(recipe_of, task, **how):
    """The weights of a run, of its repetition, and of one that was stopped and resumed."""
    calm = pipeline.train(recipe_of(task, "calm", **how))
    again = pipeline.train(recipe_of(task, "again", **how))
    recipe, stop, recorder = recipe_of(task, "stopped", **how), threading.Event(), Recorder()
    with pytest.raises(InterruptedRunError):
        pipeline.train(recipe, listeners=[at_step(7, stop.set)], should_stop=stop.is_set)
    resumed = pipeline.train(recipe, listeners=[recorder])
    assert any("resuming from step 7" in text for text in recorder.said)
    return [weights(run) for run in (calm, again, resumed)]


def largest_difference(one, other):
    return max(float((one[name].double() - other[name].double()).abs().max()) for name in one)


@pytest.mark.parametrize("bf16", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("task", ["text-classification", "text-generation", "text-similarity"])
def test_a_stopped_run_of_short_texts_resumes_to_the_same_bits(recipe_of, task, bf16):
    how = {"dropout": 0.1, "bf16": bf16, "eval_steps": 5}
    calm, again, resumed = calm_again_and_resumed(recipe_of, task, **how)
    assert largest_difference(calm, again) == 0, "a repeated run"
    assert largest_difference(calm, resumed) == 0, "a resumed run"


@pytest.mark.parametrize("is_exact", [False, True], ids=["usual", "deterministic"])
@pytest.mark.parametrize("bf16", [False, True], ids=["float32", "bfloat16"])
def test_a_stopped_run_of_longer_texts(recipe_of, monkeypatch, record_property, bf16, is_exact):
    """Fused attention adds up in an order that changes from run to run, unless torch is told not to."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(is_exact, warn_only=True)
    try:
        how = {"dropout": 0.1, "bf16": bf16, "eval_steps": 5}
        calm, again, resumed = calm_again_and_resumed(recipe_of, "chat", **how)
    finally:
        torch.use_deterministic_algorithms(False)
    record_property("repeated", largest_difference(calm, again))
    record_property("resumed", largest_difference(calm, resumed))
    assert largest_difference(calm, resumed) <= (0 if is_exact else 1e-4)


def test_attention_makes_no_plan_for_each_shape(recipe_of):
    assert torch.backends.cuda.cudnn_sdp_enabled()
    found = []
    pipeline.train(
        recipe_of("chat", "run"),
        listeners=[at_step(2, lambda: found.append(torch.backends.cuda.cudnn_sdp_enabled()))],
    )
    assert found == [False]
    assert torch.backends.cuda.cudnn_sdp_enabled(), "afterwards it is as it was"


def test_one_process_of_torchrun_trains_over_nccl(recipe_of, command, tmp_path):
    plain = pipeline.train(recipe_of("text-classification", "plain"))
    recipe = recipe_of("text-classification", "launched")
    file = tmp_path / "recipe.yaml"
    file.write_text(recipe.to_yaml())
    launcher = ("torch.distributed.run", "--standalone", "--nproc-per-node=1", "-m")
    command("train", file, device="gpu", launcher=launcher)
    assert losses(pipeline.train(recipe)) == losses(plain), "it is finished, and the same"
