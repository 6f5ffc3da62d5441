"""Every way to train: what shall stay the same is the same bit for bit, and what is saved loads elsewhere."""

import json

import pytest
import torch
from safetensors.torch import load_file

import tunesmith
from tunesmith import pipeline
from tunesmith.errors import RecipeError
from tunesmith.models.adapters import LoraSettings, add_lora, merge_adapter
from tunesmith.models.loading import load_for_training
from tunesmith.models.resolve import resolve_model
from tunesmith.recipe import Recipe
from tunesmith.tasks import TASKS
from tunesmith.testing.tiny import as_probe

pytestmark = pytest.mark.usefixtures("lean")

TASK = TASKS.get("text-classification")
TEXTS = ["the cat is red", "a dog is here", "old new big blue"]


def trained(recipe: Recipe, **train):
    recipe = as_probe(recipe, **train) if train.get("method") == "probe" else recipe.replace(train=train)
    return pipeline.train(recipe.replace(evaluate={"baselines": False}))


def checkpoint(run) -> dict[str, torch.Tensor]:
    newest = sorted(run.checkpoints.glob("step-*"))[-1]
    return load_file(newest / "model.safetensors")


def base_weights(tiny_model) -> dict[str, torch.Tensor]:
    return {f"bert.{name}": tensor for name, tensor in load_file(tiny_model / "model.safetensors").items()}


def same(before, after, wanted):
    names = [name for name in before if wanted(name) and name in after]
    assert names
    return all(torch.equal(before[name], after[name]) for name in names)


def test_probe_changes_the_head_alone(tiny_recipe, tiny_model):
    run = trained(tiny_recipe, method="probe", pooling="first")
    after = load_file(run.model / "model.safetensors")
    assert same(base_weights(tiny_model), after, lambda name: True)


def test_frozen_layers_and_embeddings_stay(tiny_recipe, tiny_model):
    run = trained(tiny_recipe, freeze_layers=1)
    before, after = base_weights(tiny_model), checkpoint(run)
    assert same(before, after, lambda name: "embeddings" in name or "layer.0." in name)
    assert not same(before, after, lambda name: "layer.1." in name)


def test_frozen_embeddings_stay_and_the_rest_learns(tiny_recipe, tiny_model):
    run = trained(tiny_recipe, freeze_embeddings=True)
    before, after = base_weights(tiny_model), checkpoint(run)
    assert same(before, after, lambda name: "embeddings" in name)
    assert not same(before, after, lambda name: "layer.0." in name)


@pytest.mark.parametrize("pattern", ["*.attention.*", "attention"])
def test_what_is_frozen_by_name_stays(tiny_recipe, tiny_model, pattern):
    run = trained(tiny_recipe, freeze=[pattern])
    before, after = base_weights(tiny_model), checkpoint(run)
    assert same(before, after, lambda name: ".attention." in name)
    assert not same(before, after, lambda name: ".intermediate." in name)


def test_a_pattern_that_fits_nothing(tiny_recipe):
    with pytest.raises(RecipeError, match="no parameter of this model matches `atention`"):
        trained(tiny_recipe, freeze=["atention"])


@pytest.fixture(scope="module", params=["plain", "dora", "rslora"])
def lora_run(request, tiny_model, tiny_files, tmp_path_factory):
    options = {"plain": {}, "dora": {"use_dora": True}, "rslora": {"use_rslora": True, "lora_r": 4}}
    recipe = Recipe.model_validate({
        "model": str(tiny_model),
        "output_dir": str(tmp_path_factory.mktemp("lora") / "run"),
        "data": {split: [str(path)] for split, path in tiny_files.items()},
        "train": {"method": "lora", "num_train_epochs": 1, "learning_rate": 1e-3, "lora_dropout": 0.1,
                  "per_device_train_batch_size": 16, **options[request.param]},
        "evaluate": {"bootstrap_samples": 200},
    })  # fmt: skip
    return pipeline.train(recipe)


def test_an_adapter_leaves_the_base_as_it_is(lora_run, tiny_model):
    before = base_weights(tiny_model)
    after = {name.replace(".base_layer.", "."): tensor for name, tensor in checkpoint(lora_run).items()}
    assert same(before, after, lambda name: True)
    assert any(bool(tensor.any()) for name, tensor in after.items() if "lora_B" in name)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # peft's affair with transformers
