"""SQuAD 1.1 and 2.0 within JSON: articles of paragraphs of questions (rajpurkar.github.io/SQuAD-explorer).

A row is one question, in the shape of the Hub's `squad`. If a file has no answers (for questions that are to be
answered), they stay missing, for the task to handle.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tunesmith.data.formats import Row

if TYPE_CHECKING:
    from tunesmith.types import JsonObject


def is_squad(document: object) -> bool:
    """Whether a JSON document is `{"data": [{"paragraphs": …}, …]}`."""
    articles = document.get("data") if isinstance(document, dict) else None
    first = articles[0] if isinstance(articles, list) and articles else None
    return isinstance(first, dict) and "paragraphs" in first


def squad_rows(document: JsonObject) -> Iterator[Row]:
    """One row for each question, numbered through the document; a part without questions is an invalid row."""
    for number, question in enumerate(_questions(document["data"]), start=1):
        try:
            yield Row(number, _values(*question), unit="question")
        except _FaultError as problem:
            yield Row(number, problem=str(problem), unit="question")


class _FaultError(Exception):
    """Why a question cannot be read."""


def _questions(articles: list[object]) -> Iterator[tuple[object, object, object]]:
    for article in articles:
        for paragraph in _children(article, "paragraphs"):
            for question in _children(paragraph, "qas"):
                yield article, paragraph, question


def _children(node: object, key: str) -> list[object]:
    """The list in a node under a key; a list of one None if there is none, which becomes an invalid row."""
    children = node.get(key) if isinstance(node, dict) else None
    return children if isinstance(children, list) else [None]


def _values(article: object, paragraph: Any, question: Any) -> JsonObject:
    if not isinstance(article, dict) or not isinstance(article.get("paragraphs"), list):
        raise _FaultError("an article has no list `paragraphs`.")
    context = _text(paragraph, "context", "a paragraph")
    if not isinstance(paragraph.get("qas"), list):
        raise _FaultError("a paragraph has no list `qas`.")
    values = {
        "id": _there(question, "id"),
        "title": article.get("title", ""),
        "question": _text(question, "question", "a question"),
        "context": context,
    }
    if "answers" in question:
        values["answers"] = _answers(question["answers"])
    if "is_impossible" in question:
        values["is_impossible"] = question["is_impossible"]
    return values


def _answers(answers: object) -> JsonObject:
    if not isinstance(answers, list):
        raise _FaultError(f"`answers` must be a list, not {type(answers).__name__}.")
    texts = [_text(answer, "text", "an answer") for answer in answers]
    starts = [answer.get("answer_start") for answer in answers]
    if not all(type(start) is int for start in starts):
        raise _FaultError("an answer has no whole number `answer_start`.")
    return {"text": texts, "answer_start": starts}


def _there(question: object, key: str) -> object:
    if not isinstance(question, dict) or question.get(key) is None:
        raise _FaultError(f"a question has no `{key}`.")
    return question[key]


def _text(node: object, key: str, kind: str) -> str:
    value = node.get(key) if isinstance(node, dict) else None
    if not isinstance(value, str):
        raise _FaultError(f"{kind} has no text `{key}`.")
    return value
