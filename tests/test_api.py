import pytest

import tunesmith
from tunesmith.errors import RecipeError


def test_train_load_predict_evaluate(tiny_model, tiny_files, tmp_path):
    run = tunesmith.train(
        data=[str(tiny_files["train"])],
        validation=[str(tiny_files["validation"])],
        test=[str(tiny_files["test"])],
        model=str(tiny_model),
        output_dir=str(tmp_path / "run"),
        overrides={"train.method": "probe", "evaluate.bootstrap_samples": 100},
    )
    assert run.metrics()["primary"]["n"] == 60
    answer = tunesmith.predict(run.path, "the cat is red")
    assert answer["label"] == tunesmith.load(run.path)("the cat is red")["label"]
    scores = tunesmith.evaluate(run.path, str(tiny_files["test"]))
    assert scores["splits"]["test"] == run.metrics()["splits"]["test"]


def test_a_recipe_may_be_a_file_a_mapping_or_a_recipe(tmp_path):
    from tunesmith.api import build_recipe

    tree = {"data": {"train": ["a.csv"]}, "train": {"num_train_epochs": 2}}
    file = tmp_path / "r.yaml"
    file.write_text("data: {train: [a.csv]}\ntrain: {num_train_epochs: 2}\n")
    recipe = tunesmith.Recipe.model_validate(tree)
    assert build_recipe(tree) == build_recipe(file) == build_recipe(recipe) == recipe
    changed = build_recipe(tree, overrides={"train.num_train_epochs": 5})
    assert changed.train.num_train_epochs == 5
    assert tree["train"]["num_train_epochs"] == 2


def test_a_wrong_name_is_an_error():
    with pytest.raises(RecipeError, match="`learning_rate` is not a key"):
        tunesmith.train(data=["a.csv"], learning_rate=1e-4)
