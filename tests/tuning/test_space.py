"""What is searched: the default space of every task, and the user's own."""

import pytest

from tunesmith.errors import RecipeError
from tunesmith.recipe import Recipe
from tunesmith.tasks import TASKS
from tunesmith.tuning.space import Dimension, default_space, narrowed, read_space, with_values, within_work

TASK = TASKS.get("text-classification")


def recipe(space=None, task="text-classification", **train):
    tree = {"task": task, "data": {"train": ["x.csv"]}, "train": train}
    return Recipe.model_validate({**tree, **({"tune": {"space": space}} if space is not None else {})})


def used(task, method="full"):
    auto = {"num_train_epochs": 4, "learning_rate": 2e-4, "tokens_per_batch": 600}
    return recipe(task=task, **{**auto, "method": method})


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("name", sorted(TASKS.names()))
def test_every_corner_of_the_default_space_is_a_recipe(name, method):
    task = TASKS.get(name)
    space = default_space(task, used(name, method), n_layers=6)
    assert "train.learning_rate" in {it.key for it in space}
    for it in space:
        for value in it.choices or (it.low, it.high):
            changed = with_values(recipe(task=name, method=method), {it.key: value}, task)
            section, _, key = it.key.partition(".")
            assert getattr(getattr(changed, section), key) == value


def test_the_default_recipe_lies_in_the_default_space():
    given = used("text-classification")
    for it in default_space(TASK, given, n_layers=6):
        value = getattr(given.train, it.key.removeprefix("train."))
        assert value in it.choices or it.low <= value <= it.high, it.key


def test_a_probe_has_nothing_to_search():
    assert default_space(TASK, used("text-classification", "probe"), n_layers=6) == ()


def test_ranges_and_lists_are_read_and_whole_numbers_stay_whole():
    notices = []
    space = read_space(
        recipe(
            {
                "lr": {"low": 1e-5, "high": 1e-3, "log": True},
                "train.freeze_layers": {"low": 0, "high": 3},
                "weight_decay": {"low": 0, "high": 1},
                "train.lr_scheduler_type": ["linear", "cosine", "linear"],
            }
        ),
        TASK,
        notices,
    )
    assert space == (
        Dimension("train.learning_rate", 1e-5, 1e-3, log=True),
        Dimension("train.freeze_layers", 0, 3),
        Dimension("train.weight_decay", 0.0, 1.0),
        Dimension("train.lr_scheduler_type", choices=("linear", "cosine")),
    )
    assert [it.is_integer for it in space] == [False, True, False, False]
    assert len(notices) == 2
    assert "`lr` is called `train.learning_rate` here" in notices[0]


@pytest.mark.parametrize(
    ("space", "rule", "remedy"),
    [
        ({"train.learning_rat": [1e-4]}, "is not a key of the recipe", "Did you mean `train.learning_rate`?"),
        ({"seed": [1, 2]}, "`seed` cannot be searched", "Search `model`"),
        ({"data.train": ["a", "b"]}, "`data.train` cannot be searched", "Search `model`"),
        ({"train.learning_rate": {"low": 1e-3, "high": 1e-5}}, "must be below `high`", "Swap them"),
        ({"train.warmup_steps": {"low": 0.0, "high": 0.3, "log": True}}, "begin above zero", "above zero"),
        ({"train.learning_rate": [1e-4]}, "nothing to search", "leave `tune.space` out"),
        ({"train.learning_rate": {"low": 0.1, "high": 7.0}}, "at most 1", ""),
        ({"train.lora_r": {"low": 4, "high": 64}}, "no effect on method `full`", "Leave it out"),
        ({"train.mlm_probability": [0.1, 0.2]}, "no effect on `text-classification`", "Leave it out"),
        ({"lr": [1e-4, 1e-3], "train.learning_rate": [1e-4, 1e-3]}, "given twice", "Keep one"),
        ({"train.tokens_per_batch": [9, 99], "train.per_device_train_batch_size": [8, 16]}, "exclude each", ""),
    ],
)  # fmt: skip
def test_a_wrong_space_is_refused_before_anything_is_trained(space, rule, remedy):
    with pytest.raises(RecipeError) as found:
        read_space(recipe(space), TASK, [])
    assert rule in str(found.value)
    assert remedy in found.value.remedy


def test_a_key_of_one_method_is_left_out_where_a_trial_has_another():
    space = {"train.method": ["full", "lora"], "train.lora_r": {"low": 4, "high": 64}}
    read_space(recipe(space), TASK, [])
    full = with_values(recipe(), {"train.method": "full", "train.lora_r": 8}, TASK)
    assert "lora_r" not in full.train.model_fields_set
    assert with_values(recipe(), {"train.method": "lora", "train.lora_r": 8}, TASK).train.lora_r == 8


def test_what_optuna_draws_becomes_the_recipes_value_and_back():
    choice = Dimension("train.augment", choices=({}, {"word_dropout": 0.1}))
    assert choice.value(choice.drawn({"word_dropout": 0.1})) == {"word_dropout": 0.1}
    assert choice.drawn({"typos": 0.1}) is None
    rate = Dimension("train.learning_rate", 1.23456e-5, 1e-3, log=True)
    assert rate.value(2.34567e-4) == 2.35e-4
    assert rate.value(1.23456e-5) == 1.23456e-5, "rounding does not leave the range"
    assert rate.drawn(5.0) == 1e-3


@pytest.mark.parametrize(
    ("values", "epochs"),
    [
        ({}, None),
        ({"train.num_train_epochs": 8}, 8),
        ({"train.num_train_epochs": 9}, 8),
        ({"train.num_train_epochs": 8, "train.r_drop_alpha": 1.0}, 4),
        ({"train.num_train_epochs": 3, "train.r_drop_alpha": 1.0}, 3),
        ({"train.num_train_epochs": 8, "train.r_drop_alpha": 1.0, "train.augment": {"typos": 0.1}}, 2),
    ],
)
def test_a_trial_does_at_most_twice_the_work_of_the_default_recipe(values, epochs):
    assert within_work(values, 4.0).get("train.num_train_epochs") == epochs


def test_the_space_narrows_around_the_best_third():
    space = (
        Dimension("train.learning_rate", 1e-6, 1e-2, log=True),
        Dimension("train.freeze_layers", 0, 10),
        Dimension("train.pooling", choices=("mean", "first")),
    )
    ranked = [
        {"train.learning_rate": rate, "train.freeze_layers": layers, "train.pooling": "mean"}
        for rate, layers in [(1e-4, 2), (2e-4, 3), (1e-4, 2), (1e-2, 9), (1e-6, 0), (1e-3, 7)]
    ]
    rate, layers, pooling = narrowed(space, ranked)
    assert 1e-6 < rate.low < 1e-4
    assert 2e-4 < rate.high < 1e-2
    assert (layers.low, layers.high) == (0, 4)
    assert pooling.choices == ("mean",)
    assert narrowed(space, []) == space
