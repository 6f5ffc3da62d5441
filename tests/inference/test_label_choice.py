"""Which rows are worth a label: those of which the model is unsure, spread over topics."""

import numpy as np

from tunesmith.inference.label_choice import Worth, choose, typical_rows, unit


def test_a_batch_holds_each_of_several_topics_though_one_has_most_rows():
    rng = np.random.default_rng(0)
    centres = 10 * np.eye(6, dtype=np.float32)
    topics = np.concatenate([np.zeros(300, int), np.repeat(np.arange(1, 6), 10)])
    vectors = (centres[topics] + 0.1 * rng.normal(size=(350, 6))).astype(np.float32)
    unsure = Worth(vectors, np.ones(350))
    assert set(topics[choose(unsure, 35, 0)]) == set(range(6))
    assert set(topics[choose(Worth(vectors), 12, 0)]) == set(range(6))
    assert topics[choose(Worth(vectors), 6, 0)[0]] == 0, "that of the largest cluster comes first"


def test_rows_of_which_the_model_is_sure_are_left_out():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(400, 8)).astype(np.float32)
    unsure = np.where(np.arange(400) < 100, 0.9, 0.01)
    assert (choose(Worth(vectors, unsure), 10, 0) < 100).all()


def test_a_row_weighs_as_much_as_the_model_is_unsure_of_it():
    """The centres are those of scikit-learn's k-means with the same weights."""
    from sklearn.cluster import KMeans

    rng = np.random.default_rng(0)
    centres = np.array([[0, 0], [5, 0], [0, 5]], dtype=np.float32)
    vectors = (np.repeat(centres, [30, 20, 10], axis=0) + 0.5 * rng.normal(size=(60, 2))).astype(np.float32)
    weights = rng.random(60) ** 3
    reference = KMeans(3, n_init=5, random_state=0).fit(vectors, sample_weight=weights)
    expected = reference.transform(vectors).argmin(axis=0)
    assert sorted(typical_rows(vectors, 3, rng, weights).tolist()) == sorted(expected.tolist())


def test_where_nothing_is_said_of_uncertainty_rows_lie_far_from_those_with_labels():
    rng = np.random.default_rng(0)
    near = rng.normal(size=(100, 2)) * 0.01 + [1, 0]
    far = rng.normal(size=(10, 2)) * 0.01 + [0, 1]
    worth = Worth(np.concatenate([near, far]).astype(np.float32))
    labelled = unit(near[:20].astype(np.float32))
    assert all(choose(worth, 1, seed, labelled=labelled)[0] >= 100 for seed in range(5))


def test_the_choice_is_that_of_the_seed_and_never_larger_than_the_pool():
    rng = np.random.default_rng(0)
    worth = Worth(rng.normal(size=(30, 4)).astype(np.float32), np.ones(30))
    assert choose(worth, 10, 1).tolist() == choose(worth, 10, 1).tolist()
    assert choose(worth, 10, 1).tolist() != choose(worth, 10, 2).tolist()
    for known in (worth, Worth(worth.vectors)):
        assert sorted(choose(known, 99, 0).tolist()) == list(range(30))


def test_equal_rows_do_no_harm():
    same = np.ones((12, 3), dtype=np.float32)
    for known in (Worth(same), Worth(same, np.ones(12))):
        assert len(set(choose(known, 5, 0).tolist())) == 5


def test_typical_rows_are_those_next_to_the_centres_of_clusters():
    from sklearn.cluster import KMeans

    rng = np.random.default_rng(0)
    centres = np.array([[0, 0], [5, 0], [0, 5]], dtype=np.float32)
    vectors = (np.repeat(centres, [30, 20, 10], axis=0) + 0.2 * rng.normal(size=(60, 2))).astype(np.float32)
    reference = KMeans(3, n_init=5, random_state=0).fit(vectors)
    expected = reference.transform(vectors).argmin(axis=0)
    assert sorted(typical_rows(vectors, 3, rng).tolist()) == sorted(expected.tolist())
