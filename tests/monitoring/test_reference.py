"""The reference is small, has no text, and is read back as it was written."""

import numpy as np
import pytest

from tunesmith.encoded import Ragged
from tunesmith.errors import RunError
from tunesmith.monitoring.observed import Observed
from tunesmith.monitoring.reference import FILE, Reference
from tunesmith.monitoring.texts import FEWEST_TEXTS, TextFacts, Vocabulary, text_of_row

TEXTS = [f"the left crank squeaks, says Ann Lee number {i}" for i in range(8)] + ["ask Bob"]


@pytest.fixture
def reference():
    rows = Observed(
        3,
        {"score": np.array([0.5, np.nan, 0.25])},
        np.arange(12, dtype=np.float32).reshape(3, 4),
        answers=Ragged.of([[0], [], [1, 1]]),
        languages=["en", "", "es"],
        names=["test.csv:2", "test.csv:3", "test.csv:4"],
    )
    return Reference(rows, ("a", "b"), Vocabulary.of(TEXTS), "text-classification", "test")


def test_it_is_read_as_it_was_written(reference, tmp_path):
    reference.save(tmp_path)
    again = Reference.load(tmp_path)
    assert (again.labels, again.task, again.split) == (reference.labels, reference.task, "test")
    np.testing.assert_array_equal(again.rows.number("score"), reference.rows.number("score"))
    np.testing.assert_array_equal(again.rows.vectors, reference.rows.vectors)
    np.testing.assert_array_equal(again.rows.counts(2), [[1, 0, 0], [0, 0, 0], [0, 2, 0]])
    assert again.rows.words is None
    assert list(again.rows.languages) == ["en", "", "es"]
    assert list(again.rows.names) == list(reference.rows.names)
    assert again.vocabulary == reference.vocabulary


def test_rare_words_are_not_kept(reference, tmp_path):
    reference.save(tmp_path)
    kept = (tmp_path / FILE).read_bytes()
    assert b"crank" in kept
    assert b"bob" not in kept
    assert reference.vocabulary.shares["crank"] == pytest.approx(8 / 9)
    assert FEWEST_TEXTS == 5


def test_a_damaged_file_and_one_of_the_future_are_said(reference, tmp_path, monkeypatch):
    assert Reference.load(tmp_path) is None
    monkeypatch.setattr("tunesmith.monitoring.reference.FORMAT", 99)
    reference.save(tmp_path)
    monkeypatch.undo()
    with pytest.raises(RunError, match="newer version"):
        Reference.load(tmp_path)
    (tmp_path / FILE).write_bytes(b"\x08\x00\x00\x00")
    with pytest.raises(RunError, match="cannot be read"):
        Reference.load(tmp_path)


def test_what_texts_are_like_without_a_model():
    vocabulary = Vocabulary.of(TEXTS)
    texts = [
        "the left crank squeaks",
        "el pedal derecho hace un ruido raro cuando llueve mucho en la ciudad",
        "",
    ]
    facts = TextFacts.of(texts, vocabulary)
    assert facts.unknown_words[:2] == pytest.approx([0.0, 1.0])
    assert np.isnan(facts.unknown_words[2])
    assert np.linalg.norm(facts.words[:2], axis=1) == pytest.approx([1, 0])
    assert facts.languages[1] == "es"
    again = TextFacts.of(texts, vocabulary)
    np.testing.assert_array_equal(facts.words, again.words)


def test_texts_are_read_without_personal_data():
    row = {
        "question": "who?",
        "context": ["ask", "ann@example.org"],
        "messages": [{"role": "user", "content": "hi"}],
    }
    assert text_of_row(row, ["question", "context", "messages"]) == "who?\nask\n[EMAIL]\nhi"
