import numpy as np
import pytest

from tunesmith.data.examples import Examples
from tunesmith.encoded import Encoded
from tunesmith.errors import RunError
from tunesmith.evaluation.answered_rows import AnsweredRows, read_answered_rows, row_keys, write_answered_rows
from tunesmith.evaluation.comparing import common_rows, compare_models, primary_by_row
from tunesmith.evaluation.intervals import Method
from tunesmith.evaluation.scoring import Scored
from tunesmith.tasks import TASKS, EvalPredictions

CLASSES, NUMBERS = TASKS.get("text-classification"), TASKS.get("text-regression")
SEVERAL = TASKS.get("multi-label-classification")
METHOD = Method(200, 0.95, 0)


def classified(predicted, gold, labels=("a", "b"), documents=None, texts=None):
    n = len(gold)
    texts = texts or [f"text {i}" for i in range(n)]
    columns = {"text": texts, "label": [labels[i] for i in gold]}
    extra = {} if documents is None else {"doc": documents}
    examples = Examples(columns, ("x.csv",), np.zeros(n, np.int32), np.arange(n), extra=extra)
    encoded = Encoded.of({"input_ids": [[1]] * n}, {"labels": np.asarray(gold)}, n_rows=n)
    logits = np.eye(len(labels), dtype=np.float32)[predicted]
    group_by = None if documents is None else "doc"
    schema = {"labels": list(labels)}
    return Scored(CLASSES, schema, examples, EvalPredictions(columns, encoded, logits), group_by)


def rows_of(predicted, gold, **rest):
    return AnsweredRows.of(
        classified(np.asarray(predicted), np.asarray(gold), **rest), np.arange(1, len(gold))
    )


GOLD = np.random.default_rng(0).integers(0, 2, 300)
WORSE = np.where(np.arange(300) < 60, 1 - GOLD, GOLD)


@pytest.mark.parametrize("documents", [None, [f"d{i // 3}" for i in range(300)]])
def test_what_is_kept_is_what_was_written(tmp_path, documents):
    rows = rows_of(WORSE, GOLD, documents=documents)
    write_answered_rows(tmp_path / "test.npz", rows)
    read = read_answered_rows(tmp_path / "test.npz", CLASSES)
    assert read.label_schema == rows.label_schema
    assert read.intervals(METHOD) == rows.intervals(METHOD)
    assert np.array_equal(read.keys, rows.keys)
    assert read.is_seen.tolist() == [True] + [False] * 299
    assert (read.groups is None) == (documents is None)
    assert read_answered_rows(tmp_path / "none.npz", CLASSES) is None


def test_dense_statistics_are_kept_too(tmp_path):
    columns = {"text": ["a", "b", "c"], "score": [1.0, 2.0, 4.0]}
    encoded = Encoded.of(
        {"input_ids": [[1]] * 3}, {"labels": np.array([[1.0], [2.0], [4.0]], np.float32)}, n_rows=3
    )
    evaluated = EvalPredictions(columns, encoded, np.array([[1.5], [2.0], [3.0]], np.float32))
    examples = Examples(columns, ("x.csv",), np.zeros(3, np.int32), np.arange(3))
    rows = AnsweredRows.of(Scored(NUMBERS, {}, examples, evaluated), np.arange(3))
    write_answered_rows(tmp_path / "test.npz", rows)
    assert np.array_equal(read_answered_rows(tmp_path / "test.npz", NUMBERS).statistics, rows.statistics)


def test_a_key_is_of_everything_that_is_read_and_of_the_true_answer():
    same, other = rows_of([0, 0], [0, 1]), rows_of([1, 0], [0, 0])
    assert same.keys[0] == other.keys[0]
    assert same.keys[1] != other.keys[1]
    arrays = {"text": ["a"], "labels": [np.array(["x", "y"])]}
    lists = {"text": ["a"], "labels": [["x", "y"]]}
    one, two = (
        row_keys(SEVERAL, Examples(columns, ("x",), np.zeros(1, np.int32), np.zeros(1, np.int64)))
        for columns in (arrays, lists)
    )
    assert one == two


def test_rows_are_matched_wherever_they_stand_and_repeated_ones_as_often_as_all_have_them():
    first = rows_of([0] * 5, [0] * 5, texts=["a", "b", "a", "a", "c"])
    second = rows_of([0] * 4, [0] * 4, texts=["c", "a", "x", "a"])
    found = common_rows([first, second])
    assert found[0].tolist() == [0, 2, 4]
    assert found[1].tolist() == [1, 3, 0]


def test_the_best_comes_first_and_all_pairs_are_corrected_together():
    middle = np.where(np.arange(300) < 30, 1 - GOLD, GOLD)
    models = {"worse": rows_of(WORSE, GOLD), "right": rows_of(GOLD, GOLD), "middle": rows_of(middle, GOLD)}
    found = compare_models(models, METHOD)
    assert found.ranking == ("right", "middle", "worse")
    assert set(found.pairs) == {("right", "middle"), ("right", "worse"), ("middle", "worse")}
    assert all(pair.outcome == "better" for pair in found.pairs.values())
    assert found.pairs["right", "worse"].p_holm == pytest.approx(3 * found.pairs["right", "worse"].p)


def test_groups_are_tested_together():
    """Sixty wrong rows are much evidence, and twenty wrong documents of three rows less."""
    documents = [f"d{i // 3}" for i in range(300)]
    alone = compare_models({"a": rows_of(GOLD, GOLD), "b": rows_of(WORSE, GOLD)}, METHOD).pairs["a", "b"]
    grouped = {"a": rows_of(GOLD, GOLD, documents=documents), "b": rows_of(WORSE, GOLD, documents=documents)}
    together = compare_models(grouped, METHOD).pairs["a", "b"]
    assert (alone.test, together.test) == ("mcnemar", "permutation")
    assert alone.p < together.p < 0.001
    assert together.gain.high - together.gain.low > alone.gain.high - alone.gain.low


def test_accuracy_is_compared_between_runs_with_other_labels():
    wider = rows_of(WORSE, GOLD, labels=("a", "b", "c"))
    found = compare_models({"two": rows_of(GOLD, GOLD), "three": wider}, METHOD)
    assert found.pairs["two", "three"].gain.value == pytest.approx(0.2)


def several(labels):
    n = 40
    columns = {"text": [f"t{i}" for i in range(n)], "labels": [["a"]] * n}
    target = np.zeros((n, len(labels)), np.float32)
    target[:, labels.index("a")] = 1
    encoded = Encoded.of({"input_ids": [[1]] * n}, {"labels": target}, n_rows=n)
    schema = {"labels": labels, "thresholds": [0.5] * len(labels)}
    examples = Examples(columns, ("x",), np.zeros(n, np.int32), np.arange(n))
    outputs = 2 * target - 1
    outputs[:5] = 1  # some rows get every label
    evaluated = EvalPredictions(columns, encoded, outputs)
    return AnsweredRows.of(Scored(SEVERAL, schema, examples, evaluated), np.arange(n))


def test_f1_is_not_compared_between_runs_with_other_labels():
    assert compare_models({"one": several(["a", "b"]), "two": several(["a", "b"])}, METHOD).ranking
    with pytest.raises(RunError, match="same labels"):
        compare_models({"one": several(["a", "b"]), "two": several(["a", "c"])}, METHOD)


def test_the_metric_of_one_row():
    assert primary_by_row(rows_of(WORSE, GOLD)).tolist() == (WORSE == GOLD).astype(float).tolist()
