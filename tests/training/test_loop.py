"""The loop through the pipeline: what it counts, when it looks, what it keeps."""

import json

import pytest
import torch
from safetensors.torch import load_file

from tunesmith import pipeline
from tunesmith.events import Step, Warning
from tunesmith.run import Run
from tunesmith.tasks import TASKS

pytestmark = pytest.mark.usefixtures("lean")


def trained(recipe, **train):
    return pipeline.train(recipe.replace(train=train, evaluate={"baselines": False}))


def validations(run):
    return [event for event in run.events() if event["kind"] == "validation"]


def test_it_counts_rows_tokens_and_steps(tiny_recipe, tiny_files):
    run = trained(tiny_recipe, num_train_epochs=2)
    train = run.metrics["train"]
    assert train["examples"] == 2 * 160
    assert train["steps"] == 20
    truncation = json.loads((run.data / "supervision.json").read_text())
    assert train["tokens"] == 2 * truncation["train"]["tokens"]
    assert train["seconds"] > 0


def test_early_stopping(tiny_recipe):
    run = trained(tiny_recipe, num_train_epochs=50, learning_rate=1e-9, early_stopping_patience=2)
    assert [event["step"] for event in validations(run)] == [10, 20, 30]
    assert run.metrics["train"]["best_step"] == 30


def test_the_weights_of_the_best_step_are_the_result(tiny_recipe):
    run = trained(tiny_recipe, num_train_epochs=8, learning_rate=3e-2)
    best = max(validations(run), key=lambda event: (event["accuracy"], event["step"]))
    assert run.metrics["train"]["best_step"] == best["step"]
    kept = load_file(run.checkpoints / f"step-{best['step']:05d}" / "model.safetensors")
    saved = load_file(run.model / "model.safetensors")
    table = next(name for name in saved if name.endswith("word_embeddings.weight"))
    rows = {tuple(row.tolist()) for row in saved.pop(table)}
    # Of the token table, a checkpoint holds the rows that learn.
    assert {tuple(row.tolist()) for row in kept[table]} <= rows
    assert all(torch.equal(kept[name], tensor) for name, tensor in saved.items())


def test_a_damaged_best_checkpoint_does_not_end_the_run(tiny_recipe, monkeypatch):
    """Step 2 is the best of 2, 4, 6; what it weighed is damaged before the end, and step 6 is what there is."""
    task, scores = TASKS.get("text-classification"), iter((0.9, 0.5, 0.6))
    monkeypatch.setattr(type(task), "validation_scores", lambda *_: {"accuracy": next(scores)})
    events = []

    def damaging(event):
        events.append(event)
        if isinstance(event, Step) and event.step == 6:
            weights = run.checkpoints / "step-00002" / "model.safetensors"
            weights.write_bytes(weights.read_bytes()[:-1])

    recipe = tiny_recipe.replace(
        data={"check": "off"},
        train={"max_steps": 6, "eval_steps": 2},
        evaluate={"baselines": False, "calibration": "none"},
    )
    run = Run(recipe.output_dir)
    assert pipeline.train(recipe, listeners=[damaging]).is_finished
    warnings = [
        event.text
        for event in events
        if isinstance(event, Warning) and "same text as a training row" not in event.text
    ]
    assert warnings == [
        "the best checkpoint, step-00002, cannot be used: model.safetensors is damaged. Step 6 is used instead"
    ]
    assert run.metrics["train"]["best_step"] == 6
    kept = load_file(run.checkpoints / "step-00006" / "model.safetensors")
    saved = load_file(run.model / "model.safetensors")
    assert torch.equal(kept["classifier.weight"], saved["classifier.weight"])


def test_the_last_look_is_at_the_end_and_none_shortly_before(tiny_recipe):
    run = trained(tiny_recipe, max_steps=21, eval_steps=10)
    assert [event["step"] for event in validations(run)] == [10, 21]


@pytest.mark.parametrize("accumulation", [2, 3])
def test_accumulation_changes_dropout_and_nothing_else(tiny_model, tiny_recipe, tmp_path, accumulation):
    """Without dropout, passes of 16 and passes of 16/n give the same weights up to rounding."""
    from tunesmith.testing.tiny import write_tiny_model

    model = write_tiny_model(tmp_path / "calm", dropout=0.0)
    recipe = tiny_recipe.model_copy(update={"model": str(model)})
    one = trained(recipe.model_copy(update={"output_dir": str(tmp_path / "one")}),
                  per_device_train_batch_size=24, bf16=False, max_steps=4)  # fmt: skip
    cut = trained(recipe.model_copy(update={"output_dir": str(tmp_path / "cut")}),
                  per_device_train_batch_size=24 // accumulation, bf16=False, max_steps=4,
                  gradient_accumulation_steps=accumulation)  # fmt: skip
    a, b = (load_file(run.model / "model.safetensors") for run in (one, cut))
    assert all(torch.allclose(a[name], b[name], atol=2e-3) for name in a)


def test_the_schedule_is_in_the_log(tiny_recipe):
    run = trained(tiny_recipe, max_steps=20, logging_steps=1, warmup_steps=5, learning_rate=1e-3)
    rates = [event["learning_rate"] for event in run.events() if event["kind"] == "step"]
    assert len(rates) == 20
    assert max(rates) == rates[5] == pytest.approx(1e-3)
    assert rates[:6] == sorted(rates[:6])
    assert rates[5:] == sorted(rates[5:], reverse=True)
