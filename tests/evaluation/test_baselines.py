import numpy as np
import pytest

from tunesmith.encoded import Encoded
from tunesmith.errors import UnknownNameError
from tunesmith.evaluation.baselines import BASELINES, TrainingRows, own_statistics
from tunesmith.evaluation.baselines._tfidf import joined_texts
from tunesmith.tasks import TASKS, EvalPredictions, point_scores
from tunesmith.testing.tiny import tiny_rows


def rows(n, seed):
    found = tiny_rows(n, seed=seed)
    return [row["text"] for row in found], np.array([int(row["label"] == "colour") for row in found])


def training(texts, labels, k):
    return TrainingRows({"text": texts}, labels, ("text", "text_pair"), k)


def evaluated(texts):
    return EvalPredictions({"text": texts}, Encoded.of({"input_ids": [[1]] * len(texts)}))


def answered_by(name, train, evaluated):
    return BASELINES.get(name).answer(train, evaluated)


def test_majority_is_the_most_frequent_label():
    train = training(["a"] * 5, np.array([2, 0, 2, 1, 2]), 4)
    assert answered_by("majority", train, evaluated(["x", "y"])).outputs.argmax(-1).tolist() == [2, 2]


def test_all_frequent_gives_each_label_that_most_rows_have():
    labels = np.array([[1, 0, 1], [1, 0, 0], [1, 1, 1]], dtype=np.float32)
    answered = answered_by("all_frequent", training(["a"] * 3, labels, 3), evaluated(["x", "y"]))
    assert (answered.outputs > 0).tolist() == [[True, False, True]] * 2


def test_all_frequent_always_gives_one():
    labels = np.eye(4, dtype=np.float32)[[0, 1, 1, 2, 3]]
    answered = answered_by("all_frequent", training(["a"] * 5, labels, 4), evaluated(["x"]))
    assert (answered.outputs > 0).tolist() == [[False, True, False, False]]


def test_mean_is_the_mean():
    labels = np.array([[1.0, 9.0], [2.0, 9.0], [6.0, 9.0]], dtype=np.float32)
    assert answered_by("mean", training(["a"] * 3, labels, 1), evaluated(["x", "y"])).outputs.tolist() == [
        [3.0],
        [3.0],
    ]


def test_tfidf_learns_and_converges():
    texts, labels = rows(300, 1)
    other, gold = rows(100, 2)
    predicted = answered_by(
        "tfidf_logistic_regression", training(texts, labels, 2), evaluated(other)
    ).outputs.argmax(-1)
    assert (predicted == gold).mean() > 0.9


