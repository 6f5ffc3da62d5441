"""What each statistic says of windows whose truth is known."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from tunesmith.encoded import Ragged
from tunesmith.monitoring.observed import Observed
from tunesmith.monitoring.reading import with_texts
from tunesmith.monitoring.reference import Reference
from tunesmith.monitoring.statistics import STATISTICS, Compared, NotMeasurable
from tunesmith.monitoring.statistics._shares import exact_interval
from tunesmith.monitoring.statistics.estimated_accuracy import estimates
from tunesmith.monitoring.statistics.label_shift import shares_of_labels
from tunesmith.monitoring.statistics.out_of_scope import groups_of
from tunesmith.monitoring.statistics.real_accuracy import always_valid_interval, log_evidence
from tunesmith.monitoring.texts import Vocabulary

LEVEL = 2e-4
SUBJECTS = ("the chain", "my saddle", "a wheel", "the brake", "this pump")
VERBS = ("squeaks", "is loose", "needs a new part", "was delivered late", "works well")
LABELS = ("praise", "repair", "order")


def rows(n, seed, *, known=True, new=0, accuracy=0.9):
    """Rows of a shop for bicycles; the first `new` of them are about something else."""
    rng = np.random.default_rng(seed)
    texts = [
        f"I write because {rng.choice(SUBJECTS)} {rng.choice(VERBS)}, and that since day {rng.integers(1, 30)}"
        for _ in range(n)
    ]
    texts[:new] = [f"la guitarra suena muy bien desde el martes y la cuerda {i} es nueva" for i in range(new)]
    vectors = rng.standard_normal((n, 8)).astype(np.float32)
    vectors[:new] += np.array([4, 0, 0, 0, 0, 0, 0, 0], dtype=np.float32)
    gold = rng.choice(3, n, p=[0.5, 0.3, 0.2])
    right = rng.random(n) < accuracy
    answers = np.where(right, gold, (gold + 1) % 3)
    numbers = {
        "score": np.clip(0.9 + 0.1 * rng.standard_normal(n) - 0.3 * (np.arange(n) < new), 0, 1),
        "tokens": np.array([float(len(text.split())) for text in texts]),
        "out_of_scope": (np.arange(n) < new).astype(float),
        "abstained": (rng.random(n) < 0.05).astype(float),
    }
    if known:
        numbers |= {"correct": right.astype(float), "gold": gold.astype(float)}
    return Observed(n, numbers, vectors, answers=Ragged.of([[code] for code in answers]), texts=texts)


@pytest.fixture(scope="module")
def reference():
    held_out = rows(400, 0)
    vocabulary = Vocabulary.of(rows(600, 1).texts)
    held_out = dataclasses.replace(with_texts(held_out, held_out.texts, vocabulary), texts=())
    return Reference(held_out, LABELS, vocabulary, "text-classification", "test")


def compared(reference, window, **how):
    if window.texts:
        window = with_texts(window, window.texts, reference.vocabulary)
    return Compared(reference, window, level=LEVEL, **how)


def test_every_statistic_is_quiet_on_rows_like_the_reference(reference):
    same = compared(reference, rows(200, 7))
    for name in STATISTICS.names():
        measured = STATISTICS.get(name).measure(same)
        assert (measured.p is None) == (not STATISTICS.get(name).tested)
        assert measured.p is None or measured.p > LEVEL, name
        assert measured.text


def test_every_statistic_of_the_texts_alarms_on_other_texts(reference):
    other = compared(reference, rows(200, 8, new=60))
    for name in ("input_drift", "language", "length", "out_of_scope", "unknown_words", "estimated_accuracy"):
        assert STATISTICS.get(name).measure(other).p <= LEVEL, name


def test_drift_is_explained_by_rows_words_and_an_auc(reference):
    other = compared(reference, rows(200, 8, new=60))
    found = STATISTICS.get("input_drift").explain(other)
    assert found["auc"] > 0.6
    assert all("guitarra" in row["text"] for row in found["rows"])
    assert {"la", "guitarra"} & {word["word"] for word in found["more_frequent"]}
    words = STATISTICS.get("unknown_words").explain(other)["new_words"]
    assert words[0]["texts"] == 60


def test_words_alone_show_drift_where_a_model_has_no_vectors(reference):
    bare = dataclasses.replace(reference, rows=dataclasses.replace(reference.rows, vectors=None))
    assert STATISTICS.get("input_drift").measure(compared(bare, rows(200, 8, new=60))).p <= LEVEL


def test_what_is_not_there_is_said_and_not_guessed(reference):
    hashed = dataclasses.replace(rows(200, 9, known=False), vectors=None, texts=())
    with pytest.raises(NotMeasurable, match="the texts are not at hand"):
        STATISTICS.get("input_drift").measure(compared(reference, hashed))
    with pytest.raises(NotMeasurable, match="no row has a true label"):
        STATISTICS.get("real_accuracy").measure(compared(reference, hashed))
    with pytest.raises(NotMeasurable, match="20 rows of the window have it"):
        STATISTICS.get("length").measure(compared(reference, rows(20, 9)))


def test_answers_that_move_are_an_alarm_and_the_label_shift_is_estimated(reference):
    rng = np.random.default_rng(3)
    gold = rng.choice(3, 500, p=[0.2, 0.3, 0.5])
    answers = np.where(rng.random(500) < 0.9, gold, (gold + 1) % 3)
    window = Observed(500, answers=Ragged.of([[code] for code in answers]))
    assert STATISTICS.get("output_drift").measure(compared(reference, window)).p <= LEVEL
    shares = STATISTICS.get("label_shift").measure(compared(reference, window)).details["shares"]
    for code, label in enumerate(LABELS):
        assert shares[label]["low"] <= (gold == code).mean() <= shares[label]["high"], label


def test_an_answer_that_the_reference_does_not_know_counts_as_another_label(reference):
    window = Observed(100, answers=Ragged.of([[3]] * 100))
    measured = STATISTICS.get("output_drift").measure(compared(reference, window))
    assert measured.p <= LEVEL
    assert measured.details["shares"] == {"other labels": 1.0}


def test_shares_of_labels_are_those_of_the_inverse_confusion_matrix():
    rng = np.random.default_rng(0)
    gold = rng.integers(0, 2, 4000)
    answered = np.where(rng.random(4000) < 0.8, gold, 1 - gold)
    window = (rng.random(1000) < 0.35).astype(np.int64)
    table = np.array([[(answered[gold == j] == i).mean() for j in (0, 1)] for i in (0, 1)])
    exact = np.linalg.solve(table, np.bincount(window) / 1000)
    assert shares_of_labels(gold, answered, window, 2) == pytest.approx(exact, abs=1e-9)
    # Shares that would be negative are none.
    assert shares_of_labels(gold, answered, np.zeros(100, dtype=np.int64), 2) == pytest.approx([1, 0])


def test_the_three_estimates_of_the_accuracy_are_what_they_are_called():
    rng = np.random.default_rng(1)
    scores = rng.beta(5, 2, 3000)
    right = (rng.random(3000) < scores).astype(float)
    window = rng.beta(4, 3, 3000)
    found = estimates(scores, right, window)
    assert found["average_confidence"] == pytest.approx(window.mean())
    assert found["difference_of_confidences"] == pytest.approx(right.mean() + window.mean() - scores.mean())
    above = np.sort(scores)[::-1][round(right.mean() * 3000) - 1]
    assert found["average_thresholded_confidence"] == pytest.approx((window >= above).mean(), abs=2e-3)
    # On rows of the same source, the estimate is the accuracy.
    assert estimates(scores, right, scores)["estimate"] == pytest.approx(right.mean(), abs=2e-3)


@pytest.mark.parametrize(("n", "of"), [(0, 20), (3, 20), (20, 20), (180, 200)])
def test_intervals_of_shares_are_those_of_clopper_and_pearson(n, of):
    exact = stats.binomtest(n, of).proportion_ci(0.95, "exact")
    assert exact_interval(n, of, 0.95) == pytest.approx((exact.low, exact.high))


def test_evidence_is_rarely_large_where_the_accuracy_has_not_fallen():
    """Ville: of 150 sequences of 20 windows, watched at every window, at most 5 % reach 1 / 0.05."""
    rng, reached = np.random.default_rng(0), 0
    for _ in range(150):
        windows = [(rng.random(50) < 0.8).astype(float) for _ in range(20)]
        reached += any(log_evidence(windows[:t], 0.8)[0] >= np.log(20) for t in range(1, 21))
    assert reached <= stats.binom.ppf(0.999, 150, 0.05)


def test_evidence_grows_where_the_accuracy_falls_and_names_the_window():
    rng = np.random.default_rng(1)
    windows = [(rng.random(100) < (0.9 if i < 10 else 0.7)).astype(float) for i in range(14)]
    evidence, since = log_evidence(windows, 0.9)
    assert evidence > np.log(1 / LEVEL)
    assert abs(since - 11) <= 1
    better = [(rng.random(100) < 0.97).astype(float) for _ in range(14)]
    assert log_evidence(better, 0.9)[0] < 0


def test_evidence_is_the_integral_that_it_is_called():
    from scipy.integrate import quad

    right, wrong, bound = 12, 8, 0.75
    ratio = quad(lambda q: (q**right * (1 - q) ** wrong) / (bound**right * (1 - bound) ** wrong), 0, bound)[0]
    mixture = 0.5 * ratio / bound + 0.5
    window = np.array([1.0] * right + [0.0] * wrong)
    assert log_evidence([window], bound)[0] == pytest.approx(np.log(mixture), rel=1e-6)


def test_always_valid_bounds_hold_at_all_times_together():
    rng, missed = np.random.default_rng(2), 0
    for _ in range(80):
        right = np.cumsum(rng.random(400) < 0.85)
        bounds = [always_valid_interval(int(right[t - 1]), t, 0.95) for t in range(10, 401, 20)]
        missed += any(not low <= 0.85 <= high for low, high in bounds)
    assert missed <= stats.binom.ppf(0.999, 80, 0.05)


def test_feedback_alarms_where_answers_became_wrong_and_says_since_when(reference):
    earlier = [rows(100, seed) for seed in (20, 21, 22)]
    wrong = rows(300, 23, accuracy=0.6)
    measured = STATISTICS.get("real_accuracy").measure(compared(reference, wrong, earlier=earlier))
    assert measured.p <= LEVEL
    assert measured.details["since_window"] == 4
    assert measured.details["all_labels"] == 600
    good = STATISTICS.get("real_accuracy").measure(compared(reference, rows(300, 24), earlier=earlier))
    assert good.p > 0.05


def test_adwin_of_river_sees_the_window_of_a_change(reference):
    pytest.importorskip("river")
    earlier = [rows(300, seed) for seed in (30, 31)]
    measured = STATISTICS.get("real_accuracy").measure(
        compared(reference, rows(300, 32, accuracy=0.4), earlier=earlier)
    )
    assert measured.details["changes"] == [3]


def test_texts_out_of_scope_fall_into_groups_with_examples_and_words(reference):
    windows = [
        with_texts(it, it.texts, reference.vocabulary) for it in (rows(100, 40, new=20), rows(100, 41))
    ]
    found = STATISTICS.get("out_of_scope").conclude(reference, windows)
    assert found["rows"] == 20
    assert found["groups"][0]["rows"] >= 15
    assert "guitarra" in found["groups"][0]["examples"][0]["text"]
    assert "guitarra" in found["groups"][0]["words"]


def test_groups_are_near_vectors_the_largest_first():
    rng = np.random.default_rng(0)
    centres = 5 * np.eye(6)[:3]
    sizes = (8, 30, 12)
    vectors = np.concatenate(
        [c + 0.3 * rng.standard_normal((n, 6)) for c, n in zip(centres, sizes, strict=True)]
    )
    assert [len(group) for group in groups_of(vectors)] == [30, 12, 8]
    assert groups_of(np.eye(20)) == []
