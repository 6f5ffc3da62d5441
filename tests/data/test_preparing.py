import json

import pytest

from tunesmith.data.examples import list_realigned
from tunesmith.data.preparing import all_sources, find_splits, prepare, read_checked
from tunesmith.data.read_options import ReadOptions
from tunesmith.errors import DataError
from tunesmith.recipe import DataRecipe, Recipe
from tunesmith.tasks import TASKS
from tunesmith.testing.tiny import tiny_rows, write_rows

TASK = TASKS.get("text-classification")


def prepared(**data):
    recipe = Recipe.model_validate({"data": data})
    return prepare(TASK, recipe)


def test_shares_are_held_out_of_the_training_rows(tmp_path):
    file = write_rows(tmp_path / "a.csv", tiny_rows(100))
    data = prepared(train=[str(file)], validation=0.1, test=0.2)
    assert {name: len(rows) for name, rows in data.splits.items()} == {
        "train": 72,
        "validation": 8,
        "test": 20,
    }
    ids = json.loads("".join(data.row_ids_as_json()))
    assert len({row for rows in ids.values() for row in rows}) == 100


def test_a_folder_with_split_files_stands_for_them(tmp_path):
    for name, n in (("train.csv", 40), ("dev.csv", 10), ("test.csv", 12)):
        write_rows(tmp_path / name, tiny_rows(n))
    data = find_splits(Recipe(data=DataRecipe(train=[str(tmp_path)]))).data
    assert data.train == [str(tmp_path / "train.csv")]
    assert data.validation == [str(tmp_path / "dev.csv")]
    assert len(all_sources(data)) == 3
    named = Recipe(seed=3, data=DataRecipe(train=[str(tmp_path)], validation=0.3))
    assert find_splits(named).data.validation == 0.3
    assert find_splits(named).seed == 3


def test_a_label_of_the_test_rows_that_training_never_showed(tmp_path):
    train = write_rows(tmp_path / "train.csv", tiny_rows(30))
    test = write_rows(tmp_path / "test.csv", [*tiny_rows(5, seed=3), {"text": "new", "label": "anymal"}])
    with pytest.raises(
        DataError, match=r"test\.csv, line 7: label `anymal` does not occur in the training rows"
    ):
        prepared(train=[str(train)], test=[str(test)])
    data = prepared(train=[str(train)], test=[str(test)], bad_rows="set_aside")
    assert len(data.splits["test"]) == 5
    assert [problem.values["label"] for problem in data.invalid_rows] == ["anymal"]


def test_copies_of_training_texts_among_test_rows_are_told(tmp_path):
    rows = tiny_rows(40)
    train = write_rows(tmp_path / "train.csv", rows[:30])
    test = write_rows(tmp_path / "test.csv", rows[28:])
    found = prepared(train=[str(train)], validation=[str(test)], test=[str(test)], check="off")
    notices = found.notices_without_check
    assert any("2 of 12 test rows have the same text as a training row" in notice for notice in notices)


def test_labels_have_a_stable_order(tmp_path):
    rows = [{"text": f"text number {i}", "label": str(i % 11)} for i in range(66)]
    file = write_rows(tmp_path / "a.csv", rows[::-1])
    assert prepared(train=[str(file)]).label_schema["labels"] == [str(i) for i in range(11)]


