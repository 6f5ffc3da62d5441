"""Documents of older formats."""

import pytest

from tunesmith.run.migrations import FORMAT, format_of, migrate

REQUESTED = {
    "task": "text-classification",
    "output_dir": "runs/a",
    "data": {"train": ["a.csv"], "validation": 0.1},
    "train": {"learning_rate": 0.005, "weight_decay": 0.01},
}


def test_the_first_format_has_no_number():
    assert format_of({}) == 1
    assert format_of({"format": 2}) == 2


def test_words_and_keys_of_format_1():
    before = {"requested": REQUESTED, "targets": {"labels": ["a"]}, "untouched": {"loss": 1.0}, "seed": 1}
    assert migrate("manifest", before, 1) == {
        "requested": REQUESTED,
        "label_schema": {"labels": ["a"]},
        "base_model": {"loss": 1.0},
        "seed": 1,
        "requested_keys": ["data.train", "output_dir", "train.learning_rate"],
    }
    metrics = {"primary": {}, "baselines": {"untouched": {"loss": 1.0}, "probe": {"loss": 2.0}}}
    assert migrate("metrics", metrics, 1)["baselines"] == {
        "base_model": {"loss": 1.0},
        "probe": {"loss": 2.0},
    }
    assert migrate("state", {"step": 3, "looks_without_gain": 2}, 1) == {
        "step": 3, "evals_without_improvement": 2,
    }  # fmt: skip
    assert "untouched" in before


@pytest.mark.parametrize("kind", ["manifest", "metrics", "state"])
def test_documents_of_today_stay_as_they_are(kind):
    document = {"targets": 1, "baselines": {"untouched": {}}, "looks_without_gain": 2}
    assert migrate(kind, document, FORMAT) == document


def test_what_was_renamed_already_wins():
    assert migrate("state", {"looks_without_gain": 1, "evals_without_improvement": 2}, 1) == {
        "evals_without_improvement": 2
    }
