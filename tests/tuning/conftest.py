"""A small search that many tests read."""

import pytest

from tunesmith.recipe import Recipe
from tunesmith.testing.tiny import tiny_rows, write_rows

SPACE = {"train.learning_rate": {"low": 1e-4, "high": 3e-2, "log": True}, "train.weight_decay": [0.0, 0.1]}


@pytest.fixture(scope="session")
def search_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    rows = tiny_rows(200)
    return {
        "train": write_rows(folder / "train.csv", rows[:80]),
        "validation": write_rows(folder / "validation.csv", rows[80:140]),
        "test": write_rows(folder / "test.csv", rows[140:]),
    }


@pytest.fixture(scope="session")
def search_recipe(search_files, tiny_model):
    """Gives a recipe whose trials take a quarter of a second."""

    def make(folder, *, train=None, data=None, has_test=False, **tune):
        files = {split: [str(it)] for split, it in search_files.items() if has_test or split != "test"}
        return Recipe.model_validate({
            "model": str(tiny_model),
            "output_dir": str(folder),
            "data": {**files, "check": "off", **(data or {})},
            "train": {"num_train_epochs": 2, "tokens_per_batch": 200, **(train or {})},
            "evaluate": {"baselines": False, "bootstrap_samples": 100, "calibration": "none"},
            "tune": {"space": SPACE, "trials": 8, "finalists": 2, "seeds": 2, **tune},
        })  # fmt: skip

    return make