def test_groups_stay_together(tmp_path):
    rows = [{**row, "customer": str(i // 4)} for i, row in enumerate(tiny_rows(80))]
    file = write_rows(tmp_path / "a.csv", rows)
    data = prepared(train=[str(file)], validation=0.25, group_by="customer")
    groups = {name: set(examples.extra["customer"]) for name, examples in data.splits.items()}
    assert not groups["train"] & groups["validation"]


# ---- places ----


def questions(tmp_path, start):
    context = "A room is $35 per night, and 🚲 parking is free."
    rows = [
        {
            "question": f"q{i}",
            "context": f"{context} {i}",
            "answers": {"text": [text], "answer_start": [start]},
        }
        for i, text in enumerate(["$35 per night", "$ 35 per night", "$35 per night", "“free”"] * 5)
    ]
    return str(write_rows(tmp_path / "questions.jsonl", rows))


def test_realigned_answers_are_counted_and_kept_with_their_places(tmp_path):
    file, task = questions(tmp_path, 10), TASKS.get("question-answering")

    def of(how):
        data = {"train": [file], "validation": 0.2, "align_answers": how, "bad_rows": "set_aside"}
        return prepare(task, Recipe.model_validate({"task": task.name, "data": data}))

    exact, nearby, normalized = (of(how) for how in ("exact", "nearby", "normalized"))
    assert [len(p.invalid_rows) for p in (exact, nearby, normalized)] == [10, 10, 5]
    assert [len(p.realigned) for p in (exact, nearby, normalized)] == [0, 0, 5]
    (notice,) = (text for text in normalized.notices if "answers" in text)
    assert notice.startswith(
        "5 answers were found at another location than their rows give, 5 of them in another spelling"
    )
    list_realigned(normalized.realigned, tmp_path / "moved.jsonl")
    first = json.loads((tmp_path / "moved.jsonl").read_text().splitlines()[0])
    assert first == {
        "file": file, "line": 2, "text": "$ 35 per night", "start": 10,
        "found": "$35 per night", "found_start": 10,
    }  # fmt: skip


def test_the_same_text_nearby(tmp_path):
    file, task = questions(tmp_path, 13), TASKS.get("question-answering")
    found = read_checked(task, [file], {}, ReadOptions(align="nearby"))
    assert (len(found.invalid_rows), len(found.realigned)) == (10, 10)
    assert {moved.answer.found_start for moved in found.realigned} == {10}


def test_places_of_a_browser_are_named_with_their_file(tmp_path):
    rows = [
        {
            "text": f"🚲 {i} Please send Mara Vint home",
            "entities": [[16 + len(str(i)), 25 + len(str(i)), "PER"]],
        }
        for i in range(20)
    ]
    good = [{"text": "Mara Vint is here", "entities": [[0, 9, "PER"]]}] * 5
    files = [str(write_rows(tmp_path / n, r)) for n, r in (("browser.jsonl", rows), ("good.jsonl", good))]
    task = TASKS.get("token-classification")
    data = prepare(task, Recipe.model_validate({"task": task.name, "data": {"train": files}}))
    (notice,) = (text for text in data.notices if "UTF-16" in text)
    assert notice.startswith("browser.jsonl: 20 of 20 entities begin or end within a word")


def conll(path, documents, sentences):
    """Documents of so many sentences, each with an entity."""
    lines = []
    for document in range(documents):
        lines.append("-DOCSTART- O\n")
        lines += [f"word{document} O\nname{document}x{i} B-PER\n" for i in range(sentences)]
    path.write_text("\n".join(lines) + "\n")
    return path


def prepared_conll(file, share):
    recipe = Recipe.model_validate({
        "task": "token-classification", "data": {"train": [str(file)], "validation": share},
    })  # fmt: skip
    return prepare(TASKS.get("token-classification"), recipe)


def test_sentences_of_one_document_never_cross_splits(tmp_path):
    found = prepared_conll(conll(tmp_path / "a.conll", 20, 5), 0.2)
    documents = {name: set(rows.columns["document"]) for name, rows in found.splits.items()}
    assert not documents["train"] & documents["validation"]
    assert (len(found.splits["train"]), len(found.splits["validation"])) == (80, 20)
    assert not any("document" in notice for notice in found.notices)


def test_too_few_documents_are_parted_and_it_is_said(tmp_path):
    found = prepared_conll(conll(tmp_path / "a.conll", 1, 50), 0.1)
    assert len(found.splits["validation"]) == 5
    (notice,) = [notice for notice in found.notices if "document" in notice]
    assert "too few documents (1)" in notice


def test_labels_without_a_held_out_row_are_named(tmp_path):
    rows = [{"text": f"text number {i}", "label": f"label {i // 2:03}"} for i in range(400)]
    recipe = Recipe.model_validate(
        {"data": {"check": "off", "train": [str(write_rows(tmp_path / "a.csv", rows))]}}
    )
    found = prepare(TASKS.get("text-classification"), recipe)
    assert any(
        notice.startswith("140 labels (`label") and "and 135 more) have no validation row" in notice
        for notice in found.notices_without_check
    )


def test_files_of_one_name_have_ids_of_their_own(tmp_path):
    from tunesmith.data.examples import distinct_names

    for folder, number in (("one", 1), ("two", 2)):
        (tmp_path / folder).mkdir()
        rows = [{"text": f"text {number} {i}", "label": "ab"[i % 2]} for i in range(10)]
        write_rows(tmp_path / folder / "a.csv", rows)
    recipe = Recipe.model_validate({
        "data": {"train": [str(tmp_path / "one" / "a.csv")], "validation": [str(tmp_path / "two" / "a.csv")]}
    })  # fmt: skip
    ids = json.loads("".join(prepare(TASKS.get("text-classification"), recipe).row_ids_as_json()))
    assert (ids["train"][0], ids["validation"][0]) == ("one/a.csv:2", "two/a.csv:2")
    assert distinct_names(["x/a/b.csv", "y/a/b.csv", "c.csv", "s3://k/a/b.csv"]) == {
        "x/a/b.csv": "x/a/b.csv", "y/a/b.csv": "y/a/b.csv", "c.csv": "c.csv", "s3://k/a/b.csv": "k/a/b.csv",
    }  # fmt: skip
