import tunesmith
from tunesmith.api.recipes import build_recipe, is_recipe


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
