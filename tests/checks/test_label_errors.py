import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from tunesmith.checks import CHECKS
from tunesmith.encoded import Encoded, Ragged

CHECK = CHECKS.get("label_errors")


def test_flipped_labels_are_found_named_and_counted(topics):
    data, flipped = topics(600, flip=0.1)
    (finding,) = CHECK.find(data)
    rows = [found.row for found in finding.rows]
    assert flipped[rows[:40]].mean() >= 0.95
    assert flipped[rows].sum() >= 0.95 * flipped.sum()
    names, row = ["a", "b", "c"], rows[0]
    given = data.splits["train"].columns["label"][row]
    proposed = names[(names.index(given) - 1) % 3]  # before the flip
    assert finding.rows[0].note == f"`{given}`, perhaps `{proposed}`"
    estimate = finding.evidence["estimate"]
    assert estimate["share"]["low"] <= 0.1 <= estimate["share"]["high"]
    assert f"about {round(estimate['about'])} of 600 labels are probably wrong" in finding.text
    assert finding.severity == "warn"
    scores = [found.score for found in finding.rows]
    assert scores == sorted(scores, reverse=True)


def test_right_labels_are_no_warning(topics):
    data, _ = topics(600)
    assert all(finding.severity == "note" for finding in CHECK.find(data))


def test_few_rows_of_each_label_say_nothing(checked_columns, one_label):
    """The trap: a probe that knows little contradicts right labels."""
    names = [f"l{i}" for i in range(6)]
    labels = names * 10
    data = checked_columns(
        "text-classification",
        {"train": {"text": [f"row {i}" for i in range(60)], "label": labels}},
        features={"train": np.random.default_rng(0).normal(size=(60, 16)).astype(np.float32)},
        encoded={"train": one_label(labels, names)},
    )
    assert list(CHECK.find(data)) == []


def test_copies_do_not_vouch_for_each_other(checked_columns, one_label):
    # Every row is there twice, with the same wrong label: a probe that saw the copy would agree with it.
    rng = np.random.default_rng(0)
    true = rng.integers(2, size=200)
    signal = np.where(np.arange(300) < 40, 3, 0)
    vectors = (rng.normal(size=(200, 300)) + signal * true[:, None]).astype(np.float32)
    given = np.where(np.arange(200) < 20, 1 - true, true)
    labels = ["no" if label == 0 else "yes" for label in np.repeat(given, 2)]
    data = checked_columns(
        "text-classification",
        {"train": {"text": [f"row {i // 2}" for i in range(400)], "label": labels}},
        features={"train": np.repeat(vectors, 2, axis=0)},
        encoded={"train": one_label(labels, ["no", "yes"])},
    )
    (finding,) = CHECK.find(data)
    assert len({found.row for found in finding.rows[:40]} & set(range(40))) >= 36


def test_missing_labels_and_labels_too_many_are_found_among_several(checked_columns):
    rng = np.random.default_rng(1)
    true = rng.random((500, 3)) < 0.3
    vectors = np.concatenate([6.0 * true, np.zeros((500, 5))], axis=1) + rng.normal(size=(500, 8))
    given = true.copy()
    given[np.flatnonzero(true[:, 0])[:10], 0] = False
    given[np.flatnonzero(~true[:, 1])[:10], 1] = True
    wrong = np.flatnonzero((given != true).any(axis=1))
    names = ["x", "y", "z"]
    labels = [[name for name, on in zip(names, row, strict=True) if on] for row in given]
    data = checked_columns(
        "multi-label-classification",
        {"train": {"text": [f"row {i}" for i in range(500)], "labels": labels}},
        features={"train": vectors.astype(np.float32)},
        encoded={"train": Encoded({}, {"labels": given.astype(np.float32)}, np.arange(500), 500)},
    )
    (finding,) = CHECK.find(data)
    assert set(wrong) <= {found.row for found in finding.rows}
    is_wrong = np.isin(np.arange(500), wrong)
    scores = np.full(500, -1.0)
    for found in finding.rows:
        scores[found.row] = found.score
    assert average_precision_score(is_wrong, scores) >= 0.9
    notes = " ".join(found.note for found in finding.rows[:20])
    assert "`x` missing?" in notes
    assert "without `y`?" in notes


def test_entities_that_were_missed_are_found_as_spans(checked_columns):
    rng = np.random.default_rng(2)
    n = 200  # sentences of four words, of which the middle two are a place
    labels = np.tile([0, 1, 2, 0], (n, 1))
    kinds = labels.copy()
    labels[:12] = 0  # and twelve sentences where nobody marked it
    vectors = (rng.normal(size=(4 * n, 10)) + 5 * np.eye(10)[kinds.ravel()]).astype(np.float32)
    offsets = np.arange(0, 4 * n + 1, 4)
    encoded = Encoded(
        {
            "labels": Ragged(labels.ravel(), offsets),
            "word_of_token": Ragged(np.tile([1, 2, 3, 4], n), offsets),
        },
        {},
        np.arange(n),
        n,
    )
    columns = {
        "text": [f"in New York {i}" for i in range(n)],
        "words": [[[0, 2], [3, 6], [7, 11], [12, 12 + len(str(i))]] for i in range(n)],
        "entities": [[[3, 11, "LOC"]] for _ in range(n)],
    }
    data = checked_columns(
        "token-classification",
        {"train": columns},
        features={"train": Ragged(vectors, offsets)},
        encoded={"train": encoded},
        inputs=("text", "words"),
        labels=["O", "B-LOC", "I-LOC"],
    )
    (finding,) = CHECK.find(data)
    assert {found.row for found in finding.rows[:12]} == set(range(12))
    assert finding.rows[0].note == "“New York”: `O`, perhaps `LOC`"


def test_numbers_far_from_what_is_expected_are_found(checked_columns):
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(300, 5)).astype(np.float32)
    scores = 2 * vectors[:, 0] + 0.1 * rng.normal(size=300)
    scores[7] += 5
    data = checked_columns(
        "text-regression",
        {"train": {"text": [f"row {i}" for i in range(300)], "score": scores.tolist()}},
        features={"train": vectors},
        encoded={
            "train": Encoded(
                {}, {"labels": np.stack([scores, np.ones(300)], 1).astype(np.float32)}, np.arange(300), 300
            )
        },
    )
    (finding,) = CHECK.find(data)
    assert finding.rows[0].row == 7
    assert len(finding.rows) <= 5


@pytest.mark.parametrize("names", [["a", "b"]])
def test_where_no_label_is_doubted_nothing_is_found(checked_columns, one_label, names):
    vectors = np.repeat(np.eye(2, dtype=np.float32), 50, axis=0) * 10
    labels = [names[0]] * 50 + [names[1]] * 50
    data = checked_columns(
        "text-classification",
        {"train": {"text": [f"row {i}" for i in range(100)], "label": labels}},
        features={"train": vectors},
        encoded={"train": one_label(labels, names)},
    )
    assert list(CHECK.find(data)) == []
