"""A classifier that is continued on another task: what is left of the task before."""

import json

import numpy as np
import pytest
from sklearn.metrics import accuracy_score

import tunesmith
from tunesmith import pipeline
from tunesmith.inference.predictor import Predictor
from tunesmith.testing.tiny import tiny_rows, tiny_task_rows, write_tiny_model

HOW = {"data.check": "off", "evaluate.baselines": False, "evaluate.bootstrap_samples": 100}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("previous")


@pytest.fixture(scope="module")
def first(folder):
    return tunesmith.train(
        tiny_rows(120, seed=1), test=tiny_rows(80, seed=2), model=str(write_tiny_model(folder / "bert")),
        output_dir=folder / "first", progress=False, overrides={**HOW, "train.max_steps": 30},
    )  # fmt: skip


def other_rows(n, seed):
    """Rows whose labels have nothing to do with those of the first task."""
    rows = tiny_rows(n, seed=seed)
    return [{"text": row["text"], "label": f"group {number % 2}"} for number, row in enumerate(rows)]


def scored_rows(run):
    """The rows that count, from the folder of the run."""
    lines = map(json.loads, (run.path / "predictions" / "test.jsonl").read_text().splitlines())
    return [line for line in lines if not line.get("left_out")]


def continued(first, folder, name, **overrides):
    return tunesmith.train(
        other_rows(80, 7), test=other_rows(40, 8), model=str(first.path), output_dir=folder / name,
        progress=False, overrides={**HOW, **overrides},
    )  # fmt: skip


def test_a_high_learning_rate_forgets_and_the_report_says_so(first, folder):
    run = continued(first, folder, "wild", **{"train.max_steps": 30, "train.learning_rate": 0.05})
    found = run.metrics["previous_task"]
    assert found["rows"] == len(scored_rows(first)) > 70
    assert found["head"]["before"]["value"] == pytest.approx(first.metrics["primary"]["value"])
    assert found["head"]["after"]["value"] < found["head"]["before"]["value"] - 0.2
    assert found["head"]["change"]["outcome"] == "worse"
    assert found["head"]["change"]["high"] < 0
    assert found["outcome"] in ("forgotten", "head_only")
    assert "The previous task, before and after" in run.report_file.read_text()


def test_a_low_learning_rate_and_an_adapter_keep_it(first, folder):
    run = continued(
        first, folder, "adapter",
        **{"train.max_steps": 2, "train.learning_rate": 1e-5, "train.method": "lora"},
    )  # fmt: skip
    found = run.metrics["previous_task"]
    assert found["outcome"] == "kept"
    assert found["head"]["after"]["value"] == pytest.approx(found["head"]["before"]["value"], abs=0.03)
    assert found["probe"]["after"]["value"] == pytest.approx(found["probe"]["before"]["value"], abs=0.03)
    # The same, by hand: the first run's head on the features of the new model.
    old, new = Predictor.from_run(first.path), Predictor.from_run(run.path)
    rows = scored_rows(first)
    head = old.model.classifier
    logits = (
        new.embed([row["text"] for row in rows]) @ head.weight.detach().numpy().T + head.bias.detach().numpy()
    )
    answers = [old.labels[at] for at in np.argmax(logits, axis=1)]
    by_hand = accuracy_score([row["gold"] for row in rows], answers)
    assert found["head"]["after"]["value"] == pytest.approx(by_hand)


def test_entities_are_forgotten_and_kept_alike(folder, monkeypatch):
    """A head that reads a vector a token; before, it answers the rows as the first run was scored."""
    monkeypatch.setattr(pipeline.training, "write_report", lambda run: None)
    how = {**HOW, "train.learning_rate": 5e-3}
    rows = [tiny_task_rows("token-classification", n, seed=seed) for n, seed in ((120, 1), (60, 2), (40, 3))]
    first = tunesmith.train(
        rows[0], test=rows[1], task="token-classification", model=str(write_tiny_model(folder / "words")),
        output_dir=folder / "entities", progress=False, overrides={**how, "train.max_steps": 40},
    )  # fmt: skip
    texts = {" ".join(row["tokens"]) for row in rows[1]}
    others = [row for row in rows[2] if " ".join(row["tokens"]) not in texts]
    renamed = [{**row, "tags": [tag.replace("animal", "beast") for tag in row["tags"]]} for row in others]
    found = {}
    for name, rate in (("kept", 1e-7), ("wild", 0.05)):
        run = tunesmith.train(
            renamed, test=renamed[:10], task="token-classification", model=str(first.path),
            output_dir=folder / f"entities-{name}", progress=False,
            overrides={**HOW, "train.learning_rate": rate, "train.max_steps": 6},
        )  # fmt: skip
        found[name] = run.metrics["previous_task"]
    kept, wild = found["kept"], found["wild"]
    assert kept["rows"] == len(scored_rows(first)) > 40
    assert kept["head"]["before"]["value"] == pytest.approx(first.metrics["primary"]["value"])
    assert kept["head"]["before"]["value"] > 0.5
    assert kept["head"]["after"] == kept["head"]["before"]
    assert kept["probe"]["after"]["value"] == pytest.approx(kept["probe"]["before"]["value"], abs=0.02)
    assert wild["head"]["before"] == kept["head"]["before"]
    assert wild["head"]["after"]["value"] < wild["head"]["before"]["value"] - 0.2
    assert wild["outcome"] in ("forgotten", "head_only")


def test_it_is_not_measured_where_it_is_not_wanted_or_nothing_was_before(first, folder):
    assert "previous_task" not in first.metrics
    run = continued(
        first, folder, "none",
        **{"train.max_steps": 1, "evaluate.previous": "none"},
    )  # fmt: skip
    assert "previous_task" not in run.metrics
