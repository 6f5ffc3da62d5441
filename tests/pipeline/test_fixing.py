import csv
import json

import pytest

from tunesmith import pipeline
from tunesmith.errors import RecipeError
from tunesmith.pipeline.fixing import fix
from tunesmith.recipe import Recipe
from tunesmith.testing.tiny import tiny_rows, write_rows

FIXABLE = {"duplicates", "leakage", "characters", "personal_data"}


def faulty_rows():
    rows = [
        {**row, "source": f"s{n}", "text": f"{row['text']} about order number{n} and part{n * 7}"}
        for n, row in enumerate(tiny_rows(80))
    ]
    rows[3]["text"] += " jo.doe@example.org"
    rows[4]["text"] += " cafÃ© \u200b"
    rows[5]["text"] += " naÃ¯ve +49 30 901820"
    rows[6]["text"] = '-1 starts like a formula, with "quotes", a comma\nand a line'
    return rows


@pytest.fixture
def recipe(tmp_path):
    def make(ending):
        rows = faulty_rows()
        train = [*rows[:60], {**rows[10], "text": rows[10]["text"].upper()}, rows[75]]
        # Once their phone numbers are hidden, these two are copies.
        train += [{**rows[20], "text": f"call me back about the lost parcel {phone}"} for phone in
                  ("+49 30 901820", "+49 30 901821")]  # fmt: skip
        (tmp_path / "in").mkdir()
        return Recipe.model_validate({"data": {
            "train": [str(write_rows(tmp_path / "in" / f"train{ending}", train))],
            "validation": [str(write_rows(tmp_path / "in" / f"validation{ending}", rows[60:70]))],
            "test": [str(write_rows(tmp_path / "in" / f"test{ending}", rows[70:]))],
        }})  # fmt: skip

    return make


@pytest.mark.parametrize("ending", [".csv", ".jsonl"])
def test_the_copy_has_no_such_findings_and_the_original_is_untouched(recipe, tmp_path, ending):
    asked = recipe(ending)
    before = (tmp_path / "in" / f"train{ending}").read_bytes()
    report = pipeline.check(asked, with_model=False)
    assert {it.check for it in report.findings} >= FIXABLE
    done = fix(report, tmp_path / "out")
    assert done["removed"] == {"duplicates": 2, "leakage": 1}
    assert done["changed"] == {"characters": 2, "personal_data": 4}
    assert done["files"][str(tmp_path / "out" / f"train{ending}")] == 61
    assert (tmp_path / "in" / f"train{ending}").read_bytes() == before
    again = pipeline.check(
        Recipe.model_validate({"data": {
            split: [str(tmp_path / "out" / f"{split}{ending}")] for split in ("train", "validation", "test")
        }}),
        with_model=False,
    )  # fmt: skip
    assert not FIXABLE & {it.check for it in again.findings}


def test_what_is_not_changed_is_the_same_in_every_format(recipe, tmp_path):
    report = pipeline.check(recipe(".csv"), with_model=False)
    for ending in (".csv", ".tsv", ".jsonl", ".parquet"):
        done = fix(report, tmp_path / f"clean{ending}")
        assert done["splits_not_written"] == ["validation", "test"]
    rows = faulty_rows()
    with (tmp_path / "clean.csv").open(newline="") as file:
        copied = list(csv.DictReader(file))
    assert copied[6] == {name: str(value) for name, value in rows[6].items()}
    assert copied[3]["text"].endswith(" [EMAIL]")
    assert copied[4]["text"].endswith(" café ")
    assert copied[5]["text"].endswith(" naïve [PHONE]")
    lines = [json.loads(line) for line in (tmp_path / "clean.jsonl").read_text().splitlines()]
    assert lines == copied
    import pyarrow.parquet

    assert pyarrow.parquet.read_table(tmp_path / "clean.parquet").to_pylist() == copied
    with (tmp_path / "clean.tsv").open(newline="") as file:
        assert list(csv.DictReader(file, delimiter="\t")) == copied


def test_the_original_and_other_files_are_not_written_over(recipe, tmp_path):
    asked = recipe(".csv")
    report = pipeline.check(asked, with_model=False)
    for place in (asked.data.train[0], tmp_path / "in"):
        with pytest.raises(RecipeError, match="written over the original"):
            fix(report, place, force=True)
    (tmp_path / "other.csv").write_text("mine")
    with pytest.raises(RecipeError, match="already exists"):
        fix(report, tmp_path / "other.csv")
    with pytest.raises(RecipeError, match=r"must end in .jsonl, .csv"):
        fix(report, tmp_path / "other.xlsx")
    fix(report, tmp_path / "other.csv", force=True)
    assert (tmp_path / "other.csv").read_text() != "mine"


def test_texts_within_conversations_are_changed_where_they_are(tmp_path):
    def talk(n):
        asked, answered = f"question {n} of jo{n}@example.org", f"the answer number {n} is {n * 3}"
        return {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]}

    rows = [talk(n) for n in range(12)]
    file = write_rows(tmp_path / "talks.jsonl", rows)
    report = pipeline.check(
        Recipe.model_validate({"task": "chat", "data": {"train": [str(file)]}}), with_model=False
    )
    fix(report, tmp_path / "clean.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "clean.jsonl").read_text().splitlines()]
    assert lines[2]["messages"][0] == {"role": "user", "content": "question 2 of [EMAIL]"}
    assert lines[2]["messages"][1] == rows[2]["messages"][1]
