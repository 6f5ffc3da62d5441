"""Rows as checks read them, from lists of rows."""

from __future__ import annotations

import csv

import pytest

from tunesmith.checks import CHECKS, CheckedData
from tunesmith.data.preparing import prepare
from tunesmith.recipe import Recipe
from tunesmith.tasks import TASKS
from tunesmith.testing.tiny import write_rows

NO_MODEL = "no-model"


def _rows_of(path, n):
    with path.open(encoding="utf-8", newline="") as file:
        return [row for row, _ in zip(csv.DictReader(file), range(n), strict=False)]


@pytest.fixture
def checked(tmp_path):
    """From the rows of each split to what checks read."""

    def make(task="text-classification", data=None, **splits):
        files = {
            split: [str(write_rows(tmp_path / f"{split}.jsonl", rows))] for split, rows in splits.items()
        }
        recipe = Recipe.model_validate(
            {"task": task, "model": NO_MODEL, "data": {**files, "bad_rows": "set_aside", **(data or {})}}
        )
        found = prepare(TASKS.get(task), recipe)
        return CheckedData(
            TASKS.get(task), recipe, found.splits, found.label_schema, found.invalid_rows, seed=recipe.seed
        )

    return make


@pytest.fixture
def find():
    """The findings of a check, by name."""

    def call(name, data):
        return list(CHECKS.get(name).find(data))

    return call


@pytest.fixture
def sst2(shared):
    """Rows of sst2, whose texts have no copies among them: from a split and a number to its first rows."""

    def read(split, n):
        return _rows_of(shared / "data" / "sst2" / f"{split}.csv", n)

    return read