def test_an_adapter_is_small_and_loads_in_plain_peft(lora_run, tiny_model):
    import peft
    import transformers

    assert not (lora_run.model / "model.safetensors").exists()
    config = json.loads((lora_run.model / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(tiny_model)
    base = transformers.AutoModelForSequenceClassification.from_pretrained(tiny_model, num_labels=2)
    theirs = peft.PeftModel.from_pretrained(base, str(lora_run.model)).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(lora_run.model)
    ours = tunesmith.load(lora_run.path)
    for text, answer in zip(TEXTS, ours(TEXTS, top_k=None), strict=True):
        with torch.no_grad():
            logits = theirs(**tokenizer(text, return_tensors="pt")).logits[0]
        found = {item["label"]: item["score"] for item in answer["top"]}
        assert logits.softmax(-1).numpy() == pytest.approx([found[name] for name in ours.labels], abs=1e-5)


def test_merged_equals_unmerged(tiny_model, tmp_path):
    files = resolve_model(str(tiny_model))
    settings = LoraSettings(8, 16, 0.0, "auto", use_dora=False, use_rslora=False)
    loaded = load_for_training(files, TASK, {"labels": ["a", "b"]}, pooling="first", seed=1)
    adapted = add_lora(loaded.model, TASK.auto_class, settings, base=str(tiny_model), seed=1)
    with torch.no_grad():
        for name, parameter in loaded.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    adapted.save_pretrained(tmp_path / "adapter")
    batch = loaded.tokenizer(TEXTS, padding=True, return_tensors="pt")
    fresh = load_for_training(files, TASK, {"labels": ["a", "b"]}, pooling="first", seed=1).model.eval()
    before = fresh(**batch).logits
    merged = merge_adapter(fresh, tmp_path / "adapter").eval()
    with torch.no_grad():
        unmerged = loaded.model.eval()(**batch).logits
        assert torch.allclose(merged(**batch).logits, unmerged, atol=1e-5)
    assert not torch.allclose(before, unmerged, atol=1e-3)
    assert all(parameter.requires_grad for parameter in merged.parameters())


def test_training_goes_on_from_an_adapter(lora_run, tiny_recipe, tmp_path):
    recipe = tiny_recipe.model_copy(
        update={"model": str(lora_run.path), "output_dir": str(tmp_path / "next")}
    )
    run = trained(recipe, num_train_epochs=1)
    assert run.metrics["seen_in_training"]["of"] == 60


def test_an_adapter_for_a_run_with_a_pooling_layer(finished_run, tiny_recipe, tmp_path):
    """The layer keeps pooling: the adapter leaves it alone, and the recipe as used runs again."""
    recipe = tiny_recipe.model_copy(
        update={"model": str(finished_run.path), "output_dir": str(tmp_path / "one")}
    )
    run = trained(recipe, method="lora", num_train_epochs=1)
    assert run.metrics["primary"]["value"] > 0.6
    again = run.recipe().model_copy(update={"output_dir": str(tmp_path / "two")})
    assert pipeline.train(again).metrics["primary"]["value"] == run.metrics["primary"]["value"]


def test_an_adapter_and_a_pooling_layer_exclude_each_other(tiny_recipe):
    with pytest.raises(RecipeError, match="adds a layer to the model"):
        trained(tiny_recipe, method="lora", pooling="mean")


def test_target_modules_that_are_none(tiny_recipe):
    with pytest.raises(RecipeError, match="matches no module"):
        trained(tiny_recipe, method="lora", lora_target_modules=["nothing"])


@pytest.mark.parametrize(
    "train",
    [
        {"class_weights": "balanced"},
        {"focal_gamma": 2.0},
        {"label_smoothing_factor": 0.1},
        {"r_drop_alpha": 1.0},
        {"neftune_noise_alpha": 5.0},
        {"layer_lr_decay": 0.5},
        {"augment": {"word_dropout": 0.1, "typos": 0.1, "casing": 0.1}},
    ],
    ids=lambda train: next(iter(train)),
)
def test_every_option_changes_the_result_and_still_learns(tiny_recipe, finished_run, train):
    run = trained(tiny_recipe, num_train_epochs=3, **train)
    one, other = (load_file(r.model / "model.safetensors") for r in (run, finished_run))
    assert any(not torch.equal(one[name], other[name]) for name in one)
    assert run.metrics["primary"]["value"] > 0.6


def test_an_option_without_effect_is_refused(tiny_recipe):
    with pytest.raises(RecipeError, match=r"train\.dpo_beta has no effect on `text-classification`"):
        trained(tiny_recipe, dpo_beta=0.5)
    with pytest.raises(RecipeError, match="one answer stands for the whole text"):
        pipeline.train(tiny_recipe.replace(data={"too_long": "window"}))


def test_too_long_can_stop_the_run(tiny_recipe):
    from tunesmith.errors import DataError

    with pytest.raises(DataError, match=r"texts .* are cut"):
        pipeline.train(tiny_recipe.replace(data={"too_long": "stop", "max_length": 6}))
