import numpy as np
import pytest

from tunesmith.data.examples import Examples
from tunesmith.encoded import Encoded
from tunesmith.errors import UnknownNameError
from tunesmith.evaluation.baselines import TrainingRows
from tunesmith.evaluation.result import build_metrics, final_split, refuse_undeclared, score_baselines
from tunesmith.evaluation.scoring import Scored, score_slices
from tunesmith.recipe import EvaluateRecipe
from tunesmith.tasks import TASKS, EvalPredictions, point_scores

TASK = TASKS.get("text-classification")
TARGETS = {"labels": ["a", "b"]}
HOW = EvaluateRecipe(bootstrap_samples=200, slices=["shop"], groups=["shop"])


@pytest.fixture
def scored():
    labels = np.array([0, 0, 1, 1, 1, 0])
    logits = np.eye(2, dtype=np.float32)[[0, 1, 1, 1, 1, 0]]
    columns = {"text": list("uvwxyz"), "label": [TARGETS["labels"][i] for i in labels]}
    extra = {"shop": ["n", "n", "n", "s", "s", "s"]}
    examples = Examples(columns, ("t.csv",), np.zeros(6, np.int32), np.arange(2, 8), extra)
    encoded = Encoded.of({"input_ids": [[1]] * 6}, {"labels": labels})
    return Scored(TASK, TARGETS, examples, EvalPredictions(columns, encoded, logits))


def test_lines_hold_row_text_gold_and_answer(scored):
    lines = list(scored.lines())
    assert lines[1] == {
        "row": "t.csv:3",
        "text": "v",
        "gold": "a",
        "prediction": {"label": "b", "score": pytest.approx(0.731, abs=1e-3)},
        "correct": False,
    }
    assert [line["correct"] for line in lines] == [True, False, True, True, True, True]


def test_slices_are_the_metric_of_their_rows(scored):
    found = score_slices(scored, HOW, seed=0)["shop"]
    assert found["values"]["n"]["value"] == pytest.approx(2 / 3)
    assert found["values"]["s"] == {"value": 1.0, "low": pytest.approx(0.38, abs=0.01), "high": 1.0, "n": 3}
    assert found["gap"] == pytest.approx(1 / 3)


def test_metrics_put_the_primary_first(scored):
    metrics = build_metrics(scored, "test", HOW, seed=0)
    assert list(metrics)[:3] == ["task", "primary", "splits"]
    assert metrics["primary"]["value"] == pytest.approx(5 / 6)
    assert final_split({"validation": 1}) == "validation"


def test_baselines_are_scored_on_the_same_rows(scored):
    rows = TrainingRows(scored.examples.columns, scored.evaluated.encoded.dense["labels"], TASK.inputs, 2)
    found = score_baselines(TASK, rows, scored.evaluated, scored.evaluated, TARGETS)
    assert list(found) == ["majority", "tfidf_logistic_regression"]
    assert found["majority"].scores()["accuracy"] == 0.5
    assert found["tfidf_logistic_regression"].scores()["accuracy"] == 1.0
    assert point_scores(TASK, scored.evaluated, TARGETS)["accuracy"] == pytest.approx(5 / 6)


@pytest.mark.parametrize(
    ("changed", "meant"),
    [
        ({"primary_metric": "acuracy"}, "accuracy"),
        ({"selection_metric": "los"}, "loss"),
        ({"baselines": ("majority", "tfidf_rigde")}, "tfidf_ridge"),
    ],
)
def test_an_undeclared_name_of_a_task_is_refused(changed, meant):
    refuse_undeclared(TASK)
    with pytest.raises(UnknownNameError, match=f"Did you mean `{meant}`"):
        refuse_undeclared(type("Changed", (type(TASK),), changed)())


def test_an_undeclared_metric_of_a_formula_is_refused(scored):
    class Changed(type(TASK)):
        def formula(self, sums, label_schema):
            return {"acuracy": super().formula(sums, label_schema)["accuracy"]}

    with pytest.raises(UnknownNameError, match=r"`acuracy` is not a metric.*\n.*`accuracy`"):
        point_scores(Changed(), scored.evaluated, TARGETS)
