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
