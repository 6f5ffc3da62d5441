import pytest

import tunesmith
from tunesmith.api.recipes import build_recipe, is_recipe, target_column, text_column
from tunesmith.tasks import TASKS


def test_a_recipe_may_be_a_file_a_mapping_or_a_recipe(tmp_path):
    tree = {"data": {"train": ["a.csv"]}, "train": {"num_train_epochs": 2}}
    file = tmp_path / "r.yaml"
    file.write_text("data: {train: [a.csv]}\ntrain: {num_train_epochs: 2}\n")
    recipe = tunesmith.Recipe.model_validate(tree)
    assert build_recipe(tree) == build_recipe(file) == build_recipe(recipe) == recipe
    assert all(map(is_recipe, (tree, file, str(file), recipe)))
    assert not any(map(is_recipe, ("a.csv", {"text": ["a"], "label": ["b"]}, [{"text": "a"}], None)))
    changed = build_recipe(tree, overrides={"train.num_train_epochs": 5})
    assert changed.train.num_train_epochs == 5
    assert tree["train"]["num_train_epochs"] == 2


@pytest.mark.parametrize("name", TASKS.built_in())
def test_every_task_has_a_text_and_says_what_it_learns(name):
    task = TASKS.get(name)
    inputs = [column.name for column in task.columns if not column.target]
    assert text_column(task) in inputs
    targets = [column for column in task.columns if column.target]
    if not targets:
        with pytest.raises(tunesmith.RecipeError, match="learns from texts alone"):
            target_column(task)
    for column in targets:
        assert target_column(task, column.name) == column.name


def test_the_usual_name_of_a_label_chooses_among_several_columns():
    task = TASKS.get("token-classification")
    assert target_column(task, "entities") == "entities"
    assert target_column(task, "anything") == "tags"
