import json

import pytest

from tunesmith.data.reading import read_rows

ANSWER = {"text": "a chain", "answer_start": 10}
QUESTION = {"id": "q1", "question": "What broke?", "answers": [ANSWER], "index": 0}
NO_ANSWER = {
    "id": 7,
    "question": "When?",
    "answers": [],
    "is_impossible": True,
    "plausible_answers": [ANSWER],
}


def document(*questions, **paragraph):
    paragraph = {"context": "Sadly it, a chain, broke.", "qas": list(questions), **paragraph}
    return {"version": "v2.0", "data": [{"title": "Bikes", "paragraphs": [paragraph]}]}


def rows(path, content):
    path.write_text(json.dumps(content), encoding="utf-8")
    return [row for _, row in read_rows(str(path))]


def test_a_row_is_a_question_in_the_shape_of_the_hub(tmp_path):
    first, second = rows(tmp_path / "a.json", document(QUESTION, NO_ANSWER))
    assert first.values == {
        "id": "q1",
        "title": "Bikes",
        "question": "What broke?",
        "context": "Sadly it, a chain, broke.",
        "answers": {"text": ["a chain"], "answer_start": [10]},
    }
    assert second.values["answers"] == {"text": [], "answer_start": []}
    assert second.values["is_impossible"] is True
    assert first.location("a.json") == "a.json, question 1"
    assert (second.line, second.unit) == (2, "question")


def test_questions_are_numbered_through_the_document(tmp_path):
    content = document(QUESTION)
    content["data"] += document(QUESTION, QUESTION)["data"]
    assert [row.line for row in rows(tmp_path / "a.json", content)] == [1, 2, 3]


def test_questions_that_are_still_to_be_answered_have_no_answers(tmp_path):
    (row,) = rows(tmp_path / "a.json", document({"id": "q", "question": "What?"}))
    assert "answers" not in row.values
    assert not row.problem


def test_a_title_may_be_missing(tmp_path):
    content = document(QUESTION)
    del content["data"][0]["title"]
    assert rows(tmp_path / "a.json", content)[0].values["title"] == ""


@pytest.mark.parametrize(
    ("question", "problem"),
    [
        ({"question": "What?", "answers": []}, "a question has no `id`."),
        ({"id": "q", "answers": []}, "a question has no text `question`."),
        ({"id": "q", "question": 3, "answers": []}, "a question has no text `question`."),
        (QUESTION | {"answers": ANSWER}, "`answers` must be a list, not dict."),
        (QUESTION | {"answers": [{"answer_start": 1}]}, "an answer has no text `text`."),
        (QUESTION | {"answers": [{"text": "x"}]}, "an answer has no whole number `answer_start`."),
        (
            QUESTION | {"answers": [{"text": "x", "answer_start": "1"}]},
            "an answer has no whole number `answer_start`.",
        ),
        (QUESTION | {"answers": ["x"]}, "an answer has no text `text`."),
        ("What?", "a question has no `id`."),
    ],
)
def test_what_is_missing_is_a_fault_of_its_question(tmp_path, question, problem):
    bad, good = rows(tmp_path / "a.json", document(question, QUESTION))
    assert bad.problem == problem
    assert (good.line, good.problem) == (2, "")


def test_paragraphs_and_articles_without_questions_are_faults(tmp_path):
    content = document(QUESTION, context=None)
    content["data"] += document(QUESTION, qas=None)["data"]
    content["data"] += [{"title": "no paragraphs"}, "no article", {"paragraphs": ["no paragraph"]}]
    assert [row.problem for row in rows(tmp_path / "a.json", content)] == [
        "a paragraph has no text `context`.",
        "a paragraph has no list `qas`.",
        "an article has no list `paragraphs`.",
        "an article has no list `paragraphs`.",
        "a paragraph has no text `context`.",
    ]


@pytest.mark.parametrize(
    ("name", "n"),
    [
        ("policyqa/train.json", 3809),
        ("policyqa/test.json", 4152),
        ("xquad/en.train.json", 850),
        ("xquad/en.test.json", 340),
        ("xquad/ar.test.json", 340),
        ("xquad/zh.test.json", 340),
    ],
)
def test_published_sets_have_the_rows_of_their_readme(shared, name, n):
    found = [row for _, row in read_rows(str(shared / "data" / name))]
    assert len(found) == n
    assert not any(row.problem for row in found)
    for row in found:
        answers = row.values["answers"]
        for text, start in zip(answers["text"], answers["answer_start"], strict=True):
            assert row.values["context"][start : start + len(text)] == text
