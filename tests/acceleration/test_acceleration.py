"""The one entry, the one switch, and the inner ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import tunesmith
from tunesmith.acceleration import TRICKS, accelerate, accelerated, is_on, packed_linear, without
from tunesmith.acceleration.embedding_rows import EmbeddingRows, training_rows
from tunesmith.errors import RecipeError
from tunesmith.exporters import EXPORTERS
from tunesmith.inference.predictor import Predictor
from tunesmith.models.loading import load_trained
from tunesmith.models.resolve import resolve_model
from tunesmith.tasks import TASKS

pytestmark = pytest.mark.usefixtures("lean")


@pytest.fixture(autouse=True)
def _small_layers_too(monkeypatch):
    monkeypatch.setattr(packed_linear, "_LEAST_WEIGHTS", 1)


def replaced(model):
    """The functions that compute in place of a module's own, by the file that they are in."""
    forwards = [module.__dict__["forward"] for module in model.modules() if "forward" in module.__dict__]
    files = {Path(forward.__func__.__code__.co_filename).stem for forward in forwards}
    return files & set(TRICKS)


def opened(run):
    return load_trained(resolve_model(str(run.model)), TASKS.get("text-classification"))


INSTALLED = {"pooling", "encoder", "dropout", "packed_linear"}


def test_every_trick_is_installed_and_answers_stay(finished_run):
    stock, fast = opened(finished_run), accelerated(opened(finished_run))
    assert replaced(stock.model) == set()
    assert replaced(fast.model) == INSTALLED
    batch = fast.tokenizer(["the cat is red", "a dog"], padding=True, return_tensors="pt")
    with torch.inference_mode():
        torch.testing.assert_close(fast.model(**batch).logits, stock.model(**batch).logits, rtol=0, atol=1e-4)
    assert replaced(accelerated(opened(finished_run), wanted=False).model) == set()


@pytest.mark.parametrize("name", sorted(INSTALLED))
def test_each_can_be_left_out(finished_run, name):
    model = opened(finished_run).model
    with without(name):
        assert not is_on(name)
        accelerate(model)
    assert is_on(name)
    assert replaced(model) == INSTALLED - {name}


def test_rows_of_the_token_table_can_be_left_out(finished_run):
    import numpy as np

    model = opened(finished_run).model
    with without("embedding_rows"), training_rows(model, iter([np.array([1, 2])])):
        assert not isinstance(model.get_input_embeddings(), EmbeddingRows)


def test_an_unknown_trick_is_named():
    with pytest.raises(ValueError, match="no trick is called 'encodr'"), without("encodr"):
        pass


@pytest.fixture(scope="module")
def stock_run(tiny_model, tiny_files, tmp_path_factory):
    return tunesmith.train(
        model=str(tiny_model),
        data=str(tiny_files["train"]),
        validation=str(tiny_files["validation"]),
        output_dir=str(tmp_path_factory.mktemp("stock") / "run"),
        overrides={"train.acceleration": False, "train.max_steps": 3, "evaluate.baselines": False},
    )


def test_a_run_without_acceleration_has_stock_arithmetic_from_then_on(stock_run, finished_run):
    assert replaced(Predictor.from_run(stock_run.path).model) == set()
    assert replaced(Predictor.from_run(finished_run.path).model) == INSTALLED


def test_its_whole_token_table_was_trained(stock_run, tiny_model):
    name = "bert.embeddings.word_embeddings.weight"
    before = load_file(tiny_model / "model.safetensors")[name.removeprefix("bert.")]
    after = load_file(stock_run.model / "model.safetensors")[name]
    assert bool((before != after).any(1).all())


def test_its_export_too(stock_run, finished_run, tmp_path):
    for run, expected in ((stock_run, set()), (finished_run, INSTALLED)):
        folder = tmp_path / run.path.parent.name
        facts = tunesmith.export(
            run.path, "merged", output_dir=folder, overrides={"export.min_agreement": 0.9}
        )
        assert facts["acceleration"] == bool(expected)
        assert replaced(Predictor.from_run(folder).model) == expected


def test_its_graph_holds_the_stock_pooling_layer(finished_run, tmp_path):
    from tunesmith.exporters import Source
    from tunesmith.exporters._stock import stock_model

    assert "onnx" in EXPORTERS.names()
    for acceleration in (True, False):
        source = Source(
            TASKS.get("text-classification"), finished_run.model, lambda: None, tmp_path, print, acceleration
        )
        assert replaced(stock_model(source)) == ({"pooling"} if acceleration else set())


def test_what_contradicts_the_switch_is_refused(tiny_recipe):
    recipe = tiny_recipe.replace(
        train={"acceleration": False, "freeze_layers": 1, "cache_frozen_layers": True}
    )
    with pytest.raises(RecipeError, match=r"cache_frozen_layers is true, and train\.acceleration is false"):
        tunesmith.train(recipe)
