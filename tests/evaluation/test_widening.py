"""A model's answers among more labels than it knows."""

import numpy as np
import pytest

from tunesmith.encoded import Encoded, Ragged
from tunesmith.errors import RunError
from tunesmith.evaluation.widening import widened, widened_schema
from tunesmith.metrics import total
from tunesmith.tasks import TASKS, EvalPredictions

OWN, WIDER = {"labels": ["a", "c"]}, {"labels": ["a", "b", "c"]}


def predictions(outputs, **dense):
    sequences = {"input_ids": [[1]] * len(outputs)}
    return EvalPredictions({}, Encoded.of(sequences, dense), outputs)


def test_a_classifier_never_answers_what_it_does_not_know():
    task = TASKS.get("text-classification")
    evaluated = predictions(np.array([[2.0, 1.0], [0.0, 3.0], [-5.0, -6.0]]), labels=np.array([0, 1, 1]))
    found = widened(task, evaluated, OWN, WIDER)
    answered = task.decode(found, WIDER)
    assert [it["label"] for it in answered] == ["a", "c", "a"]
    assert [it["label"] for it in task.decode(evaluated, OWN)] == ["a", "c", "a"]
    sums = total(task.statistics(found, WIDER))
    assert task.formula(sums, WIDER)["accuracy"] == pytest.approx(1 / 3)
    assert answered[0]["scores"][1] == 0


def test_thresholds_of_several_labels_follow_their_labels():
    task = TASKS.get("multi-label-classification")
    schema = widened_schema(task, {**OWN, "thresholds": [0.2, 0.9]}, {**WIDER, "thresholds": [0.5] * 3})
    assert schema["thresholds"] == [0.2, 0.5, 0.9]
    found = widened(task, predictions(np.array([[-1.0, 1.0]], dtype=np.float32)), OWN, WIDER)
    assert [[it["label"] for it in row["labels"]] for row in task.decode(found, schema)] == [["a"]]


def test_tags_of_tokens_are_widened_too():
    task = TASKS.get("token-classification")
    own, wider = {"labels": ["O", "B-a", "I-a"]}, {"labels": ["O", "B-A", "I-A", "B-a", "I-a"]}
    outputs = Ragged(np.array([[0.0, 2.0, 1.0], [3.0, 0.0, 0.0]], dtype=np.float32), np.array([0, 2]))
    found = widened(task, EvalPredictions({}, Encoded.of({"input_ids": [[1, 2]]}), outputs), own, wider)
    assert found.outputs.values.argmax(1).tolist() == [3, 0]
    assert found.outputs.offsets.tolist() == [0, 2]


def test_the_same_labels_change_nothing_and_missing_ones_are_refused():
    task = TASKS.get("text-classification")
    evaluated = predictions(np.array([[2.0, 1.0]]))
    assert widened(task, evaluated, OWN, OWN) is evaluated
    assert widened_schema(task, OWN, OWN) is OWN
    with pytest.raises(RunError, match="`c`"):
        widened_schema(task, OWN, {"labels": ["a", "b"]})
    regression = TASKS.get("text-regression")
    schema = {"mean": 0.0, "deviation": 1.0}
    assert widened_schema(regression, schema, {"mean": 1.0, "deviation": 2.0}) is schema
