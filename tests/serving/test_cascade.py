"""A cascade: what the first stage is sure of, it answers; all else is what `predict` answers."""

import json
import shutil

import pytest
from tests.serving.test_log import kept_by

from tunesmith.api.serving import serve
from tunesmith.errors import RecipeError, RunError
from tunesmith.inference.first_stage import read_first_stage
from tunesmith.pipeline.cascading import prepare_cascade
from tunesmith.run import Run

TEXTS = [
    "the cat is red",
    "a new thing, and a dog",
    "the the the",
    "zzz",
    "old blue house",
    "a cat and a dog",
]


@pytest.fixture(scope="module")
def run(runs):
    return Run(runs["text-classification"])


@pytest.fixture(scope="module")
def cascade(run):
    return prepare_cascade(run, 0.3)


@pytest.fixture(scope="module")
def served(run, cascade, serving, tmp_path_factory):
    log = tmp_path_factory.mktemp("cascade") / "log"
    with serving(run.path, "--cascade", 0.3, "--log-to", log) as found:
        found.log = log
        yield found


def test_who_answers_and_that_metrics_and_log_say_it(served, run, cascade, predictors):
    with served.client() as client:
        said = client.post("/answer", json={"inputs": TEXTS})
        answers = said.json()["answers"]
        sets = client.post("/answer", json={"inputs": TEXTS[:1], "coverage": 0.9}).json()["answers"]
        metrics = client.get("/metrics").text
        lists = client.post("/predict", json={"inputs": TEXTS[0]}).json()
    stage, facts, _ = read_first_stage(run.path.with_name("text-classification-cascade"))
    predict = predictors("text-classification")
    first = 0
    for number, (text, answer) in enumerate(zip(TEXTS, answers, strict=True)):
        logits = stage.logits([text])[0]
        odds = [2.718281828459045 ** float(it - logits.max()) for it in logits]
        best = max(odds) / sum(odds)
        tokens = answer.pop("tokens")
        if best >= cascade["threshold"]:
            first += 1
            label = facts["labels"][int(logits.argmax())]
            assert answer == {"label": label, "score": pytest.approx(best, abs=1e-5), "stage": "first"}
            assert tokens == 0
        else:
            expected = predict(text)
            assert answer == {**expected, "score": pytest.approx(expected["score"], abs=2e-5)}
            assert tokens > 0
        row = kept_by(served.log, f"{said.headers['x-tunesmith-log-id']}-{number}")
        kept = row["answer"] if isinstance(row["answer"], dict) else json.loads(row["answer"])
        assert kept.get("stage") == answer.get("stage")
    assert 0 < first < len(TEXTS)
    assert "stage" not in sets[0], "only the model makes sets"
    assert {entry["label"] for entry in lists} == set(facts["labels"])
    assert f'tunesmith_cascade_answers_total{{run="{run.path.name}",stage="first"}} {first}.0' in metrics
    n_full = len(TEXTS) - first + 1
    assert f'tunesmith_cascade_answers_total{{run="{run.path.name}",stage="full"}} {n_full}.0' in metrics
    assert any("the first stage answers" in line for line in served.errors)


def test_a_second_start_needs_no_data_and_another_promise_no_fit(run, cascade, monkeypatch):
    monkeypatch.setattr("tunesmith.pipeline.cascading.prepare_data", lambda work: pytest.fail("read again"))
    assert prepare_cascade(run, 0.3) == cascade
    with pytest.raises(RecipeError, match=r"keeps the promise of at most 0\.1% wrong"):
        prepare_cascade(run, 0.001)


def test_what_cannot_be_is_refused(run, runs, tmp_path):
    with pytest.raises(RecipeError, match=r"allows more errors than .* has promised: 0\.3"):
        prepare_cascade(run, 0.5)
    with pytest.raises(RecipeError, match="must be between 0 and 1"):
        prepare_cascade(run, 0.0)
    with pytest.raises(RecipeError, match="one label a text"):
        prepare_cascade(Run(runs["token-classification"]), 0.1)
    with pytest.raises(RecipeError, match="fitted for one run"):
        serve([run.path, runs["token-classification"]], cascade=0.3, log="off")
    copy = shutil.copytree(run.path, tmp_path / "copy")
    (tmp_path / "copy-cascade").mkdir()
    with pytest.raises(RunError, match="holds no first stage"):
        prepare_cascade(Run(copy), 0.3)


def test_other_rows_than_those_of_the_training_are_refused(run, tmp_path):
    copy = Run(shutil.copytree(run.path, tmp_path / "copy"))
    ids = json.loads((copy.data / "splits.json").read_text())
    (copy.data / "splits.json").write_text(json.dumps({**ids, "train": ids["train"][1:]}))
    copy.finish()
    with pytest.raises(RunError, match="not those of its training"):
        prepare_cascade(copy, 0.3)
    assert not (tmp_path / "copy-cascade").exists()
