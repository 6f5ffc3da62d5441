"""A soup: the mean of its members' weights, kept only where it is better, in a run like any other."""

import shutil

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file, save_file

import tunesmith
from tunesmith import pipeline, tuning
from tunesmith.errors import RecipeError
from tunesmith.run import Run, read_json
from tunesmith.tuning import Options
from tunesmith.tuning.soup import Ingredient, soup_of
from tunesmith.tuning.trial import WEIGHTS

pytestmark = pytest.mark.usefixtures("lean")


@pytest.fixture(scope="module")
def alone(search_recipe, tmp_path_factory):
    """Gives a finished run with a seed, and the same as an ingredient."""
    folder = tmp_path_factory.mktemp("alone")

    def make(seed, after_fit=pipeline.as_fitted, name="", **train):
        recipe = search_recipe(folder / f"{seed}{name}", train={"head_start": False, **train}, has_test=True)
        run = pipeline.train(recipe.model_copy(update={"seed": seed}), after_fit=after_fit)
        shutil.copy(run.model / "model.safetensors", run.path / WEIGHTS)
        value = run.metrics["train"]["history"][-1]["accuracy"]
        return run, Ingredient(f"seed {seed}", recipe.model, run.path, value)

    return make


@pytest.fixture(scope="module")
def members(alone):
    return [alone(seed, learning_rate=1e-2, num_train_epochs=6) for seed in (1, 2)]


def test_a_better_soup_becomes_the_model_and_works_as_any_run(alone, members):
    weak, _ = alone(3, learning_rate=1e-5, max_steps=1)
    others = [it for _, it in members]
    soup, _ = alone(3, soup_of(others, seed=0), "-soup", learning_rate=1e-5, max_steps=1)
    decision = soup.manifest()["soup"]
    assert decision["kept"], decision
    assert decision["alone"] < decision["soup"]
    assert decision["gain"] == pytest.approx(decision["soup"] - decision["alone"])
    used = [weak, *(run for run, it in members if it.name in decision["members"])]
    assert len(used) == len(decision["members"]) > 1
    files = [load_file(run.model / "model.safetensors") for run in used]
    saved = load_file(soup.model / "model.safetensors")
    for name, weights in saved.items():
        mean = np.mean([it[name].astype(np.float64) for it in files], axis=0)
        assert np.allclose(weights, mean, atol=1e-6), name
    train = soup.metrics["train"]
    assert train["history"][-1]["averaged_models"] == len(used)
    assert (train["steps"], train["best_step"]) == (1, 2)
    assert soup.metrics["primary"]["value"] > weak.metrics["primary"]["value"]
    assert soup.recipe_file.read_text().startswith("# a soup of")
    assert tunesmith.Run(soup.path).predict("a red thing")["label"] in ("animal", "colour")
    test = pipeline.evaluate(soup, Run(soup.path).recipe().data.test)
    assert test["primary"]["value"] == soup.metrics["primary"]["value"]


def test_what_does_not_help_or_fit_is_left_out_and_the_model_stays(alone, members, tmp_path):
    run, good = members[0]
    weights = load_file(run.path / WEIGHTS)
    folders = {name: tmp_path / name for name in ("worse", "frozen", "other", "shape", "gone")}
    for folder in folders.values():
        folder.mkdir()
    turned = {name: -it if "classifier" in name else it for name, it in weights.items()}
    save_file(turned, folders["worse"] / WEIGHTS)
    save_file({name: -it for name, it in weights.items()}, folders["frozen"] / WEIGHTS)
    save_file(weights, folders["other"] / WEIGHTS)
    save_file({name: it for name, it in weights.items() if "bias" not in name}, folders["shape"] / WEIGHTS)
    given = [
        Ingredient(name, "x" if name == "other" else good.model, it, 0.5) for name, it in folders.items()
    ]
    soup, _ = alone(1, soup_of(given, seed=0), "-left", learning_rate=1e-2, num_train_epochs=6)
    decision = soup.manifest()["soup"]
    assert not decision["kept"]
    assert decision["reason"].startswith("no soup")
    assert decision["left_out"] == {
        "worse": "the mean was better without it",
        "frozen": "it has learned weights that the chosen recipe has frozen",
        "other": "it began from another model",
        "shape": "its weights have other names or shapes",
        "gone": "its weights are not there",
    }
    saved = load_file(soup.model / "model.safetensors")
    assert all(np.array_equal(saved[name], it) for name, it in weights.items())


def test_a_tie_leaves_the_chosen_model(alone, members):
    """The mean of a model and itself is no better: the simpler one stays."""
    _, good = members[0]
    soup, _ = alone(1, soup_of([good], seed=0), "-tie", learning_rate=1e-2, num_train_epochs=6)
    decision = soup.manifest()["soup"]
    assert decision["members"] == ["the chosen model", "seed 1"]
    assert not decision["kept"]
    assert "within noise" in decision["reason"]


@pytest.mark.slow
def test_a_search_with_a_soup_says_what_became_of_it(search_recipe, tmp_path):
    space = {"train.learning_rate": {"low": 1e-4, "high": 3e-3}, "train.freeze_layers": [0, 1]}
    folder = tuning.tune(search_recipe(tmp_path / "tune", trials=5, soup=True, space=space, has_test=True))
    found = read_json(folder.result_file)
    decision = folder.best.manifest()["soup"]
    assert found["soup"] == decision
    assert decision["reason"] in found["text"]
    tried = [*decision["members"][1:], *decision["left_out"]]
    assert len(tried) == sum(len(it["by_seed"]) for it in found["finalists"]) - 1
    assert "not there" not in str(decision["left_out"])
    text = folder.best_recipe.read_text()
    assert decision["reason"][1:] in text
    assert yaml.safe_load(text)["data"]["check"] == "off"
    assert not list(folder.trials.rglob(WEIGHTS))


def test_a_soup_that_cannot_be_is_refused_before_anything_is_trained(search_recipe, tmp_path):
    adapter = search_recipe(tmp_path / "tune", soup=True, train={"method": "lora"})
    with pytest.raises(RecipeError, match="the mean of two adapters is not an adapter of the mean"):
        tuning.tune(adapter)
    with pytest.raises(RecipeError, match="those of other machines are not here"):
        tuning.tune(search_recipe(tmp_path / "tune", soup=True), Options(storage="postgresql://u@h/d"))
    assert not (tmp_path / "tune" / "search.json").exists()
