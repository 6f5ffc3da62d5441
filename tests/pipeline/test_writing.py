"""What a training keeps of the base model's texts, and what it says of both models' texts."""

import json

import pytest

import tunesmith
from tunesmith.errors import InterruptedRunError, RecipeError
from tunesmith.testing.listeners import Recorder
from tunesmith.testing.tiny import write_tiny_model


def conversations(n, seed=0):
    words = ["cat", "dog", "red", "green", "house", "tree", "sleep", "run"]
    return [
        {"messages": [
            {"role": "user", "content": f"say {words[(i + seed) % 8]} {words[(i * 3 + seed) % 8]} {i + seed}"},
            {"role": "assistant", "content": f"{words[(i + seed) % 8]} it is"},
        ]}
        for i in range(n)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("writing")
    model = write_tiny_model(folder / "llama", family="llama")
    return tunesmith.train(
        conversations(60),
        task="chat",
        model=str(model),
        output_dir=folder / "run",
        validation=conversations(12, 500),
        test=conversations(20, 900),
        progress=False,
        overrides={
            "train.max_steps": 4,
            "generate.max_new_tokens": 8,
            "evaluate.samples": 15,
            "evaluate.bootstrap_samples": 200,
        },
    )


def test_both_models_are_judged_on_the_same_texts(run):
    found = run.metrics["writing"]
    assert found["n"] == 15
    assert (
        set(found["model"]) == set(found["base_model"]) >= {"ends_by_itself", "words", "chrf", "exact_match"}
    )
    for of in ("model", "base_model"):
        for score in found[of].values():
            assert score["low"] <= score["value"] <= score["high"]
    assert found["texts"][0]["reference"].endswith("it is")
    assert "it is" not in found["texts"][0]["read"]


def test_the_texts_are_those_of_the_predictions(run):
    lines = [json.loads(line) for line in (run.path / "predictions" / "test.jsonl").read_text().splitlines()]
    for text, line in zip(run.metrics["writing"]["texts"], lines, strict=False):
        assert text["row"] == line["row"]
        assert text["model"].strip() == line["prediction"]["message"]["content"]
    assert sum("message" in line["prediction"] for line in lines) == 15


def test_general_text_is_measured_before_and_after(run):
    found = run.metrics["forgetting"]
    assert found["paragraphs"] == 30
    assert found["base_model"]["value"] != found["model"]["value"]
    assert "General text before and after" in run.report_file.read_text()


def test_evaluate_says_what_the_model_writes_without_the_base_model(run, tmp_path):
    metrics = tunesmith.evaluate(run.path, conversations(10, 40), progress=False)
    assert "forgetting" not in metrics
    assert metrics["writing"]["n"] == 10
    assert "base_model" not in metrics["writing"]


def test_a_general_text_that_cannot_be_read_stops_before_anything_is_written(run, tmp_path):
    with pytest.raises(RecipeError, match="general_text"):
        tunesmith.train(
            conversations(60),
            task="chat",
            model=str(run.recipe().model),
            output_dir=tmp_path / "other",
            progress=False,
            overrides={"evaluate.general_text": str(tmp_path / "absent.txt")},
        )
    assert not (tmp_path / "other").exists() or not any((tmp_path / "other").iterdir())


def test_a_general_text_that_changed_meanwhile_is_not_compared(tmp_path, run):
    """The run is stopped after its first step, and the text is edited before it resumes."""
    text = tmp_path / "general.txt"
    text.write_text("\n\n".join(f"paragraph {i} of a text" for i in range(6)))
    how = {
        "task": "chat",
        "model": str(run.recipe().model),
        "output_dir": tmp_path / "run",
        "progress": False,
        "overrides": {
            "train.max_steps": 3,
            "generate.max_new_tokens": 4,
            "evaluate.samples": 2,
            "evaluate.general_text": str(text),
        },
    }
    with pytest.raises(InterruptedRunError):
        tunesmith.train(conversations(60), should_stop=lambda: True, **how)
    text.write_text(text.read_text() + " that is longer")
    recorder = Recorder()
    resumed = tunesmith.train(conversations(60), listeners=[recorder], **how)
    assert "forgetting" not in resumed.metrics
    assert any("evaluate.general_text has changed" in said for said in recorder.said)
