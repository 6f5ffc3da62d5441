"""Real updates to a decision: what is promoted and what is refused, from files and from the log of a run."""

import time
from dataclasses import replace

import numpy as np
import pytest

import tunesmith
from tunesmith import pipeline
from tunesmith.evaluation.promotion import Rule
from tunesmith.lifecycle.alarms import alarms_of
from tunesmith.lifecycle.updating import Asked, update
from tunesmith.lifecycle.watching import Schedule, serve_updates
from tunesmith.monitoring.prediction_log import Answer, PredictionLog
from tunesmith.recipe import Recipe
from tunesmith.run.champion import Registry
from tunesmith.testing.tiny import tiny_rows, write_rows
from tunesmith.testing.tiny_words import ANIMALS, COLOURS, FILLERS

pytestmark = pytest.mark.usefixtures("lean")

EASY = Rule(margin=0.1)
"""A margin that a few old rows of a tiny champion can exclude."""
WATER = {"otter", "salmon", "blue"}


def with_place(rows):
    """The rows with a column by whose values they are compared."""
    return [{**row, "place": "water" if WATER & {*row["text"].split()} else "land"} for row in rows]


def mixed_rows(n, seed, label):
    """Texts with an animal and a colour; `label` gives the label of a text by its animal and a random number."""
    rng = np.random.default_rng(seed)
    rows = {}
    while len(rows) < n:
        animal, words = str(rng.choice(ANIMALS)), [str(word) for word in rng.choice(FILLERS, size=6)]
        text = " ".join([*words, animal, str(rng.choice(COLOURS))])
        rows[text] = {
            "text": text,
            "label": ("animal", "colour")[label(animal, rng.random())],
            "place": "both",
        }
    return list(rows.values())


def empty_rows(n, seed):
    """Rows of a label that the champion does not know: texts of filler words alone."""
    rng = np.random.default_rng(seed)
    texts = sorted({" ".join(rng.choice(FILLERS, size=9)) for _ in range(n)})
    return with_place([{"text": text, "label": "nothing"} for text in texts])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("decisions")


@pytest.fixture(scope="module")
def champion(folder, tiny_model):
    """On half of its rows, whose labels are drawn, it can only guess."""
    old = [*with_place(tiny_rows(300)), *mixed_rows(300, 1, lambda animal, chance: chance < 0.5)]
    recipe = {
        "model": str(tiny_model),
        "output_dir": str(folder / "cats"),
        "data": {
            "train": [str(write_rows(folder / "old.csv", old))],
            "validation": 0.1,
            "test": 0.4,
            "check": "off",
        },
        "train": {"method": "probe"},
        "evaluate": {"bootstrap_samples": 100, "baselines": False, "slices": ["place"]},
    }
    return pipeline.train(Recipe.model_validate(recipe))


def updated(champion, folder, name, rows, **how):
    """The record of an update with some rows."""
    data = write_rows(folder / f"{name}.csv", rows)
    how = {"rule": EASY, "holdout": 0.4, "output_dir": folder / name, **how}
    return update(Asked(champion.path, data=[str(data)], **how))


def test_a_gain_within_noise_is_refused(champion, folder):
    """Nothing can be learned from labels that are drawn."""
    found = updated(champion, folder, "noise", mixed_rows(150, 3, lambda animal, chance: chance < 0.5))
    new = found["tests"]["new"]
    assert (found["decision"], new["outcome"]) == ("refused", "not_shown")
    assert "new_rows" in found["failed"]
    assert new["only_challenger_right"] > 0
    assert new["p"] > 0.05
    assert "no difference" in found["reasons"][0]


def test_a_slice_that_gets_worse_is_refused_whatever_the_others_gain(champion, folder):
    """Wrong labels for what lives in water: its new rows, and the average of the old rows, do not show it."""
    other = {"animal": "colour", "colour": "animal"}
    wrong = [row for row in with_place(tiny_rows(1500)[400:]) if row["place"] == "water"]
    rows = [{**row, "label": other[row["label"]]} for row in wrong]
    rows += [*empty_rows(120, 1), *mixed_rows(300, 2, lambda animal, chance: animal in ANIMALS[::2])]
    found = updated(champion, folder, "slice", rows, rule=Rule(margin=0.5, least_rows=10))
    assert (found["decision"], found["failed"]) == ("refused", ["slices"])
    worse = [it for it in found["tests"]["slices"] if it["outcome"] == "worse"]
    assert "whose `place` is `water` (old rows)" in [it["name"] for it in worse]
    assert all(it["p"] < it["p_holm"] <= 0.05 for it in worse)
    assert all(name in found["reasons"][0] for name in (worse[0]["name"], "is worse than the champion"))
    assert found["tests"]["new"]["outcome"] == "better"


def answered_log(champion, place, rows, told):
    """A log as the server of a run keeps it, with the right label of some answers."""
    answers = tunesmith.load(champion)([row["text"] for row in rows])
    log = PredictionLog(place, mode="text")
    names = [f"{time.time_ns()}-{i}" for i in range(len(rows))]
    log.add(
        Answer(name, time.time(), champion.path.name, row["text"], dict(given), 0.01)
        for name, row, given in zip(names, rows, answers, strict=True)
    )
    for name, row in list(zip(names, rows, strict=True))[:told]:
        assert log.feedback(name, row["label"])
    log.close()


@pytest.mark.slow
def test_feedback_is_learned_when_monitoring_sees_that_texts_have_changed(champion, folder):
    """`update --watch` with the real monitor: quiet, then an alarm, then an update that is promoted."""
    place, registry = folder / "log", folder / "registry"
    answered_log(champion, place, tiny_rows(1000)[400:900], 1)
    asked = Asked(champion.path, log=str(place), registry=registry, rule=EASY, holdout=0.4)
    watch = Schedule(watch=True, look_s=0.01, min_feedback=10_000, most=1)
    looks, done = [], []

    def alarms(run, log, events):
        looks.append(alarms_of(run, log, events))
        if len(looks) == 1:
            answered_log(champion, place, empty_rows(520, 2)[:500], 100)
        return looks[-1]

    assert serve_updates(asked, watch, alarms=alarms, done=done.append) == 1
    assert looks[0] == []
    assert looks[1]
    found = done[0]
    assert found["trigger"] == f"monitoring: {looks[1][0]}"
    assert (found["decision"], found["new_labels"]) == ("promoted", {"nothing": 100})
    assert str(Registry(registry).champion()) == found["challenger"]
    given = tunesmith.load(found["challenger"])([row["text"] for row in empty_rows(50, 3)])
    assert np.mean([it["label"] == "nothing" for it in given]) > 0.8
    again = update(replace(asked, run=str(registry), registry=None))
    assert again["decision"] == "nothing_new"
