import json

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import tunesmith
from tunesmith.errors import RunError
from tunesmith.tasks import RowError
from tunesmith.testing.tiny import tiny_rows


@pytest.fixture(scope="module")
def predictor(finished_run):
    return tunesmith.load(finished_run.path)


def test_one_text_and_several(predictor):
    one = predictor("the cat is red")
    assert one["label"] in predictor.label_schema["labels"]
    several = predictor(["the cat is red", "a dog"])
    assert several[0]["score"] == pytest.approx(one["score"], abs=1e-6)


def test_order_is_kept_over_chunks(predictor):
    texts = [row["text"] for row in tiny_rows(50, seed=3)]
    whole = predictor(texts)
    chunked = list(predictor.stream(iter(texts), chunk_rows=7))
    assert [p["label"] for p in chunked] == [p["label"] for p in whole]


def test_stream_reads_only_what_it_needs(predictor):
    def endless():
        while True:
            yield "a cat"

    stream = predictor.stream(endless(), chunk_rows=4)
    assert next(stream)["label"]


@pytest.mark.parametrize(
    "text",
    [
        "🚲🔥",
        "مرحبا بالعالم",
        "x" * 5000,
        "a " * 500,
        "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
    ],
)
def test_odd_texts_have_answers(predictor, text):
    assert 0 <= predictor(text)["score"] <= 1


def test_a_text_that_is_cut_says_so(predictor):
    assert predictor("a " * 500)["truncated"] is True
    assert "truncated" not in predictor("a cat")


@pytest.mark.parametrize("text", ["", "   ", None, 3])
def test_what_is_no_text_is_refused(predictor, text):
    with pytest.raises(RowError):
        predictor([text] if text is None or isinstance(text, int) else text)


def test_an_unknown_column_is_refused(predictor):
    with pytest.raises(RowError, match="`txt` is not a column"):
        predictor({"txt": "a cat"})


def test_no_run(tmp_path):
    with pytest.raises(RunError, match="is not there"):
        tunesmith.load(tmp_path / "nothing")


TEXTS = ["the cat is red", "a dog", "blue"]
HELD = {
    "array": np.array(TEXTS),
    "series": pd.Series(TEXTS, index=[3, 1, 2], name="anything"),
    "generator": (text for text in TEXTS),
    "frame": pd.DataFrame({"id": [1, 2, 3], "text": TEXTS}),
    "columns": {"text": TEXTS, "label": ["x", "y", "z"]},
    "rows": [{"text": text, "label": None} for text in TEXTS],
    "dataset": datasets.Dataset.from_dict({"text": TEXTS}),
    "table": pa.table({"text": TEXTS}),
}


@pytest.mark.parametrize("kind", HELD)
def test_whatever_holds_the_texts_the_answers_are_the_same(predictor, kind):
    assert predictor(HELD[kind]) == predictor(TEXTS)


def test_a_file_is_a_path(predictor, tmp_path):
    file = tmp_path / "texts.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    assert predictor(file) == predictor(TEXTS)
    assert [answer["label"] for answer in predictor([file, file])] == [
        a["label"] for a in predictor(TEXTS)
    ] * 2
    with pytest.raises(RowError, match=r"is a file; for its rows, give `Path\("):
        predictor(str(file))
    with pytest.raises(RowError, match="is a file"):
        predictor([str(file)])


def test_columns_of_the_training_are_those_of_a_row(finished_run):
    from tunesmith.inference.predictor import Predictor
    from tunesmith.models.loading import load_trained
    from tunesmith.models.resolve import resolve_model
    from tunesmith.tasks import TASKS

    task = TASKS.get("text-classification")
    loaded = load_trained(resolve_model(str(finished_run.model)), task)
    renamed = Predictor(task, loaded, columns=[{"text": "body", "label": "intent"}])
    expected = renamed({"text": "a cat"})
    assert renamed({"body": "a cat"}) == renamed({"body": "a cat", "intent": "x", "id": 3}) == expected
    assert renamed(pd.DataFrame({"body": ["a cat"], "text": ["a dog"]})) == [expected]
    with pytest.raises(RowError, match="`title` is not a column"):
        renamed({"title": "a cat"})


def test_labels_and_the_best_of_them(predictor):
    assert predictor.labels == ["animal", "colour"]
    assert predictor("a cat").keys() == {"label", "score", "out_of_scope"}
    answer = predictor("a cat", top_k=2)
    assert [item["label"] for item in answer["top"]] in (["animal", "colour"], ["colour", "animal"])
    assert answer["top"][0] == {"label": answer["label"], "score": answer["score"]}
    assert predictor("a cat", top_k=None) == answer
    assert sum(item["score"] for item in answer["top"]) == pytest.approx(1)


def test_it_says_what_it_is(predictor, finished_run):
    assert repr(predictor) == (
        f"<Predictor {finished_run.path}: text-classification, 2 labels, up to {predictor.max_length} tokens>"
    )
    assert "2 labels: animal, colour" in predictor._repr_html_()


def test_the_position_of_a_wrong_text_is_named(predictor):
    with pytest.raises(RowError, match="row 2 of the list: no text"):
        predictor(["a", "b", None])
    with pytest.raises(RowError, match="got int"):
        predictor(3)


def test_a_row_that_has_no_answer_is_named_too(predictor, monkeypatch):
    """Some rows can be read, and are refused when they are computed: a text without a mask."""
    decode = type(predictor.task).decode

    def strict(task, evaluated, label_schema):
        if any(text == "blue" for text in evaluated.columns["text"]):
            raise RowError("blue is no answer.")
        return decode(task, evaluated, label_schema)

    monkeypatch.setattr(type(predictor.task), "decode", strict)
    with pytest.raises(RowError, match="row 4 of the DataFrame: blue is no answer"):
        list(predictor.stream(pd.DataFrame({"text": ["a cat"] * 4 + ["blue"]}), chunk_rows=3))
