"""Rows as checks read them, from lists of rows."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from tunesmith.checks import CHECKS, CheckedData
from tunesmith.data.examples import Examples
from tunesmith.data.preparing import prepare
from tunesmith.encoded import Encoded
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


def make_examples(columns, *, extra=None, inputs=("text",), files=("rows.csv",), file_index=None):
    """Rows of one file, from their columns."""
    n = len(next(iter(columns.values())))
    index = np.zeros(n, dtype=np.int32) if file_index is None else np.asarray(file_index, dtype=np.int32)
    return Examples(columns, files, index, np.arange(2, n + 2), extra or {}, inputs)


@pytest.fixture
def checked_columns():
    """From the columns of each split, and their features, to what checks read; no file and no model is needed."""

    def make(
        task, splits, *, features=None, encoded=None, extra=None, recipe=None, inputs=("text",), **schema
    ):
        learned = TASKS.get(task)
        rows = {
            name: make_examples(columns, extra=(extra or {}).get(name), inputs=inputs)
            for name, columns in splits.items()
        }
        label_schema = schema or dict(learned.learn_label_schema(rows["train"].columns))

        def of(split):
            return features[split], encoded[split]

        settings = {"task": task, "model": "any", "data": {"train": ["rows.csv"], **(recipe or {})}}
        return CheckedData(
            learned,
            Recipe.model_validate(settings),
            rows,
            label_schema,
            features=of if features is not None else None,
        )

    return make


@pytest.fixture
def examples_of():
    return make_examples


@pytest.fixture
def one_label():
    """Makes the sequences of rows with one label each."""

    def make(labels, names):
        numbers = np.array([names.index(label) for label in labels])
        return Encoded({}, {"labels": numbers}, np.arange(len(numbers)), len(numbers))

    return make


@pytest.fixture
def topics(checked_columns, one_label):
    """Rows of three topics: a vector near the topic's, a text of its own, and labels of which some are flipped."""

    def make(n=300, flip=0.0, seed=0):
        rng = np.random.default_rng(seed)
        true = rng.integers(3, size=n)
        vectors = (rng.normal(size=(n, 8)) + 4 * np.eye(8)[true]).astype(np.float32)
        flipped = rng.permutation(n) < flip * n
        given = np.where(flipped, (true + 1) % 3, true)
        names = ["a", "b", "c"]
        labels = [names[i] for i in given]
        texts = [f"row {number}" for number in range(n)]
        encoded = {"train": one_label(labels, names)}
        data = checked_columns(
            "text-classification",
            {"train": {"text": texts, "label": labels}},
            features={"train": vectors},
            encoded=encoded,
        )
        return data, flipped

    return make
