"""`tunesmith models`."""

import json

import pytest

from tunesmith.models.catalogue import find_known
from tunesmith.pipeline import suggesting
from tunesmith.testing.tiny import tiny_rows, write_rows

LISTED = ("sentence-transformers/all-MiniLM-L12-v2", "google-bert/bert-base-chinese")


@pytest.fixture(autouse=True)
def _short_list(monkeypatch):
    monkeypatch.setattr(suggesting, "catalogue", lambda: tuple(find_known(name) for name in LISTED))
    monkeypatch.setattr(suggesting, "installed_packages", list)
    monkeypatch.setattr(suggesting, "cached_models", list)


@pytest.fixture
def rows(tmp_path):
    return write_rows(tmp_path / "rows.csv", tiny_rows(120))


def test_the_table_fits_the_terminal(tunesmith, rows, tiny_model):
    done = tunesmith("models", rows, "--add", tiny_model, "--seconds", "0", "--probe")
    assert done.code == 0, done.err
    assert max(map(len, done.out.splitlines())) <= 110
    assert "sentence-transformers/all-MiniLM-L12-v2" in done.out
    assert "bert-base-chinese" not in done.out
    assert "1 more are unfit" in done.out
    done = tunesmith("models", rows, "--seconds", "0", "--all")
    assert "made for `zh`, and texts are in `en`" in done.out


def test_json_is_one_object(tunesmith, rows):
    done = tunesmith("models", rows, "--seconds", "0", "--json")
    found = json.loads(done.out)
    assert {"models", "machine", "data"} <= set(found)
    assert {it["id"] for it in found["models"]} == set(LISTED)


def test_one_model_is_described(tunesmith, tiny_model):
    done = tunesmith("models", "google-bert/bert-base-uncased")
    assert "109,482,240" in done.out
    assert "https://arxiv.org/abs/1810.04805" in done.out
    assert max(map(len, done.out.splitlines())) <= 110
    assert json.loads(tunesmith("models", tiny_model, "--json").out)["family"] == "bert"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["bert-base-uncase"], "Did you mean `google-bert/bert-base-uncased`?"),
        (["Qwen/Qwen2.5-70B"], "is not in the list of models"),
        (["hub:no/such-data"], "the Hub data set `no/such-data`"),
        (["--task", "nerd"], "is not a task"),
        (["missing.csv"], "no such file"),
        (["recipe.yaml", "rows.csv"], "is a recipe, and other sources"),
        (["--probe"], "no data are given"),
    ],
)
def test_what_is_wrong_ends_with_code_2(tunesmith, arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = tunesmith("models", *arguments)
    assert done.code == 2
    assert said in done.err
