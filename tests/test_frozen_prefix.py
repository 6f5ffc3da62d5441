"""Training above frozen layers whose outputs are kept: the same result, each text through them once."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers.models.bert.modeling_bert import BertEmbeddings
from transformers.models.llama.modeling_llama import LlamaModel

from tunesmith import pipeline
from tunesmith.acceleration.frozen_cache import CHECKED_SEQUENCES
from tunesmith.acceleration.hidden_states import load_states
from tunesmith.errors import InterruptedRunError, RecipeError
from tunesmith.inference.predictor import Predictor
from tunesmith.models.positions import position_limit
from tunesmith.pipeline import frozen_layers as frozen_layers_phase
from tunesmith.pipeline import probe as probe_phase
from tunesmith.pipeline import training as training_phases
from tunesmith.recipe import Recipe
from tunesmith.testing.listeners import Recorder, at_step, raising
from tunesmith.testing.tiny import as_probe, tiny_task_rows, write_rows, write_tiny_model
from tunesmith.training import probe

pytestmark = pytest.mark.usefixtures("lean")

ROWS = {"train": 160, "validation": 40, "test": 60}


@pytest.fixture(autouse=True)
def _cache_of_this_test(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def deep_model(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("models") / "deep", layers=3)


@pytest.fixture
def recipe(tiny_recipe, deep_model):
    return tiny_recipe.model_copy(update={"model": str(deep_model)}).replace(
        train={"freeze_layers": 2, "bf16": False}, evaluate={"calibration": "none"}
    )


@pytest.fixture
def passes(monkeypatch):
    """Texts that go through the embeddings of a BERT, or the body of a Llama, after the model was tried out."""
    counted = {"texts": 0}

    def counting(stock):
        def forward(this, input_ids=None, *others, **named):
            counted["texts"] += len(input_ids)
            return stock(this, input_ids, *others, **named)

        return forward

    def opening(*given):
        before = counted["texts"]
        opened = stock_open(*given)
        position_limit(opened.model, opened.tokenizer)
        counted["texts"] = before
        return opened

    stock_open = training_phases.open_model
    monkeypatch.setattr(training_phases, "open_model", opening)
    monkeypatch.setattr(BertEmbeddings, "forward", counting(BertEmbeddings.forward))
    monkeypatch.setattr(LlamaModel, "forward", counting(LlamaModel.forward))
    return counted


def train(recipe, folder, listener=None, **how):
    recipe = as_probe(recipe, **how) if how.get("method") == "probe" else recipe.replace(train=how)
    recipe = recipe.model_copy(update={"output_dir": str(folder)})
    return pipeline.train(recipe, listeners=[listener or Recorder()])


def weights(run):
    return load_file(run.model / "model.safetensors")


def losses(run):
    return [event["loss"] for event in run.events() if event["kind"] == "step"]


def entries():
    return sorted((Path(os.environ["TUNESMITH_CACHE"]) / "frozen").glob("*"))


def apart(one, other):
    """How far the matrices are apart.

    Some biases change nothing (of keys, before a softmax): their gradient is rounding alone, and AdamW makes a
    whole step of it.
    """
    a, b = weights(one), weights(other)
    assert a.keys() == b.keys()
    return max(float((a[name] - b[name]).abs().max()) for name in a if a[name].ndim == 2)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_in_float32_the_result_is_that_of_not_keeping_them(recipe, tmp_path, layers):
    how = {"freeze_layers": layers, "logging_steps": 1, "learning_rate": 1e-4}
    kept = train(recipe, tmp_path / "kept", **how)
    plain = train(recipe, tmp_path / "plain", **how, cache_frozen_layers=False)
    assert len(entries()) == 3
    assert losses(kept) == pytest.approx(losses(plain), abs=1e-6)
    assert apart(kept, plain) < 1e-6
    for name in ("splits", "baselines"):
        assert json.dumps(kept.metrics[name]) == json.dumps(plain.metrics[name])
    assert kept.recipe().train.cache_frozen_layers is True
    assert plain.recipe().train.cache_frozen_layers is False


def test_in_bfloat16_losses_agree_within_its_digits(recipe, tmp_path):
    # From a head that is not trained yet, losses are about 1, and not what is left of nearly equal numbers.
    how = {"bf16": True, "logging_steps": 1, "learning_rate": 1e-4, "head_start": False}
    kept = train(recipe, tmp_path / "kept", **how)
    plain = train(recipe, tmp_path / "plain", **how, cache_frozen_layers=False)
    assert losses(kept) == pytest.approx(losses(plain), rel=0.02)
    rounded = [load_states(entry).values.dtype.itemsize == 2 for entry in entries()]
    assert sorted(rounded) == [False, False, True], "only the training rows are read in bfloat16"


def test_every_text_goes_through_the_frozen_layers_once(recipe, tmp_path, passes):
    run = train(recipe, tmp_path / "kept")
    tried = 2 * CHECKED_SEQUENCES + passes_of_the_memory_estimate(recipe, tmp_path, passes)
    # The finished model answers the training rows once more, and is another model.
    assert passes["texts"] == sum(ROWS.values()) + ROWS["train"] + tried
    assert run.metrics["baselines"]["probe"]
    before = passes["texts"]
    again = train(recipe, tmp_path / "again", learning_rate=1e-3)  # as the next trial of a search would
    assert passes["texts"] - before == ROWS["train"] + tried
    assert apart(run, again) > 0


def passes_of_the_memory_estimate(recipe, tmp_path, passes):
    """Texts that go through before anything is computed for its own sake, apart from trying the prefix."""
    before = passes["texts"]
    changed = {"head_start": False, "max_steps": 1, "cache_frozen_layers": False}
    run = train(recipe.replace(evaluate={"baselines": False}), tmp_path / "estimate", **changed)
    # The validation rows go through in the loop, before the model is saved, and after it.
    used = run.metrics["train"]["examples"] + 3 * ROWS["validation"] + ROWS["test"] + ROWS["train"]
    found = passes["texts"] - before - used
    passes["texts"] = before
    return found


def test_with_a_probe_every_text_goes_through_the_model_once(recipe, tmp_path, passes):
    run = train(recipe, tmp_path / "probe", method="probe")
    in_all = passes["texts"]
    Predictor.from_run(run.path)  # the saved model is tried out before it is scored, too
    tried = passes["texts"] - in_all
    # The finished model answers the training rows once more.
    assert in_all == sum(ROWS.values()) + ROWS["train"] + tried
    assert run.metrics["primary"]["value"] == run.metrics["baselines"]["probe"]["accuracy"]


def test_a_probe_is_scored_as_the_saved_model_answers(recipe, tiny_files, tmp_path):
    run = train(recipe.replace(train={"bf16": True}), tmp_path / "probe", method="probe")
    again = pipeline.evaluate(run.path, [str(tiny_files["test"])])
    ours, theirs = run.metrics["splits"]["test"], again["splits"]["test"]
    assert {name: s["value"] for name, s in ours.items()} == {name: s["value"] for name, s in theirs.items()}


def test_features_of_the_rows_that_choose_and_count_are_taken_once(recipe, tmp_path, passes, monkeypatch):
    """Without test rows, the validation rows choose the probe and are its score, too."""
    taken = []
    stock = probe_phase.take_features
    monkeypatch.setattr(
        probe_phase,
        "take_features",
        lambda *given, **how: taken.append(len(given[2])) or stock(*given, **how),
    )
    assert stock is probe.take_features
    train(recipe.replace(data={"test": None}), tmp_path / "run", freeze_layers=0)
    assert taken == [ROWS["train"], ROWS["validation"]]


class StopError(Exception):
    pass


def stopping_at(at, kind):
    signalling = lambda: os.kill(os.getpid(), signal.SIGTERM)  # noqa: E731
    return at_step(at, signalling if kind == "signal" else raising(StopError))


@pytest.mark.parametrize("kept", [True, False])
def test_stopped_and_gone_on_gives_the_same_bits_also_when_the_entries_are_gone(recipe, tmp_path, kept):
    how = {"eval_steps": 5, "save_steps": 5}
    calm = train(recipe, tmp_path / "calm", **how)
    shutil.rmtree(entries()[0].parent)
    with pytest.raises(StopError):
        train(recipe, tmp_path / "stopped", stopping_at(8, "crash"), **how)
    with pytest.raises(InterruptedRunError):
        train(recipe, tmp_path / "stopped", stopping_at(14, "signal"), **how)
    assert len(entries()) == 3
    if not kept:
        shutil.rmtree(entries()[0].parent)
    gone_on = train(recipe, tmp_path / "stopped", **how)
    a, b = weights(calm), weights(gone_on)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert calm.metrics["splits"] == gone_on.metrics["splits"]


def test_the_need_of_disk_is_told_before_and_too_little_is_a_notice(recipe, tmp_path, monkeypatch):
    listener = Recorder()
    train(recipe, tmp_path / "kept", listener)
    told = [text for text in listener.said if text.startswith("frozen layers: ")]
    assert [text.split(" tokens in ")[0].split()[-1] for text in told] == ["train", "validation", "test"]
    shutil.rmtree(entries()[0].parent)
    monkeypatch.setattr(frozen_layers_phase, "free_bytes", lambda _: 500_000)
    listener = Recorder()
    run = train(recipe, tmp_path / "full", listener)
    assert any("of disk, and only 500 kB are free in" in text for text in listener.said)
    assert run.recipe().train.cache_frozen_layers is False
    assert entries() == []
    with pytest.raises(RecipeError, match=r"train.cache_frozen_layers is true, and it takes \S+ kB of disk"):
        train(recipe, tmp_path / "insisting", cache_frozen_layers=True)


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"freeze_layers": 0}, "no layer is frozen"),
        ({"neftune_noise_alpha": 5.0}, "neftune_noise_alpha"),
    ],
)
def test_asked_for_where_it_cannot_be_is_an_error_and_auto_a_notice(recipe, tmp_path, how, reason):
    with pytest.raises(RecipeError, match=f"cache_frozen_layers is true, and .*{reason}"):
        train(recipe, tmp_path / "insisting", **how, cache_frozen_layers=True)
    listener = Recorder()
    run = train(recipe, tmp_path / "auto", listener, **how)
    told = any(reason in text for text in listener.said)
    assert told is (how.get("freeze_layers") != 0)
    assert run.recipe().train.cache_frozen_layers is False


def test_what_takes_too_much_goes_after_the_run(recipe, tmp_path, monkeypatch):
    monkeypatch.setenv("TUNESMITH_CACHE_GB", "0.00015")
    train(recipe, tmp_path / "run")
    sizes = [sum(file.stat().st_size for file in entry.glob("*")) for entry in entries()]
    assert 0 < sum(sizes) <= 150_000


FAMILIES = {
    "text-generation": "llama", "chat": "llama", "preference": "llama", "token-classification": "bert",
    "question-answering": "bert", "multi-label-classification": "bert", "text-regression": "roberta",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("task", FAMILIES)
def test_other_tasks(tmp_path, task):
    model = write_tiny_model(tmp_path / "model", family=FAMILIES[task], layers=3)
    rows = tiny_task_rows(task, 60)
    files = {
        "train": write_rows(tmp_path / "train.jsonl", rows[:40]),
        "validation": write_rows(tmp_path / "validation.jsonl", rows[40:50]),
        "test": write_rows(tmp_path / "test.jsonl", rows[50:]),
    }
    recipe = Recipe.model_validate({
        "task": task,
        "model": str(model),
        "data": {split: [str(path)] for split, path in files.items()},
        "train": {
            "freeze_layers": 2, "num_train_epochs": 2, "learning_rate": 1e-4, "bf16": False, "logging_steps": 1,
            "per_device_train_batch_size": 8,
        },
        "evaluate": {"bootstrap_samples": 100},
    })  # fmt: skip
    kept = train(recipe, tmp_path / "kept", cache_frozen_layers=True)
    plain = train(recipe, tmp_path / "plain", cache_frozen_layers=False)
    assert losses(kept) == pytest.approx(losses(plain), abs=2e-6)
    assert apart(kept, plain) < 1e-6
    assert len(entries()) >= 2
    ours, theirs = (run.metrics["primary"]["value"] for run in (kept, plain))
    assert ours == pytest.approx(theirs, abs=1e-4)


@pytest.mark.parametrize(
    ("task", "family", "reason"),
    [("fill-mask", "bert", "changes its texts"), ("summarization", "bart", "an encoder and a decoder")],
)
def test_tasks_without(tmp_path, task, family, reason):
    model = write_tiny_model(tmp_path / "model", family=family, layers=2)
    file = write_rows(tmp_path / "train.jsonl", tiny_task_rows(task, 30))
    recipe = Recipe.model_validate({
        "task": task,
        "model": str(model),
        "data": {"train": [str(file)], "validation": 0.3},
        "train": {"freeze_layers": 1, "max_steps": 2},
        "evaluate": {"bootstrap_samples": 100},
    })  # fmt: skip
    listener = Recorder()
    train(recipe, tmp_path / "run", listener)
    assert any(
        text.startswith("what the frozen layers compute is not kept") and reason in text
        for text in listener.said
    )
    assert entries() == []
