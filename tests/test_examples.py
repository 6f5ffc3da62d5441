"""The bundled example: whole, honest, and without the same message on two sides."""

import json
import re
from collections import Counter

import pytest

from tunesmith.data.splits import normalised
from tunesmith.examples import example_folder

FOLDER = example_folder("support")
SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def splits():
    return {
        s: [json.loads(line) for line in (FOLDER / f"{s}.jsonl").read_text().splitlines()] for s in SPLITS
    }


def test_there_is_enough_of_it(splits):
    rows = [row for split in splits.values() for row in split]
    assert len(rows) >= 400
    intents = Counter(row["intent"] for row in rows)
    assert len(intents) >= 10
    assert max(intents.values()) > 3 * min(intents.values())
    assert len({row["id"] for row in rows}) == len(rows)


def test_no_message_stands_twice_in_or_across_splits(splits):
    keys = [normalised(re.sub(r"\W+", " ", row["text"])) for split in splits.values() for row in split]
    assert len(set(keys)) == len(keys)


def test_no_message_is_nearly_another(splits):
    words = [set(re.findall(r"\w+", row["text"].lower())) for split in splits.values() for row in split]
    for i, one in enumerate(words):
        for other in words[:i]:
            if min(len(one), len(other)) > 3:
                assert len(one & other) / len(one | other) < 0.7, (one, other)


def test_every_intent_is_in_every_split(splits):
    intents = [{row["intent"] for row in split} for split in splits.values()]
    assert intents[0] == intents[1] == intents[2]


def test_spans_are_spans(splits):
    labels = Counter()
    for row in (row for split in splits.values() for row in split):
        end = 0
        for entity in row["entities"]:
            assert end <= entity["start"] < entity["end"] <= len(row["text"])
            assert row["text"][entity["start"] : entity["end"]].strip()
            end = entity["end"]
            labels[entity["label"]] += 1
        answer = row["answer"]
        assert row["text"][answer["start"] :].startswith(answer["text"])
        assert 1 <= row["urgency"] <= 5
        assert "\n" not in row["summary"]
        assert row["reply"]
    assert set(labels) == {"product", "order_number", "date", "amount", "place"}


def test_every_recipe_of_the_example_is_valid():
    from tunesmith.api import build_recipe

    for file in FOLDER.glob("*.yaml"):
        assert build_recipe(file).data.train == [str(FOLDER / "train.jsonl")]
