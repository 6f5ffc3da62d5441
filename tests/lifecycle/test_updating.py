"""`update`: from new rows to a decision, with a record of everything on the way."""

import json

import numpy as np
import pytest

import tunesmith
from tunesmith import pipeline
from tunesmith.errors import DataError, InterruptedRunError, RecipeError, RunError
from tunesmith.evaluation.promotion import Rule
from tunesmith.inference.predictor import Predictor
from tunesmith.lifecycle.challenging import MergedFiles, recipe_of
from tunesmith.lifecycle.merging import Merge
from tunesmith.lifecycle.updating import Asked, update
from tunesmith.recipe import Recipe
from tunesmith.run import Run, read_json
from tunesmith.run.champion import Registry
from tunesmith.testing.tiny import tiny_rows, write_rows
from tunesmith.testing.tiny_words import FILLERS

pytestmark = pytest.mark.usefixtures("lean")

EASY = Rule(margin=0.08)
"""A margin that the hundred test rows of a tiny champion can exclude."""


def rows_of_a_new_label(n, seed=1):
    """Texts without an animal or a colour."""
    rng = np.random.default_rng(seed)
    texts = {" ".join(rng.choice(FILLERS, size=8)) for _ in range(n)}
    return [{"text": text, "label": "nothing"} for text in sorted(texts)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("updates")


@pytest.fixture(scope="module")
def old(folder):
    return tiny_rows(400)


@pytest.fixture(scope="module")
def champion(folder, old, tiny_model):
    recipe = {
        "model": str(tiny_model),
        "output_dir": str(folder / "cats"),
        "data": {"train": [str(write_rows(folder / "old.csv", old))], "validation": 0.1, "test": 0.3},
        "train": {
            "num_train_epochs": 4,
            "learning_rate": 5e-3,
            "method": "full",
            "per_device_train_batch_size": 16,
        },
        "evaluate": {"bootstrap_samples": 100, "baselines": False},
    }
    return pipeline.train(Recipe.model_validate(recipe))


@pytest.fixture(scope="module")
def new(folder, old, champion):
    """Rows of a new label, beside some that the champion knows and some that it is scored on."""
    scored = [line["text"] for line in lines_of(champion.predictions / "test.jsonl")]
    rows = [*rows_of_a_new_label(60), *old, *({"text": text.upper(), "label": "animal"} for text in scored)]
    return write_rows(folder / "new.csv", rows)


@pytest.fixture(scope="module")
def promoted(folder, champion, new):
    said = []
    asked = Asked(
        champion.path, data=[str(new)], registry=folder / "registry", start="base",
        merge=Merge("replay", 200), rule=EASY,
    )  # fmt: skip
    return update(asked, listeners=[said.append]), said


def lines_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def learned_by(found):
    """The training rows of a challenger."""
    return lines_of(Run(found["challenger"]).path.parent / "data" / "train.jsonl")


def test_a_challenger_that_is_better_takes_the_champions_place(folder, promoted, champion):
    found, _ = promoted
    assert (found["decision"], found["failed"]) == ("promoted", [])
    assert "new rows" in found["reasons"][0]
    registry = Registry(folder / "registry")
    assert str(registry.champion()) == found["challenger"]
    assert [it.run for it in registry.history()] == [champion.path.resolve(), registry.champion()]
    evidence = registry.history()[-1].evidence
    assert evidence["tests"]["new"]["only_challenger_right"] == found["tests"]["new"]["only_challenger_right"]
    assert found["folder"].endswith("cats-update-1")
    assert read_json(folder / "cats-update-1" / "update.json")["state"] == "finished"
    assert Run.open(found["challenger"]).manifest()["update"]["from"] == "base"


def test_the_new_label_is_learned(promoted):
    found, _ = promoted
    assert found["new_labels"] == {"nothing": 60}
    predictor = Predictor.from_run(found["challenger"])
    assert predictor.labels == ["animal", "colour", "nothing"]
    texts = [row["text"] for row in rows_of_a_new_label(40, seed=9)]
    assert np.mean([it["label"] == "nothing" for it in predictor(texts)]) > 0.3


def test_no_row_that_the_champion_is_scored_on_is_learned(promoted, champion, old):
    found, said = promoted
    counts = found["new_rows"]
    assert counts["known"] == 400
    assert counts["leaking"] == 120
    assert counts["learned"] + counts["compared"] + counts["known"] + counts["leaking"] == counts["read"]
    held = {line["text"] for line in lines_of(champion.predictions / "test.jsonl")}
    texts = {line["text"].casefold() for line in learned_by(found)}
    assert not texts & held
    assert any(it["check"] == "leakage" for it in found["findings"])
    assert any("leakage" in getattr(event, "text", "") for event in said)


def test_rows_say_where_they_are_from(promoted):
    found, _ = promoted
    lines = learned_by(found)
    origins = {line["origin"].partition(":")[0] for line in lines}
    assert origins == {"old.csv", "new.csv"}
    assert sum(line["label"] == "nothing" for line in lines) >= 35
    assert sum(line["origin"].startswith("old.csv") for line in lines) == 200


def test_the_page_says_what_the_record_says(promoted, folder):
    page = (folder / "cats-update-1" / "update.html").read_text(encoding="utf-8")
    found, _ = promoted
    assert "The challenger is promoted" in page
    assert f"{found['tests']['new']['rows']:,}" in page
    assert "never learned" in page
    assert "<script" not in page


def test_the_same_rows_again_are_nothing_new_for_the_new_champion(folder, new, promoted):
    found = update(Asked(folder / "registry", data=[str(new)], rule=EASY))
    assert found["decision"] == "nothing_new"
    assert found["folder"].endswith("cats-update-2")
    assert found["champion"] == promoted[0]["challenger"]
    assert "challenger" not in found


def test_shuffled_labels_are_refused_and_the_champion_stays(folder, champion):
    rng = np.random.default_rng(3)
    rows = tiny_rows(700)[500:]
    labels = rng.permutation([row["label"] for row in rows])
    shuffled = [{**row, "label": label} for row, label in zip(rows, labels, strict=True)]
    data = write_rows(folder / "shuffled.csv", shuffled)
    found = update(Asked(champion.path, data=[str(data)], start="champion", output_dir=folder / "shuffled"))
    assert found["decision"] == "refused"
    assert "new_rows" in found["failed"]
    assert "better than" not in found["reasons"][0]


def test_an_update_that_was_stopped_goes_on_where_it_was(folder, champion):
    data = write_rows(folder / "more.csv", rows_of_a_new_label(50, seed=5))
    steps = []

    def should_stop():
        steps.append(1)
        return len(steps) > 3

    asked = Asked(
        champion.path, data=[str(data)], start="champion", merge=Merge("replay", 100), rule=EASY,
        output_dir=folder / "stopped",
    )  # fmt: skip
    with pytest.raises(InterruptedRunError):
        update(asked, should_stop=should_stop)
    record = read_json(folder / "stopped" / "update.json")
    assert (record["state"], "decision" in record) == ("running", False)
    with pytest.raises(RunError, match="holds something else"):
        update(Asked(champion.path, data=[str(data)], start="base", output_dir=folder / "stopped"))
    found = update(asked)
    assert found["decision"] in ("proposed", "refused")
    run = Run.open(found["challenger"])
    assert run.manifest().get("continued")


def test_rows_in_memory_and_keywords_of_python(champion, folder):
    rows = rows_of_a_new_label(3, seed=7)
    with pytest.raises(DataError, match="cannot be held out"):
        tunesmith.update(champion, rows[:1], output_dir=folder / "one row", progress=False)
    assert read_json(folder / "one row" / "update.json")["decision"] == "failed"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": ()}, "needs new rows"),
        ({"holdout": 1.0}, "--holdout"),
        ({"rule": Rule(margin=-0.1)}, "--margin"),
        ({"rule": Rule(level=0.0)}, "--level"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(champion, change, message):
    with pytest.raises(RecipeError, match=message):
        Asked(**{"run": champion.path, "data": ["new.csv"], **change})


def test_a_record_has_no_password(champion, postgresql):
    log = f"{postgresql}?application_name=a&options=-csearch_path%3Dpublic"
    assert (
        Asked(str(champion.path), log=log).request(champion)["log"].endswith("application_name=a&options=***")
    )


def test_a_champion_whose_rows_are_gone_is_not_updated(champion, folder, new):
    path = folder / "old.csv"
    before = path.read_text(encoding="utf-8")
    path.write_text(before + "the cat is old,animal\n", encoding="utf-8")
    try:
        with pytest.raises(DataError, match="have changed or are gone"):
            update(Asked(champion.path, data=[str(new)], output_dir=folder / "gone"))
    finally:
        path.write_text(before, encoding="utf-8")


def test_a_champion_of_one_fold_is_updated_without_folds(tiny_model, old, tmp_path):
    """A part of the learned rows would have taken the place of the rows to compare on."""
    file = write_rows(tmp_path / "old.csv", old[:90])
    run = pipeline.train(
        Recipe.model_validate({
            "model": str(tiny_model), "output_dir": str(tmp_path / "run"),
            "data": {"train": [str(file)], "validation": 0.2, "fold": "1/3", "check": "off"},
            "train": {"method": "probe"}, "evaluate": {"bootstrap_samples": 100, "baselines": False},
        })
    )  # fmt: skip
    files = MergedFiles(file, file, file, file, file, {}, {})
    found = recipe_of(run, "base", files, tmp_path / "challenger")
    assert run.recipe().data.fold == "1/3"
    assert (found.data.fold, found.train.folds) == (None, None)
    assert found.data.test == [str(file), str(file)]
