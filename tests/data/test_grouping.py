import numpy as np

from tunesmith.data.examples import Examples, read_examples
from tunesmith.data.grouping import notice_of_groups, row_groups
from tunesmith.tasks import TASKS

TEXTS, ANSWERS = TASKS.get("text-classification"), TASKS.get("question-answering")


def examples(columns, extra=None):
    n = len(next(iter(columns.values())))
    return Examples(columns, ("t.csv",), np.zeros(n, np.int32), np.arange(n), extra or {})


def test_rows_stand_alone_unless_something_joins_them():
    rows = examples({"text": list("abcd")}, {"shop": [None, "", None, "x"]})
    assert row_groups(TEXTS, rows, None) is None
    assert row_groups(TEXTS, rows, "shop") is None
    assert row_groups(TEXTS, rows, "city") is None


def test_the_column_of_the_recipe_joins_rows_and_rows_without_a_value_stand_alone():
    rows = examples({"text": list("abcdef")}, {"shop": ["x", "y", None, "x", None, 1]})
    assert row_groups(TEXTS, rows, "shop").tolist() == [0, 1, 2, 0, 3, 4]


def test_the_questions_of_a_context_are_joined_unless_the_recipe_says_otherwise():
    rows = examples({"question": list("pqrs"), "context": ["a", "b", "a", "a"]}, {"book": list("mmnn")})
    assert row_groups(ANSWERS, rows, None).tolist() == [0, 1, 0, 0]
    assert row_groups(ANSWERS, rows, "book").tolist() == [0, 0, 1, 1]


def test_a_file_without_the_column_is_named():
    assert notice_of_groups(examples({"text": ["a"]}, {"shop": ["x"]}), "shop") == ""
    assert notice_of_groups(examples({"text": ["a"]}), None) == ""
    assert "t.csv has no column `shop`" in notice_of_groups(
        examples({"text": ["a"]}, {"shop": [None]}), "shop"
    )


def test_the_sentences_of_a_document_are_joined(tmp_path):
    file = tmp_path / "news.conll"
    sentences = [f"EU B-ORG\nrejects O\nword{i} O\n" for i in range(4)]
    parts = ["-DOCSTART- O\n", *sentences[:3], "-DOCSTART- O\n", sentences[3]]
    file.write_text("\n".join(parts))
    task = TASKS.get("token-classification")
    found = read_examples(task, [str(file)]).examples
    assert row_groups(task, found, None).tolist() == [0, 0, 0, 1]
