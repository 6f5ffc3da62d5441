"""Exchanged words: flips, shifts and examples of a model whose bias is known."""

from dataclasses import replace

import numpy as np
import pytest

from tunesmith.evaluation.analyses import ANALYSES
from tunesmith.testing.answered import answered, classified

ANALYSIS = ANALYSES.get("identity_terms")
TEXTS = [f"{person} called about order {n}" for n in range(40) for person in ("he", "she", "nobody")]


def biased(rows):
    """Says `angry` of every text about a woman, and of half of the others a little less often."""
    answers = []
    for row in rows:
        p = 0.9 if "she" in row["text"].lower().split() or "woman" in row["text"] else 0.2
        answers.append(
            {"label": "angry" if p > 0.5 else "calm", "score": max(p, 1 - p), "scores": [p, 1 - p]}
        )
    return answers


def indifferent(rows):
    return [{"label": "calm", "score": 0.8, "scores": [0.2, 0.8]} for _ in rows]


def find(answer, kinds=("gender",)):
    labels = np.arange(len(TEXTS)) % 2
    right = np.array(["she" not in text for text in TEXTS])
    final = classified(TEXTS, labels, right, names=("angry", "calm"))
    known = answered(final, answer=answer)
    return ANALYSIS.find(replace(known, how=known.how.model_copy(update={"identity_terms": list(kinds)})))


def test_a_model_that_looks_at_gender_flips_every_text():
    found = find(biased)["gender"]
    assert found["texts"]["texts"] == found["texts"]["exchanges"] == 80
    assert found["texts"]["flips"]["value"] == 1.0
    assert found["texts"]["flips"]["low"] < 1.0
    assert found["texts"]["shift"] == pytest.approx({"mean": 0.7, "largest": 0.7})
    assert found["texts"]["towards"]["female"]["angry"] == pytest.approx(0.7)
    assert found["texts"]["towards"]["male"]["angry"] == pytest.approx(-0.7)
    assert found["templates"]["flips"]["value"] == 1.0
    example = found["texts"]["examples"][0]
    assert set(example["answers"]) == {"angry", "calm"}
    assert set(example["before"].split()) ^ set(example["after"].split()) == {
        "he",
        "she",
    }
    assert "100.0 %" in found["text"]


def test_how_well_each_group_is_answered_is_said():
    mentions = find(biased)["gender"]["mentions"]
    assert {group: entry["n"] for group, entry in mentions["groups"].items()} == {"male": 40, "female": 40}
    assert mentions["gap"]["worst"] == "female"
    assert mentions["gap"]["is_shown"]


def test_a_model_that_does_not_look_at_it_flips_none():
    found = find(indifferent)["gender"]
    assert found["texts"]["flips"]["value"] == 0.0
    assert found["texts"]["shift"]["largest"] == 0.0


def test_where_no_text_has_a_word_templates_are_left():
    found = find(indifferent, ["religion"])["religion"]
    assert found["texts"] == {"texts": 0, "exchanges": 0}
    assert found["templates"]["exchanges"] == 12 * 5
    assert found["mentions"] is None
    assert find(indifferent, []) is None
