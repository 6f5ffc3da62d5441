import numpy as np
import pytest

from tunesmith.inference.scope import Scope


def features(n, seed, *, directions=3, d=32):
    """Texts that differ in a few directions, and a little in all others."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(d, d)))[0][:directions]
    return (5 + rng.normal(size=(n, directions)) @ basis + 0.05 * rng.normal(size=(n, d))).astype(np.float32)


@pytest.fixture
def scope():
    return Scope.fit(features(300, 1), features(500, 2))


def test_texts_like_those_of_training_are_in_scope(scope):
    assert 0.001 < (scope.scores(features(5000, 3)) > 1).mean() < 0.03
    assert (scope.scores(features(500, 2)) > 1).sum() <= 5


def test_texts_in_other_directions_are_not(scope):
    other = features(200, 4) + np.random.default_rng(5).normal(size=(200, 32)).astype(np.float32)
    assert (scope.scores(other) > 1).mean() > 0.95


def test_the_distance_is_that_of_mahalanobis_with_a_shrunk_covariance(scope):
    from sklearn.covariance import shrunk_covariance

    train, new = features(300, 1).astype(np.float64), features(40, 7).astype(np.float64)
    unit = lambda x: (x - train.mean(0)) / np.linalg.norm(x - train.mean(0), axis=1, keepdims=True)  # noqa: E731
    covariance = shrunk_covariance(unit(train).T @ unit(train) / 300, shrinkage=0.3)
    away = unit(new)
    squared = np.einsum("ij,jk,ik->i", away, np.linalg.inv(covariance), away)
    expected = np.sqrt(squared * np.linalg.eigvalsh(covariance)[0])
    found = scope.scores(new) * scope.limit
    assert found / found[0] == pytest.approx(
        expected / expected[0], rel=0.02
    )  # the weakest directions count alike


def test_of_many_directions_the_strongest_are_kept():
    many = Scope.fit(features(400, 1, directions=140, d=150), features(400, 2, directions=140, d=150))
    assert many.directions.shape == (100, 150)
    lengths = np.linalg.norm(many.directions, axis=1)
    assert (np.diff(lengths) <= 1e-6).all()
    assert lengths.max() < 1


def test_it_is_saved_and_read(scope):
    again = Scope.of_tensors(scope.tensors())
    assert np.array_equal(again.scores(features(9, 8)), scope.scores(features(9, 8)))
    assert Scope.of_tensors({}) is None


def test_nothing_is_said_from_nothing():
    assert Scope.fit(features(5, 1), features(500, 2)) is None
    same = np.ones((50, 4), dtype=np.float32)
    assert Scope.fit(same, same) is None
