import pytest

import tunesmith


def test_train_load_predict_evaluate(tiny_model, tiny_files, tmp_path):
    run = tunesmith.train(
        data=[str(tiny_files["train"])],
        validation=[str(tiny_files["validation"])],
        test=[str(tiny_files["test"])],
        model=str(tiny_model),
        output_dir=str(tmp_path / "run"),
        overrides={"train.method": "probe", "evaluate.bootstrap_samples": 100},
    )
    assert run.metrics["primary"]["n"] == 60
    answer = tunesmith.predict(run.path, "the cat is red")
    assert answer["label"] == tunesmith.load(run.path)("the cat is red")["label"]
    scores = tunesmith.evaluate(run.path, str(tiny_files["test"]))
    assert scores["splits"]["test"] == run.metrics["splits"]["test"]


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


@pytest.mark.parametrize(
    ("name", "suggested"),
    [
        ("epoch", "Did you mean `epochs`?"),
        ("lr", "Write `learning_rate=…`."),
        ("num_train_epochs", "Write `epochs=…`."),
        ("warmup_steps", 'Write `overrides={"train.warmup_steps": …}`.'),
        ("lora_rank", 'Write `overrides={"train.lora_r": …}`.'),
    ],
)
def test_an_unknown_keyword_suggests_the_nearest(name, suggested):
    with pytest.raises(TypeError) as error:
        tunesmith.train("a.csv", **{name: 1})
    assert str(error.value) == f"train() has no keyword `{name}`. {suggested}"
