import pytest
import yaml
from pydantic import ValidationError

from tunesmith.recipe import Recipe, describe_fields, recipe_keys, yaml_value


def test_yaml_leaves_no_value_out_and_reads_back():
    recipe = Recipe.model_validate({"data": {"train": ["a.csv"]}})
    tree = yaml.safe_load(recipe.to_yaml())
    assert Recipe.model_validate(tree) == recipe
    sections = ("data", "train", "generate", "evaluate", "export", "tune")
    dotted = {f"{s}.{k}" for s in sections for k in tree[s]} | {k for k in tree if k not in sections}
    assert dotted == set(recipe_keys())


def test_the_recipe_is_frozen():
    recipe = Recipe.model_validate({"data": {"train": ["a.csv"]}})
    with pytest.raises(ValidationError):
        recipe.seed = 3


def test_every_field_is_described():
    assert all(description for _, _, description in describe_fields())


def test_types_are_not_coerced():
    for wrong in ({"seed": "3"}, {"seed": 1.5}, {"train": {"head_start": "yes"}}):
        with pytest.raises(ValidationError):
            Recipe.model_validate({"data": {"train": ["a"]}, **wrong})


def test_one_value_as_yaml():
    assert yaml_value(["a", None, 0.1]) == "[a, null, 0.1]"
    assert yaml_value("x: y") == "'x: y'"
