"""Copies within and across splits, on real rows."""

import random

import pytest

from tunesmith.testing.edited_texts import EDITS, edited

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("seed", [0, 1])
def test_edited_test_rows_in_training_are_found_and_no_others(checked, find, sst2, seed):
    """100 test rows copied with small edits into train: at least 99 are found, at most 1 % are false."""
    rng = random.Random(seed)
    train, test = sst2("train", 5000), sst2("test", 1500)
    words = [word for row in train for word in row["text"].split()]
    planted = rng.sample(range(len(test)), 100)
    kinds = EDITS * 25
    copies = [
        {**test[row], "text": edited(test[row]["text"], kind, rng, words)}
        for row, kind in zip(planted, kinds, strict=True)
    ]
    validation = sst2("validation", 50)
    natural = found_rows(find("leakage", checked(train=train, validation=validation, test=test)))
    with_copies = [*train, *copies]
    rng.shuffle(with_copies)
    found = found_rows(find("leakage", checked(train=with_copies, validation=validation, test=test)))
    assert len(found & set(planted)) >= 99
    assert len(found - natural - set(planted)) <= 1
    assert len(natural) <= 0.01 * len(test), "and few of the others are said to be copies at all"


def found_rows(findings):
    of_test = [it for it in findings if (it.evidence["split"], it.evidence["source"]) == ("test", "train")]
    return {found.row for it in of_test for found in it.rows}


def test_leakage_blocks_where_it_moves_the_score_by_more_than_its_interval(checked, find, sst2):
    train, test = sst2("train", 600), sst2("test", 400)
    few, many = (
        find("leakage", checked(train=[*train, *test[:n]], validation=train[:3], test=test)) for n in (5, 40)
    )
    assert [it.severity for it in few if it.evidence["split"] == "test"] == ["warn"]
    [finding] = [it for it in many if it.evidence["split"] == "test" and it.evidence["source"] == "train"]
    assert finding.severity == "block"
    assert finding.evidence["leaked"] == finding.evidence["exact"] == finding.evidence["identical"] == 40
    assert finding.evidence["half_width"] == pytest.approx(0.98 / 20)
    assert {change.row for change in finding.changes} == set(range(600, 640))
    assert finding.rows[0].note.startswith("the same text as train.jsonl:601")


def test_known_facts_of_tweet_hate(shared, checked, find):
    """README: 231 test texts are in train, 8 rows are empty, 13 rows of train and 4 of test are surplus copies."""
    files = {
        split: [str(shared / "data" / "tweet_hate" / f"{split}.csv")]
        for split in ("train", "validation", "test")
    }
    data = checked(data=files)
    [finding] = [
        it for it in find("leakage", data) if it.evidence["source"] == "train" and it.severity == "block"
    ]
    assert finding.evidence["identical"] == 231
    assert finding.evidence["leaked"] >= 231
    [invalid] = find("invalid_rows", data)
    assert invalid.evidence["invalid_rows"] == 8
    assert invalid.evidence["kinds"][0]["reason"] == "text is empty."


def test_known_facts_of_go_emotions(shared, checked, find):
    """README: 26 test texts are in train, 46 surplus copies in train, 19 texts with several sets of labels."""
    files = {
        split: [str(shared / "data" / "go_emotions" / f"{split}.jsonl")]
        for split in ("train", "validation", "test")
    }
    data = checked("multi-label-classification", data=files)
    [leak] = [it for it in find("leakage", data)
              if (it.evidence["split"], it.evidence["source"]) == ("test", "train")]  # fmt: skip
    assert leak.evidence["identical"] == 26
    exact = {
        name: sum(it.evidence["exact"] for it in find(name, data) if it.evidence["split"] == "train")
        for name in ("duplicates", "contradictions")
    }
    assert exact["duplicates"] > 0
    assert exact["contradictions"] > 0
    assert sum(exact.values()) >= 46


def test_sst2_and_rotten_tomatoes_overlap(shared, checked, find):
    """README: 726 rows of the test set of rotten_tomatoes are in train of sst2."""
    data = checked(data={"train": [str(shared / "data" / "sst2" / "train.csv")],
                         "test": [str(shared / "data" / "rotten_tomatoes" / "test.csv")]})  # fmt: skip
    held_out = len(data.splits["validation"])
    findings = [it for it in find("leakage", data) if it.evidence["split"] == "test"]
    leaked = {found.row for it in findings for found in it.rows}
    assert held_out == 692
    assert len(leaked) >= 726
    assert findings[0].severity == "block"


def test_copies_with_the_same_label_are_duplicates_and_others_contradict(checked, find, sst2):
    rows = sst2("train", 300)
    other = {"0": "1", "1": "0"}
    again = [{**row, "text": row["text"].upper()} for row in rows[:7]]
    wrong = [{**row, "label": other[row["label"]]} for row in rows[10:13]]
    data = checked(train=[*rows, *again, *wrong], validation=sst2("validation", 30))
    [duplicates] = [it for it in find("duplicates", data) if it.evidence["split"] == "train"]
    assert [it.row for it in duplicates.rows] == list(range(300, 307))
    assert {change.row for change in duplicates.changes} == set(range(300, 307))
    [contradictions] = [it for it in find("contradictions", data) if it.evidence["split"] == "train"]
    assert [it.row for it in contradictions.rows] == [307, 308, 309]
    assert contradictions.evidence["exact"] == 3
    assert not contradictions.changes, "a person decides"


def test_a_text_with_two_translations_contradicts_nothing(checked, find):
    pairs = [{"source": f"the house number {n} on the hill", "target": f"das Haus {n}"} for n in range(20)]
    data = checked("translation", train=[*pairs, {**pairs[0], "target": "anders"}], validation=pairs[:2])
    assert find("contradictions", data) == []
    assert [it for it in find("duplicates", data) if it.evidence["split"] == "train"] == []


def test_groups_on_both_sides_are_found(checked, find, sst2):
    """Two customers are in train and in test; the column is named by the recipe, or like an id."""
    rows = sst2("train", 120)
    for number, row in enumerate(rows):
        row["customer_id"] = f"c{number // 6}"
    train, test = (
        rows[:60],
        [*rows[60:], {**rows[70], "customer_id": "c3"}, {**rows[71], "customer_id": "c4"}],
    )
    for data in ({"group_by": "customer_id"}, {}):
        found = find("group_leakage", checked(train=train, validation=rows[60:66], test=test, data=data))
        [finding] = [it for it in found if it.evidence["split"] == "test"]
        assert [it.row for it in finding.rows] == [60, 61]
        assert finding.evidence["groups"] == 2
    apart = checked(train=train, validation=rows[60:66], test=rows[66:])
    assert find("group_leakage", apart) == []


def test_an_id_of_its_own_for_every_row_makes_no_groups(checked, find, sst2):
    rows = [{**row, "id": str(number)} for number, row in enumerate(sst2("train", 60))]
    assert find("group_leakage", checked(train=rows, validation=rows[:10])) == []
