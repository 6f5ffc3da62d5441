import numpy as np
import pytest
from scipy.stats import chi2_contingency

from tunesmith.checks import CHECKS
from tunesmith.checks._words import presence, row_texts, tokens_of
from tunesmith.checks.shortcuts import _association, accuracy_by_group

CHECK = CHECKS.get("shortcuts")
WORDS = [f"word{i}" for i in range(300)]


def sentences(n, seed=0):
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, 8)) for _ in range(n)]


def found_in(checked_columns, texts, labels, **rest):
    data = checked_columns("text-classification", {"train": {"text": texts, "label": labels}}, **rest)
    return list(CHECK.find(data))


@pytest.mark.parametrize("token", ["zxq", "<br>", "[A]"])
def test_a_planted_token_is_found(checked_columns, token):
    labels = ["a", "b", "c", "d"] * 150
    rng = np.random.default_rng(1)
    texts = [
        f"{text} {token}" if label == "b" and rng.random() < 0.9 else text
        for text, label in zip(sentences(600), labels, strict=True)
    ]
    finding, *rest = found_in(checked_columns, texts, labels)
    assert finding.severity == "warn"
    assert finding.evidence["token"] == token.casefold()
    assert finding.evidence["label"] == "b"
    having = {row for row, text in enumerate(texts) if text.endswith(token)}
    assert {found.row for found in finding.rows} == having
    assert all("fact" in it.evidence for it in rest)  # the last character gives it away too


def test_words_by_chance_are_no_shortcuts(checked_columns):
    assert found_in(checked_columns, sentences(600), ["a", "b", "c"] * 200) == []


def test_the_word_of_a_topic_is_a_note(checked_columns):
    labels = ["billing", "weather", "music"] * 200
    rng = np.random.default_rng(2)
    texts = []
    for text, label in zip(sentences(600), labels, strict=True):
        words = text.split()
        if label == "weather" and rng.random() < 0.6:
            words[int(rng.integers(8))] = "clouds"
        texts.append(" ".join(words))
    (finding,) = found_in(checked_columns, texts, labels)
    assert finding.severity == "note"
    assert finding.evidence["words"][0]["token"] == "clouds"


def test_a_length_a_file_and_a_column_that_give_the_label_are_found(checked_columns):
    labels = ["short", "long"] * 100
    texts = [
        text if label == "long" else text[:20] for text, label in zip(sentences(200), labels, strict=True)
    ]
    source = ["web" if label == "long" else "app" for label in labels]
    facts = {
        finding.evidence["fact"]
        for finding in found_in(checked_columns, texts, labels, extra={"train": {"source": source}})
        if "fact" in finding.evidence
    }
    assert {"the length of the text", "the column `source`"} <= facts


def test_the_association_is_phi():
    texts = sentences(200)
    table = presence(texts, fewest=5).table
    labels = np.stack([np.arange(200) % 2 == 0, np.arange(200) % 2 == 1], axis=1).astype(np.int8)
    ours = _association(table, labels)
    for token in range(5):
        has = table[:, token].toarray().ravel().astype(int)
        counts = np.zeros((2, 2))
        np.add.at(counts, (has, labels[:, 0]), 1)
        chi2 = chi2_contingency(counts, correction=False).statistic
        assert abs(ours[token, 0]) == pytest.approx(np.sqrt(chi2 / 200))


def test_figures_come_from_the_other_half():
    # A group for each row: on its own half it would be right always.
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=400)
    accuracy, majority = accuracy_by_group(np.arange(400), labels, np.arange(400) % 2)
    assert accuracy == majority


def test_tokens_are_words_and_what_stands_between_spaces():
    assert {"<br>", "br", "#sad", "sad", "it's", "it", "s"} <= set(tokens_of("<br> #Sad, it's"))
    assert "犬" in tokens_of("犬が好き")


def test_texts_of_messages_are_what_is_said(examples_of):
    rows = examples_of({"messages": [[{"role": "user", "content": "hi"}, {"role": "assistant", "content": None}]]},
                       inputs=("messages",))  # fmt: skip
    assert list(row_texts(rows, [0])) == ["hi"]


@pytest.mark.parametrize("name", ["sst2", "tweet_emotion", "trec"])
def test_real_sets_have_no_warning(name, shared, checked_columns):
    import csv

    with open(shared / "data" / name / "train.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[:2500]
    text = next(key for key in rows[0] if key in ("text", "sentence"))
    found = found_in(checked_columns, [row[text] for row in rows], [row["label"] for row in rows])
    assert [finding.text for finding in found if finding.severity == "warn"] == []
