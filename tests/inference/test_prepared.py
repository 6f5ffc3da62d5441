"""Rows that are joined and parted give the answers that they give alone."""

import numpy as np
import pytest

from tunesmith import load
from tunesmith.inference.prepared import Prepared


@pytest.fixture(scope="module")
def predictor(finished_run):
    return load(finished_run)


def test_parts_of_several_chunks_answer_as_alone(predictor):
    texts = ["the cat", "a red dog " * 30, "blue", "old is the small bird", "green " * 5]
    rows = [predictor.read(text) for text in texts]
    first, second = predictor.prepare(rows[:3]), predictor.prepare(rows[3:])
    joined = Prepared.join([first.take(np.array([0, 2])), second])
    found = predictor.complete(joined)
    for text, answer in zip([texts[i] for i in (0, 2, 3, 4)], found, strict=True):
        expected = predictor(text)
        assert answer["label"] == expected["label"]
        assert answer["score"] == pytest.approx(expected["score"], abs=1e-5)
    assert predictor.complete(first)[1]["truncated"] is True


def test_sizes_are_those_of_the_sequences(predictor):
    prepared = predictor.prepare([predictor.read(text) for text in ("the cat", "a red dog " * 30)])
    assert prepared.tokens.tolist() == [4, 92]
    assert prepared.read.tolist() == [4, 64]
    assert prepared.size_of(1) == (64, 1, 64)
    assert prepared.costs.sum() == prepared.encoded.lengths.sum()
    assert len(prepared.take(np.array([1]))) == 1


def test_the_name_of_a_file_is_a_text_only_where_it_is_said(predictor, tmp_path):
    from tunesmith import RowError

    file = tmp_path / "a.csv"
    file.write_text("text\n")
    assert predictor.read(str(file)) == {"text": str(file)}
    with pytest.raises(RowError, match="is a file"):
        predictor(str(file))
