"""Which recipes are the same: by the keys that were set."""

import pytest

from tunesmith.recipe import DataRecipe, Recipe, TrainRecipe
from tunesmith.run import request_entries
from tunesmith.run.comparison import differing_keys


def a_recipe(**changes) -> Recipe:
    data = {"train": ["a.csv"], **changes.pop("data", {})}
    return Recipe.model_validate({"data": data, **changes})


def manifest_of(requested: Recipe, **used) -> dict:
    """A manifest; `used` are values that were filled in for an `auto` of `train`."""
    whole = requested.replace(train=used).model_dump(mode="json")
    return {**request_entries(requested), "used": whole}


def differences(recipe: Recipe, manifest: dict, *, has_same_data: bool = True) -> list[str]:
    return differing_keys(recipe, manifest, has_same_data=has_same_data)


def test_the_requested_and_the_used_recipe_are_both_the_recipe_of_the_run():
    manifest = manifest_of(a_recipe(seed=1), learning_rate=3e-4, num_train_epochs=2.0)
    used = Recipe.model_validate(manifest["used"])
    assert differences(a_recipe(seed=1), manifest) == []
    assert differences(used, manifest) == []
    assert differences(used.replace(train={"learning_rate": 1e-4}), manifest) == ["train.learning_rate"]
    assert differences(a_recipe(seed=1, train={"learning_rate": 1e-4}), manifest) == ["train.learning_rate"]
    assert differences(a_recipe(), manifest) == ["seed"]


def test_a_key_that_was_set_to_its_default_is_as_one_that_was_not_set():
    assert differences(a_recipe(seed=42), manifest_of(a_recipe())) == []
    assert differences(a_recipe(), manifest_of(a_recipe(seed=42))) == []


def test_where_the_folder_lies_does_not_make_another_recipe():
    assert differences(a_recipe(output_dir="here"), manifest_of(a_recipe(output_dir="there"))) == []


def test_a_key_that_is_new_does_not_make_another_recipe():
    manifest = manifest_of(a_recipe())
    for one in ("requested", "used"):
        del manifest[one]["train"]["r_drop_alpha"]
        del manifest[one]["export"]
    assert differences(a_recipe(), manifest) == []
    assert differences(a_recipe(train={"r_drop_alpha": 0.0}), manifest) == []
    assert differences(a_recipe(train={"r_drop_alpha": 0.5}), manifest) == ["train.r_drop_alpha"]


def test_a_changed_default_does_not_make_another_recipe():
    """As if the defaults of the run's version had been others than today's."""
    manifest = manifest_of(a_recipe(train={"lora_r": 4}))
    for one in ("requested", "used"):
        manifest[one]["train"]["weight_decay"] = 0.5
    same, explicit = a_recipe(train={"lora_r": 4}), a_recipe(train={"lora_r": 4, "weight_decay": 0.5})
    assert differences(same, manifest) == []
    assert differences(explicit, manifest) == []
    todays = TrainRecipe.model_fields["weight_decay"].get_default()
    assert differences(a_recipe(train={"lora_r": 4, "weight_decay": todays}), manifest) == [
        "train.weight_decay"
    ]


def test_a_key_that_the_run_set_must_still_have_its_value():
    manifest = manifest_of(a_recipe(train={"weight_decay": 0.5}))
    assert differences(a_recipe(), manifest) == ["train.weight_decay"]


@pytest.mark.parametrize(
    ("then", "now", "is_same"),
    [
        (["/a/train.csv"], ["/b/c/train.csv"], True),
        (["a/x.csv", "a/y.csv"], ["b/x.csv", "b/y.csv"], True),
        (["a/x.csv"], ["a/y.csv"], False),
        (["a/x.csv", "a/y.csv"], ["a/x.csv"], False),
        (["a/x.xlsx#one"], ["b/x.xlsx#one"], True),
        (["a/x.xlsx#one"], ["b/x.xlsx#two"], False),
        (["https://a.org/x.csv"], ["https://b.org/x.csv"], False),
    ],
)
def test_files_may_move_to_another_folder_while_they_hold_the_same(then, now, is_same):
    manifest = manifest_of(a_recipe(data={"train": then}))
    recipe = a_recipe(data={"train": now})
    assert differences(recipe, manifest) == ([] if is_same else ["data.train"])
    assert differences(recipe, manifest, has_same_data=False) == ["data.train"]


def test_a_model_may_move_while_its_files_are_known():
    manifest = manifest_of(a_recipe(model="/a/base"))
    assert differences(a_recipe(model="/b/base"), manifest) == ["model"]
    manifest["model"] = {"sha256": {}}
    assert differences(a_recipe(model="/b/base"), manifest) == []
    assert differences(a_recipe(model="/b/other"), manifest) == ["model"]


def test_a_share_in_place_of_a_file_is_another_recipe():
    default = DataRecipe.model_fields["validation"].get_default()
    manifest = manifest_of(a_recipe(data={"validation": ["v.csv"]}))
    assert differences(a_recipe(data={"validation": default}), manifest) == ["data.validation"]
