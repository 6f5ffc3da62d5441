import numpy as np
from sklearn.metrics.pairwise import cosine_similarity

from tunesmith.evaluation.neighbours import TrainingVectors
from tunesmith.testing.answered import random_rows


def vectors_of(n, d=8, seed=0):
    rng = np.random.default_rng(seed)
    rows = random_rows(n, rng, right=1.0)
    return TrainingVectors.of(rng.normal(size=(n, d)).astype(np.float32), rows.examples, rows.gold)


def test_the_nearest_rows_are_those_of_the_greatest_cosine():
    training, asked = vectors_of(300), np.random.default_rng(1).normal(size=(1200, 8)).astype(np.float32)
    numbers, cosines = training.nearest(asked, 4)
    expected = cosine_similarity(asked, training.vectors)
    assert np.array_equal(numbers, np.argsort(-expected, axis=1)[:, :4])
    assert np.allclose(cosines, np.sort(expected, axis=1)[:, ::-1][:, :4], atol=1e-5)
    assert training.rows[0] == "test.csv:2"
    assert training.texts[0]


def test_a_file_keeps_vectors_and_labels_and_no_texts(tmp_path):
    training = vectors_of(300)
    training.save(tmp_path)
    (path,) = tmp_path.iterdir()
    again = TrainingVectors.load(tmp_path)
    assert (list(again.rows), list(again.gold)) == (training.rows, training.gold)
    assert not again.texts
    assert training.texts[0].encode() not in path.read_bytes()
    assert np.allclose(again.unit, training.unit, atol=1e-3)
    assert TrainingVectors.load(tmp_path / "absent") is None


def test_of_many_rows_as_many_are_kept_as_fit(tmp_path):
    training = vectors_of(5000, d=1024)
    training.save(tmp_path)
    (path,) = tmp_path.iterdir()
    assert 0.9 * 2**23 < path.stat().st_size < 1.1 * 2**23
    assert len(TrainingVectors.load(tmp_path).rows) == 4096


def test_fewer_rows_than_neighbours():
    numbers, cosines = vectors_of(3).nearest(np.ones((2, 8), np.float32), 10)
    assert numbers.shape == cosines.shape == (2, 3)
