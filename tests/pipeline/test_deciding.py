"""Offsets for rare labels: when they are taken, and that every way to ask the model uses them."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import f1_score

import tunesmith
from tunesmith.data.examples import Examples
from tunesmith.encoded import Encoded
from tunesmith.evaluation.scoring import Scored
from tunesmith.evaluation.widening import widened_schema
from tunesmith.events import Events
from tunesmith.pipeline.deciding import decide
from tunesmith.recipe import Recipe
from tunesmith.reports.sections import SECTIONS, Source
from tunesmith.tasks import OFFSETS, TASKS, EvalPredictions
from tunesmith.testing.listeners import Recorder
from tunesmith.testing.tiny import tiny_rows, write_tiny_model

TASK = TASKS.get("text-classification")
LABELS = ("common", "rare")


def uneven_rows(n, seed):
    """A quarter of the rows can be of the rare label, and a little less than half of these are."""
    rng = np.random.default_rng(seed)
    pool = {
        name: [row for row in tiny_rows(4 * n, seed=seed) if row["label"] == name]
        for name in ("animal", "colour")
    }
    rows = []
    for number in range(n):
        can_be = rng.random() < 0.25
        text = pool["colour" if can_be else "animal"][number]["text"]
        rows.append({"text": text, "label": LABELS[int(can_be and rng.random() < 0.45)]})
    return rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("deciding")


@pytest.fixture(scope="module")
def rows():
    return {"train": uneven_rows(240, 1), "validation": uneven_rows(200, 2), "test": uneven_rows(200, 3)}


@pytest.fixture(scope="module")
def run(folder, rows):
    return tunesmith.train(
        rows["train"], validation=rows["validation"], test=rows["test"],
        model=str(write_tiny_model(folder / "bert")), output_dir=folder / "run", progress=False,
        overrides={
            "data.check": "off", "evaluate.baselines": False, "evaluate.bootstrap_samples": 100,
            "train.max_steps": 40, "train.learning_rate": 5e-3,
        },
    )  # fmt: skip


def scored_lines(run):
    lines = map(json.loads, (run.path / "predictions" / "test.jsonl").read_text().splitlines())
    return [line for line in lines if not line.get("left_out")]


def test_auto_takes_offsets_where_they_gain_and_reports_both_sides(run):
    fitted = run.metrics["decision"]["fitted"]
    assert fitted["method"] == "prior"
    assert fitted["rarest"]["label"] == "rare"
    tried = fitted["tried"]["prior"]
    assert tried["f1_macro"]["low"] > 0
    assert -tried["accuracy"]["difference"] <= tried["f1_macro"]["difference"]
    found, lines = run.metrics["decision"], scored_lines(run)
    gold, given = ([line["gold"] for line in lines], [line["prediction"]["label"] for line in lines])
    after = f1_score(gold, given, average="macro")
    assert found["gain"]["f1_macro"]["after"] == pytest.approx(after)
    assert run.metrics["splits"]["test"]["f1_macro"]["value"] == pytest.approx(after)
    before = found["gain"]["f1_macro"]["before"]
    assert after > before + 0.1
    assert found["gain"]["f1_macro"]["difference"] == pytest.approx(after - before)


def test_the_probability_is_that_of_the_answer_and_stays_calibrated(run):
    model = tunesmith.load(run)
    answers = model([line["text"] for line in scored_lines(run)], top_k=None)
    moved = [one for one in answers if one["score"] < 0.5]
    assert moved, "offsets change answers"
    for one in answers:
        assert one["top"][0] == {"label": one["label"], "score": pytest.approx(one["score"])}
        assert sum(other["score"] for other in one["top"]) == pytest.approx(1, abs=1e-5)
    found = run.metrics["calibration"]["after"]
    assert found["mean_score"] == pytest.approx(np.mean([one["score"] for one in answers]), abs=1e-5)


def test_predictions_evaluation_and_export_answer_alike(run, rows, folder):
    texts = [line["text"] for line in scored_lines(run)]
    given = [line["prediction"]["label"] for line in scored_lines(run)]
    assert [one["label"] for one in tunesmith.load(run)(texts)] == given
    again = tunesmith.evaluate(run, rows["test"], progress=False)
    assert again["splits"]["test"]["f1_macro"]["value"] == run.metrics["splits"]["test"]["f1_macro"]["value"]
    assert again["decision"]["gain"] == run.metrics["decision"]["gain"]
    tunesmith.export(run, "merged", output_dir=folder / "merged", progress=False)
    assert [one["label"] for one in tunesmith.load(folder / "merged")(texts)] == given


def test_the_card_has_code_for_plain_transformers_and_says_what_differs(run):
    card = (run.path / "model" / "README.md").read_text()
    assert "answers with the most probable label" in card
    code = re.findall(r"```python\n(.*?)```", card, re.S)[1].replace(
        "PATH/TO/THIS/FOLDER", str(run.path / "model")
    )
    moved = next(line for line in scored_lines(run) if line["prediction"]["score"] < 0.5)
    known = {}
    exec(code.replace(json.dumps(TASK.example), json.dumps(moved["text"])), known)
    assert known["answer"] == (
        moved["prediction"]["label"],
        pytest.approx(moved["prediction"]["score"], abs=1e-5),
    )
    facts = SECTIONS.get("decision").facts(Source(run, {}, run.metrics))
    assert "accuracy" in SECTIONS.get("decision").sentences(facts)[0]
    assert "How the answer is chosen" in run.report_file.read_text()


def test_a_training_that_begins_from_it_forgets_the_offsets(run, rows, folder):
    other = tunesmith.train(
        rows["train"][:60], validation=rows["validation"][:40], model=str(run.path), output_dir=folder / "next",
        progress=False, overrides={
            "data.check": "off", "evaluate.baselines": False, "train.max_steps": 1, "evaluate.previous": "none",
        },
    )  # fmt: skip
    assert "tunesmith_decision_offsets" not in json.loads((other.path / "model" / "config.json").read_text())
    assert "decision" not in other.metrics


def asked(outputs, labels, *, decision="auto"):
    """What `decide` makes of some validation rows: the label schema, the entry of the manifest, what is said."""
    entries, recorder, k = {}, Recorder(), outputs.shape[1]
    encoded = Encoded.of({"input_ids": [[1]] * len(labels)}, {"labels": labels})
    evaluate = {"decision": decision, "bootstrap_samples": 100}
    recipe = Recipe.model_validate({"data": {"train": ["-"]}, "evaluate": evaluate})
    run = SimpleNamespace(update_manifest=lambda **entry: entries.update(entry))
    work = SimpleNamespace(recipe=recipe, run=run, events=Events([recorder]))
    plan = SimpleNamespace(
        recipe=recipe, data=SimpleNamespace(splits={"train": labels}),
        encoded=SimpleNamespace(labels_of=lambda rows: labels),
    )  # fmt: skip
    examples = Examples(
        {"text": ["a"] * len(labels)}, ("-",), np.zeros(len(labels), int), np.arange(len(labels))
    )
    schema = {"labels": [str(number) for number in range(k)]}
    scored = Scored(TASK, schema, examples, EvalPredictions({}, encoded, outputs.astype(np.float32)))
    return decide(work, plan, scored), entries["decision"], recorder


def drawn(n, shares, seed, signal=1.5):
    rng = np.random.default_rng(seed)
    labels = rng.choice(len(shares), n, p=shares)
    seen = signal * np.eye(len(shares))[labels] + rng.normal(size=(n, len(shares)))
    return signal * seen + np.log(shares), labels


def test_auto_leaves_even_labels_and_few_rows_alone():
    schema, entry, recorder = asked(*drawn(300, [0.4, 0.3, 0.3], 0))
    assert (OFFSETS in schema, entry["reason"], recorder.said) == (False, "no label is rare", [])
    schema, entry, recorder = asked(*drawn(90, [0.8, 0.1, 0.1], 0))
    assert "90 validation rows are too few" in entry["reason"]
    schema, entry, recorder = asked(*drawn(90, [0.8, 0.1, 0.1], 0), decision="offsets")
    assert OFFSETS not in schema
    assert "too few" in recorder.warnings[0]
    assert asked(*drawn(300, [0.8, 0.1, 0.1], 0), decision="none")[1]["reason"] == "asked for"


def test_a_gain_within_noise_is_refused_by_auto_and_said():
    """A model that already separates the labels: offsets can gain nothing but noise."""
    schema, entry, recorder = asked(*drawn(200, [0.8, 0.12, 0.08], 1, signal=4))
    assert OFFSETS not in schema
    assert "do not raise the macro F1 beyond chance" in entry["reason"]
    assert entry["reason"] in recorder.said[0]
    assert set(entry["tried"]) == {"prior", "labels"}
    schema, entry, _ = asked(*drawn(200, [0.8, 0.12, 0.08], 1, signal=4), decision="offsets")
    assert len(schema[OFFSETS]) == 3
    assert entry["reason"] == "asked for"


def test_a_gain_that_costs_more_accuracy_than_it_is_worth_is_refused():
    """Rows that say nothing: who gives rare labels to them at random raises macro F1 and loses more accuracy."""
    rng = np.random.default_rng(0)
    labels = rng.choice(2, 1000, p=[0.8, 0.2])
    outputs = np.log([0.8, 0.2]) + rng.normal(size=(1000, 2)) * 0.3
    schema, entry, _ = asked(outputs, labels)
    assert OFFSETS not in schema
    assert "cost more accuracy" in entry["reason"]


def test_labels_that_a_model_does_not_know_get_no_offset():
    own, wider = {"labels": ["a", "c"], OFFSETS: [-0.5, 0.5]}, {"labels": ["a", "b", "c"]}
    assert widened_schema(TASK, own, wider)[OFFSETS] == [-0.5, 0.0, 0.5]
