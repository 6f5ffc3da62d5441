from dataclasses import replace

import numpy as np
import pytest

from tunesmith.evaluation import slice_search
from tunesmith.evaluation.analyses import ANALYSES
from tunesmith.evaluation.analyses.weak_slices import metric_of, residuals_of
from tunesmith.evaluation.scoring import Scored
from tunesmith.tasks import TASKS, EvalPredictions
from tunesmith.testing.answered import answered, classified, random_rows, random_texts


@pytest.fixture(autouse=True)
def _fewer_resamples(monkeypatch):
    monkeypatch.setattr(slice_search, "RESAMPLES", 300)


def find(final, **known):
    return ANALYSES.get("weak_slices").find(answered(final, **known))


def planted(weak, texts=None, labels=None, *, seed=0, **how):
    """Rows of which those that are `weak` are answered right less often."""
    rng = np.random.default_rng(seed)
    n = len(weak)
    texts = random_texts(n, rng) if texts is None else texts
    labels = rng.integers(3, size=n) if labels is None else labels
    return classified(texts, labels, rng.random(n) < np.where(weak, 0.7, 0.95), **how)


def numbered(texts, true, predicted):
    like = classified(texts, np.zeros(len(texts), int), np.ones(len(texts), bool))
    columns = {"text": texts, "score": true.tolist()}
    encoded = replace(like.evaluated.encoded, dense={"labels": true[:, None].astype(np.float32)})
    return Scored(
        TASKS.get("text-regression"),
        {"mean": 0.0, "std": 1.0},
        replace(like.examples, columns=columns),
        EvalPredictions(columns, encoded, predicted[:, None].astype(np.float32)),
    )


def test_random_rows_have_no_weak_slice():
    reported = [
        bool(find(random_rows(300, np.random.default_rng(seed), right=0.9))["found"]) for seed in range(20)
    ]
    assert sum(reported) <= 3


def test_long_texts_are_found_with_how_weak_they_are():
    texts = random_texts(900, np.random.default_rng(1))
    long = np.array([len(text.split()) > 22 for text in texts])
    found = find(planted(long, texts))
    first = found["found"][0]
    assert (found["metric"], first["kind"]) == ("accuracy", "length")
    assert "over 2" in first["name"]
    assert first["low"] <= first["value"] <= first["high"] < first["rest"]
    assert first["confidence"] > 0.99, "the interval of a slice that was searched for is wider"
    assert found["tried"] > 20


def test_labels_columns_and_words_are_found_by_their_names():
    rng = np.random.default_rng(2)
    labels, shop = rng.integers(3, size=900), rng.choice(["north", "south", "west"], size=900)
    texts = random_texts(900, rng)
    of_label = find(planted(labels == 1, labels=labels))["found"]
    assert of_label[0]["name"] == "whose true label is `b`"
    of_shop = find(planted(shop == "south", extra={"shop": shop.tolist()}))["found"]
    assert [entry["name"] for entry in of_shop] == ["whose `shop` is `south`"]
    with_word = find(planted(np.array(["quilt" in text.split() for text in texts]), texts))["found"]
    assert with_word[0]["name"] == "with the word `quilt`"


def test_numbers_and_scripts_are_found():
    rng = np.random.default_rng(3)
    age = rng.uniform(18, 80, size=900)
    found = find(planted(age > 60, extra={"age": age.tolist()}))["found"]
    assert found[0]["name"].startswith("whose `age` is over ")
    texts = random_texts(900, rng)
    foreign = rng.random(900) < 0.15
    texts = ["один два три четыре" if other else text for other, text in zip(foreign, texts, strict=True)]
    found = find(planted(foreign, texts))["found"]
    assert any(
        "Cyrillic" in entry["name"] or "о" in entry["name"] or "at most" in entry["name"] for entry in found
    )
    assert len(found) == 1, "a script, its words and its lengths are one slice"


def test_clusters_of_features_are_found_and_named_by_their_words():
    rng = np.random.default_rng(4)
    texts, topic = random_texts(800, rng), rng.random(800) < 0.15
    # No word is in all of the topic's texts, so only the cluster has them together.
    words = rng.choice(["refund", "invoice", "payment", "receipt"], size=800)
    texts = [f"{text} {word}" if of else text for text, of, word in zip(texts, topic, words, strict=True)]
    centre = np.where(topic[:, None], 4.0, -4.0) * np.eye(16)[0]
    features = (centre + rng.normal(size=(800, 16))).astype(np.float32)
    weak = find(planted(topic, texts), features={"final": features}.get)["found"]
    assert weak[0]["kind"] == "cluster"
    named = {word for word in ("refund", "invoice", "payment", "receipt") if f"`{word}`" in weak[0]["name"]}
    assert len(named) >= 2


def test_what_is_found_does_not_depend_on_the_order_of_the_rows():
    texts = random_texts(600, np.random.default_rng(5))
    long = np.array([len(text.split()) > 20 for text in texts])
    final = planted(long, texts)
    order = np.random.default_rng(6).permutation(600)
    evaluated = final.evaluated
    columns = {name: [values[i] for i in order] for name, values in evaluated.columns.items()}
    encoded = replace(evaluated.encoded, dense={"labels": evaluated.encoded.dense["labels"][order]})
    shuffled = Scored(
        final.task,
        final.label_schema,
        final.examples.take(order),
        EvalPredictions(columns, encoded, evaluated.outputs[order]),
    )
    first, second = find(final), find(shuffled)
    assert first["found"]
    assert [(e["name"], e["n"], e["p"]) for e in first["found"]] == [
        (e["name"], e["n"], e["p"]) for e in second["found"]
    ]


def test_groups_of_rows_count_as_one_each():
    """Owners differ in how often their rows are right: no slice is weak, and rows alone would say otherwise."""
    reported = {True: 0, False: 0}
    for seed in range(16):
        rng = np.random.default_rng(seed)
        owner = np.repeat(np.arange(60), 10)
        right = rng.random(600) < rng.beta(2, 0.5, 60)[owner]
        city = rng.integers(3, size=60)[owner]
        texts, labels = random_texts(600, rng), rng.integers(3, size=600)
        extra = {"owner": owner.tolist(), "city": city.tolist()}
        for grouped in reported:
            final = classified(texts, labels, right, extra=extra, group_by="owner" if grouped else None)
            reported[grouped] += bool(find(final)["found"])
    assert reported[True] <= 2
    assert reported[False] > reported[True]


def test_too_few_rows_say_nothing():
    assert find(random_rows(90, np.random.default_rng(0), right=0.5)) is None


def test_a_model_without_errors_has_no_weak_slice():
    assert find(random_rows(200, np.random.default_rng(0), right=1.1))["found"] == []


def test_numbers_are_judged_by_their_error_and_not_by_a_correlation():
    """Within a narrow range a correlation is low, however small the errors are."""
    rng = np.random.default_rng(8)
    texts, true = random_texts(400, rng), rng.uniform(0, 5, size=400)
    long = np.array([len(text.split()) > 22 for text in texts])
    predicted = true + rng.normal(size=400) * np.where(long, 1.5, 0.3)
    final = numbered(texts, true, predicted)
    assert metric_of(final) == "rmse"
    found = find(final)["found"]
    assert found[0]["kind"] == "length"
    assert found[0]["value"] > found[0]["rest"]
    assert residuals_of(final, "rmse").sum() == pytest.approx(0, abs=1e-6)