@pytest.mark.parametrize(
    ("one", "other"),
    [("我喜欢红色的猫。", "我喜欢大的狗。"), ("लाल बिल्ली", "बड़ा कुत्ता"), ("แมวสีแดง", "หมาตัวใหญ่")],
)
def test_tfidf_reads_scripts_without_blanks_and_with_marks(one, other):
    texts = [f"{text} {filler}" for text in (one, other) for filler in "uvwxyz"]
    labels = np.array([0] * 6 + [1] * 6)
    new = [one[: len(one) // 2], other[len(other) // 2 :]]
    logits = answered_by("tfidf_logistic_regression", training(texts, labels, 2), evaluated(new)).outputs
    assert logits.argmax(-1).tolist() == [0, 1]
    assert np.abs(logits[:, 0] - logits[:, 1]).min() > 1


def test_tfidf_never_predicts_a_class_without_rows():
    texts, labels = rows(60, 1)
    logits = answered_by(
        "tfidf_logistic_regression", training(texts, labels * 2, 3), evaluated(texts)
    ).outputs
    assert set(logits.argmax(-1).tolist()) <= {0, 2}


def test_tfidf_learns_every_label_of_several():
    texts, labels = rows(300, 1)
    other, gold = rows(100, 2)
    # The third label every row has, the fourth none.
    several = np.stack([labels, 1 - labels, np.ones_like(labels), 0 * labels], axis=1).astype(np.float32)
    on = answered_by("tfidf_logistic_regression", training(texts, several, 4), evaluated(other)).outputs > 0
    assert (on[:, 0] == gold).mean() > 0.9
    assert (on[:, 1] == 1 - gold).mean() > 0.9
    assert on[:, 2].all()
    assert not on[:, 3].any()


def test_ridge_learns_a_number():
    texts, labels = rows(300, 1)
    other, gold = rows(100, 2)
    numbers = np.stack([20.0 + 10.0 * labels, np.full(300, 5.0)], axis=1).astype(np.float32)
    predicted = answered_by("tfidf_ridge", training(texts, numbers, 1), evaluated(other)).outputs
    assert predicted.shape == (100, 1)
    assert np.corrcoef(predicted[:, 0], gold)[0, 1] > 0.8
    assert predicted.mean() == pytest.approx(20.0 + 10.0 * gold.mean(), abs=1.0)


def test_pairs_are_joined():
    columns = {"text": ["a"], "text_pair": ["b"], "label": ["c"]}
    assert joined_texts(columns, ("text", "text_pair")) == ["a\nb"]
    assert joined_texts({"text": ["a"], "label": ["c"]}, ("text", "text_pair")) == ["a"]


def test_the_source_and_its_first_sentence():
    train = training(["never read"], np.empty(0), 0)
    texts = ["One came. Two left!", "No stop at all", "Ja? Nein.", "これは文。次。 終わり", "3.5 mm. Next."]
    assert answered_by("copy_source", train, evaluated(texts)).texts == texts
    assert answered_by("first_sentence", train, evaluated(texts)).texts == [
        "One came.", "No stop at all", "Ja?", "これは文。", "3.5 mm.",
    ]  # fmt: skip


MULTI = TASKS.get("multi-label-classification")
TARGETS = {"labels": ["a", "b", "c"]}


def answered(labels, noise, shift, seed=0):
    """Logits that tell labels well, all moved by `shift`: 0.5 is a bad threshold for them."""
    rng = np.random.default_rng(seed)
    logits = 4 * (labels - 0.5) + rng.normal(scale=noise, size=labels.shape) + shift
    encoded = Encoded.of({"input_ids": [[1]] * len(labels)}, {"labels": labels.astype(np.float32)})
    return EvalPredictions({"text": ["x"] * len(labels)}, encoded, logits.astype(np.float32))


@pytest.fixture
def labels():
    return (np.random.default_rng(1).random((300, 3)) < [0.5, 0.3, 0.1]).astype(np.float32)


def test_each_has_thresholds_of_its_own_whatever_those_of_the_model_are(labels):
    for shift in (-5.0, 0.0, 5.0):
        final, validation = (answered(labels, 1.0, shift, seed) for seed in (2, 3))
        found = own_statistics(MULTI, final, lambda evaluated=validation: evaluated, TARGETS).scores()
        assert found["f1_micro"] > 0.9
        fitted = MULTI.thresholds.fit(validation, TARGETS)
        assert found == point_scores(MULTI, final, fitted)


def test_thresholds_never_come_from_the_rows_that_count(labels):
    validation = answered(labels, 1.0, 3.0)
    fitted = MULTI.thresholds.fit(validation, TARGETS)
    other = answered(1 - labels, 1.0, -3.0)
    assert own_statistics(MULTI, other, lambda: validation, TARGETS).scores() == point_scores(
        MULTI, other, fitted
    )


def test_the_same_answer_for_every_row_is_not_made_worse_by_thresholds():
    rng = np.random.default_rng(0)
    labels = (rng.random((400, 3)) < [0.6, 0.05, 0.05]).astype(np.float32)
    evaluated = answered_by("all_frequent", training(["a"] * 400, labels, 3), answered(labels, 1.0, 0.0))
    found = own_statistics(MULTI, evaluated, lambda: evaluated, TARGETS).scores()
    assert found["recall_micro"] < 1.0  # not each label for each row
    assert found == point_scores(MULTI, evaluated, TARGETS)


def test_tfidf_learns_once_and_answers_twice(monkeypatch):
    from sklearn.linear_model import LogisticRegression

    fits = []
    fit = LogisticRegression.fit
    monkeypatch.setattr(LogisticRegression, "fit", lambda self, *rest: fits.append(1) or fit(self, *rest))
    texts, labels = rows(60, 1)
    train = training(texts, labels, 2)
    one, other = (answered_by("tfidf_logistic_regression", train, evaluated(texts)).outputs for _ in range(2))
    assert len(fits) == 1
    assert np.array_equal(one, other)


def test_every_file_is_a_baseline_with_a_label():
    assert {"majority", "probe", "base_model"} <= set(BASELINES.names())
    for name in BASELINES.names():
        assert BASELINES.get(name).label


def test_what_needs_the_model_is_computed_elsewhere():
    elsewhere = {name for name in BASELINES.names() if BASELINES.get(name).answer is None}
    assert elsewhere == {"base_model", "probe"}


def test_an_unknown_name_teaches():
    with pytest.raises(UnknownNameError, match=r"not a baseline.*\n.*Did you mean `majority`"):
        BASELINES.get("majorty")


QUESTIONS = {
    "question": ["When does the shop close?", "Who repairs them?"],
    "context": ["We sell bikes. The shop closes at six. Ann repairs them."] * 2,
    "answers": [[{"text": "at six", "start": 32}], [{"text": "Ann", "start": 40}]],
}


def test_the_nearest_sentence_has_the_words_of_the_question():
    train = TrainingRows(QUESTIONS, np.zeros(2), ("question", "context"), 0)
    rows = EvalPredictions(QUESTIONS, Encoded.of({"input_ids": [[1]] * 2}, n_rows=2))
    answered = answered_by("nearest_sentence", train, rows)
    assert answered.texts == ["The shop closes at six.", "Ann repairs them."]
    task = TASKS.get("question-answering")
    found = own_statistics(task, answered, lambda: answered, {"has_unanswerable": True, "longest_answer": 99})
    assert found.scores()["exact_match"] == 0
    assert 0.4 < found.scores()["f1"] < 0.7


def test_where_most_questions_have_no_answer_none_is_given():
    train = TrainingRows({**QUESTIONS, "answers": [[], []]}, np.zeros(2), ("question", "context"), 0)
    rows = EvalPredictions(QUESTIONS, Encoded.of({"input_ids": [[1]] * 2}, n_rows=2))
    assert answered_by("nearest_sentence", train, rows).texts == ["", ""]
