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


def test_the_residual_is_that_of_a_principal_component_analysis(scope):
    from sklearn.decomposition import PCA

    train, new = features(300, 1), features(40, 7)
    pca = PCA(n_components=len(scope.directions), svd_solver="full").fit(train.astype(np.float64))
    left = new - pca.inverse_transform(pca.transform(new))
    share = np.linalg.norm(left, axis=1) / np.linalg.norm(new - pca.mean_, axis=1)
    assert scope.scores(new) * scope.limit == pytest.approx(share, rel=1e-4)


def test_it_is_saved_and_read(scope):
    again = Scope.of_tensors(scope.tensors())
    assert np.array_equal(again.scores(features(9, 8)), scope.scores(features(9, 8)))
    assert Scope.of_tensors({}) is None


def test_nothing_is_said_from_nothing():
    assert Scope.fit(features(5, 1), features(500, 2)) is None
    same = np.ones((50, 4), dtype=np.float32)
    assert Scope.fit(same, same) is None
