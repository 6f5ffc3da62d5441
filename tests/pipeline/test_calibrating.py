"""The calibration is in the head's own weights, for every family, method and format."""

import json
import re

import numpy as np
import pytest
import torch

import tunesmith
from tunesmith import pipeline
from tunesmith.data.preparing import read_checked
from tunesmith.data.train_texts import read_train_texts
from tunesmith.errors import ModelError, RecipeError
from tunesmith.events import Note
from tunesmith.models import heads
from tunesmith.models.loading import load_for_training
from tunesmith.models.resolve import resolve_model
from tunesmith.models.trial import known_texts, outputs, trying
from tunesmith.pipeline.calibrating import fold
from tunesmith.recipe import Recipe
from tunesmith.tasks import TASKS, Scaling
from tunesmith.testing.families import write_family
from tunesmith.testing.listeners import Recorder
from tunesmith.testing.tiny import FAMILIES, as_probe, tiny_rows, tiny_task_rows, write_rows, write_tiny_model

pytestmark = pytest.mark.usefixtures("lean")

LABELS = {"labels": ["a", "b", "c"]}


@pytest.fixture(scope="module")
def noisy_files(tmp_path_factory):
    """A fifth of the labels is wrong, so that a model that learns them by heart is too sure of itself."""
    folder, rng = tmp_path_factory.mktemp("noisy"), np.random.default_rng(0)
    rows = tiny_rows(420)
    for row in rows:
        if rng.random() < 0.25:
            row["label"] = str(rng.choice(["animal", "colour"]))
    return {
        "train": [str(write_rows(folder / "train.csv", rows[:160]))],
        "validation": [str(write_rows(folder / "validation.csv", rows[160:280]))],
        "test": [str(write_rows(folder / "test.csv", rows[280:]))],
    }


def recipe_of(model, files, folder, *, evaluate=None, **train):
    return Recipe.model_validate({
        "model": str(model),
        "output_dir": str(folder),
        "data": files,
        "train": {"num_train_epochs": 10, "learning_rate": 5e-3, "per_device_train_batch_size": 16, **train},
        "evaluate": {"bootstrap_samples": 100, "baselines": False, **(evaluate or {})},
    })  # fmt: skip


@pytest.fixture(scope="module")
def calibrated(tiny_model, noisy_files, tmp_path_factory):
    return pipeline.train(recipe_of(tiny_model, noisy_files, tmp_path_factory.mktemp("runs") / "calibrated"))


@pytest.fixture(scope="module")
def plain(tiny_model, noisy_files, tmp_path_factory):
    """The same training without calibration."""
    folder = tmp_path_factory.mktemp("runs") / "plain"
    return pipeline.train(recipe_of(tiny_model, noisy_files, folder, evaluate={"calibration": "none"}))


def counted_lines(run, file):
    """The lines of the rows that count: those that are nearly in training are left out of the scores."""
    task = TASKS.get(run.recipe().task)
    examples = read_checked(task, [file], run.manifest()["label_schema"]).examples
    lines = lines_of(run)
    found = [lines[row] for row in np.flatnonzero(read_train_texts(run.data).seen(examples) == 0)]
    assert len(found) == run.metrics["primary"]["n"]
    return found


def lines_of(run):
    return [json.loads(line) for line in (run.predictions / "test.jsonl").read_text().splitlines()]


def test_an_overconfident_model_becomes_less_so_and_keeps_its_answers(calibrated, plain):
    found = calibrated.metrics["calibration"]
    assert found["method"] == "temperature"
    temperature = found["fitted"]["temperature"]
    assert temperature > 1.5
    for one, other in zip(lines_of(calibrated), lines_of(plain), strict=True):
        assert one["prediction"]["label"] == other["prediction"]["label"]
        raw, score = other["prediction"]["score"], one["prediction"]["score"]
        expected = 1 / (1 + ((1 - score) / score) ** temperature)
        assert raw == pytest.approx(expected, abs=1e-5)


def test_what_was_before_is_what_the_uncalibrated_run_says(calibrated, plain):
    """Inverting the scaling gives the scores of the training without it."""
    before, same = calibrated.metrics["calibration"]["before"], plain.metrics["calibration"]["after"]
    for key in ("ece", "log_loss", "brier"):
        assert before[key]["value"] == pytest.approx(same[key]["value"], abs=1e-5)
    assert plain.metrics["calibration"]["method"] == "none"


def test_metrics_are_those_of_scikit_learn(calibrated, noisy_files):
    from sklearn.metrics import brier_score_loss, log_loss

    lines = counted_lines(calibrated, noisy_files["test"][0])
    answers = tunesmith.load(calibrated)([line["text"] for line in lines], top_k=None)
    labels = ["animal", "colour"]
    shares = [
        [next(x["score"] for x in one["top"] if x["label"] == name) for name in labels] for one in answers
    ]
    shares = np.array(shares) / np.sum(shares, axis=-1, keepdims=True)  # of float32
    gold = [labels.index(line["gold"]) for line in lines]
    after = calibrated.metrics["calibration"]["after"]
    assert after["log_loss"]["value"] == pytest.approx(log_loss(gold, shares), abs=1e-5)
    binary = brier_score_loss(gold, [share[1] for share in shares])
    assert after["brier"]["value"] == pytest.approx(2 * binary, abs=1e-5)  # over both labels
    assert after["log_loss"]["value"] < calibrated.metrics["calibration"]["before"]["log_loss"]["value"]


def test_plain_transformers_gives_the_calibrated_probabilities(calibrated):
    from transformers import pipeline as hugging_face

    lines = lines_of(calibrated)
    theirs = hugging_face("text-classification", str(calibrated.model))([line["text"] for line in lines])
    for line, other in zip(lines, theirs, strict=True):
        assert other["label"] == line["prediction"]["label"]
        assert other["score"] == pytest.approx(line["prediction"]["score"], abs=1e-5)


def test_evaluate_on_other_data_tells_both(calibrated, noisy_files):
    again = tunesmith.evaluate(calibrated.path, noisy_files["test"][0])["calibration"]
    there = calibrated.metrics["calibration"]
    assert again["before"]["ece"]["value"] == pytest.approx(there["before"]["ece"]["value"], abs=1e-6)
    assert again["after"]["ece"]["value"] == pytest.approx(there["after"]["ece"]["value"], abs=1e-6)


def test_a_run_of_an_earlier_version_has_an_ece_too(plain, noisy_files, tmp_path):
    import shutil

    old = shutil.copytree(plain.path, tmp_path / "old")
    manifest = json.loads((old / "manifest.json").read_text())
    del manifest["calibration"], manifest["sum"], manifest["files"]
    (old / "manifest.json").write_text(json.dumps(manifest))
    found = tunesmith.evaluate(old, noisy_files["test"][0])["calibration"]
    assert found["method"] == "none"
    assert found["n"] == plain.metrics["calibration"]["n"] > 100


def test_a_probe_is_calibrated(tiny_model, noisy_files, tmp_path):
    forced = recipe_of(tiny_model, noisy_files, tmp_path / "run", evaluate={"calibration": "vector"})
    run = pipeline.train(as_probe(forced))
    assert run.metrics["calibration"]["method"] == "vector"
    assert tunesmith.load(run)(lines_of(run)[0]["text"])["score"] == pytest.approx(
        lines_of(run)[0]["prediction"]["score"], abs=1e-5
    )


@pytest.mark.slow
def test_an_adapter_holds_it_and_its_exports_too(tiny_model, noisy_files, tmp_path):
    recipe = recipe_of(
        tiny_model, noisy_files, tmp_path / "run", evaluate={"calibration": "temperature"}, method="lora"
    )
    run = pipeline.train(recipe)
    temperature = run.metrics["calibration"]["fitted"]["temperature"]
    assert temperature != pytest.approx(1.0, abs=0.02)
    text = lines_of(run)[0]
    for form in ("merged", "onnx"):
        folder = tmp_path / form
        tunesmith.export(run, form, output_dir=folder)
        assert tunesmith.load(folder)(text["text"])["score"] == pytest.approx(
            text["prediction"]["score"], abs=1e-4
        )
        assert (
            json.loads((folder / "config.json").read_text())[heads.CALIBRATION_KEY]["method"] == "temperature"
        )


def test_training_goes_on_from_a_calibrated_run(calibrated, noisy_files, tmp_path):
    recorder = Recorder()
    recipe = recipe_of(calibrated.path, noisy_files, tmp_path / "more", max_steps=2, learning_rate=1e-6)
    more = pipeline.train(recipe, listeners=[recorder])
    assert any("calibrated head" in event.text for event in recorder.events if isinstance(event, Note))
    assert more.metrics["primary"]["value"] == calibrated.metrics["primary"]["value"]
    # What it begins from is calibrated already, so little is left to scale, and config.json says that alone.
    fitted = more.metrics["calibration"]["fitted"]
    config = json.loads((more.model / "config.json").read_text())
    assert 0.8 < fitted["scale"][0] < 1.25
    assert (heads.CALIBRATION_KEY in config) == (fitted["method"] != "none")


def test_a_run_that_ends_while_it_saves_resumes_with_the_same_bits(
    calibrated, tiny_model, noisy_files, tmp_path, monkeypatch
):
    """It ends between the calibration and the model on disk; the head is not scaled twice."""
    from tunesmith.pipeline import save as saving

    recipe = recipe_of(tiny_model, noisy_files, tmp_path / "run")
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(saving, "save_model", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        pipeline.train(recipe)
    run = pipeline.train(recipe)
    one, other = ((r.model / "model.safetensors").read_bytes() for r in (run, calibrated))
    assert one == other
    assert run.metrics["calibration"] == calibrated.metrics["calibration"]


@pytest.mark.parametrize(
    "family", ["bert", "roberta", "distilbert", "deberta-v2", "modernbert", "gpt2", "t5"]
)
def test_the_outputs_of_a_family_are_scaled(family, tmp_path):
    loaded = load_for_training(
        resolve_model(str(write_family(tmp_path / family, family))),
        TASKS.get("text-classification"),
        LABELS,
        pooling="auto",
        seed=1,
    )
    model, head = loaded.model, heads.find_head(loaded.model, 3)
    bias = (0.5, -0.25, 0.0) if head.bias is not None else (0.0,)
    scaling = Scaling((0.5, 0.25, 2.0), bias)
    with trying(model):
        before = outputs(model, known_texts(model))
        assert fold(model, head, scaling)
        after = outputs(model, known_texts(model))
    assert after.numpy() == pytest.approx(scaling(before.numpy()), rel=1e-4, abs=1e-5)
    if head.bias is None:
        with pytest.raises(ModelError, match="no bias"):
            heads.scale_head(head, (1.0,), (0.1,))


def test_a_model_whose_outputs_are_not_those_of_its_head_is_left_alone(tmp_path):
    loaded = load_for_training(
        resolve_model(str(write_tiny_model(tmp_path / "tiny"))),
        TASKS.get("text-classification"),
        LABELS,
        pooling="auto",
        seed=1,
    )
    model, head = loaded.model, heads.find_head(loaded.model, 3)
    stock = model.forward
    model.forward = lambda **inputs: type(stock(**inputs))(logits=torch.tanh(stock(**inputs).logits * 50))
    weight = head.weight.detach().clone()
    assert not fold(model, head, Scaling((0.1,)))
    assert torch.equal(head.weight, weight)


def test_a_head_without_bias_refuses_a_vector_before_any_work(noisy_files, tmp_path):
    model = write_tiny_model(tmp_path / "llama", family="llama")
    asked = recipe_of(model, noisy_files, tmp_path / "run", evaluate={"calibration": "vector"})
    with pytest.raises(RecipeError, match="needs a head with a bias"):
        pipeline.train(asked)
    assert not (tmp_path / "run" / "manifest.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["multi-label-classification", "token-classification", "question-answering"])
def test_other_tasks_keep_their_answers_and_scale_their_scores(name, tmp_path):
    task = TASKS.get(name)
    model = write_tiny_model(tmp_path / "model", family=FAMILIES.get(task.auto_class, "bert"))
    rows = tiny_task_rows(name, 260)
    files = {
        split: [str(write_rows(tmp_path / f"{split}.jsonl", rows[a:b]))]
        for split, a, b in (("train", 0, 120), ("validation", 120, 190), ("test", 190, 260))
    }
    runs = {}
    for method in ("none", "temperature"):
        recipe = recipe_of(
            model, files, tmp_path / method, evaluate={"calibration": method}, num_train_epochs=3
        )
        runs[method] = pipeline.train(recipe.model_copy(update={"task": name}))
    one, other = (runs[method].metrics for method in ("none", "temperature"))
    assert other["calibration"]["method"] == "temperature"
    assert other["calibration"]["fitted"]["temperature"] != pytest.approx(1.0, abs=1e-3)
    assert other["primary"]["value"] == pytest.approx(one["primary"]["value"], abs=1e-9)
    before, plain = other["calibration"]["before"], one["calibration"]["after"]
    assert before["ece_plug_in"]["value"] == pytest.approx(plain["ece_plug_in"]["value"], abs=1e-4)
    # The score that predictions carry is the score that was measured.
    lines = counted_lines(runs["temperature"], files["test"][0])
    scores = [score for line in lines for score in scores_in(line["prediction"])]
    assert np.mean(scores) == pytest.approx(other["calibration"]["after"]["mean_score"], abs=1e-5)


def scores_in(prediction):
    if "answer" in prediction:
        return [prediction["score"]]
    return [item["score"] for item in prediction.get("labels", prediction.get("entities"))]


def test_an_option_without_effect_is_refused(tiny_model, noisy_files, tmp_path):
    asked = recipe_of(tiny_model, noisy_files, tmp_path / "run", evaluate={"calibration": "temperature"})
    with pytest.raises(
        RecipeError, match=re.escape("evaluate.calibration has no effect on `text-regression`")
    ):
        pipeline.train(asked.model_copy(update={"task": "text-regression"}))
    vector = recipe_of(tiny_model, noisy_files, tmp_path / "run", evaluate={"calibration": "vector"})
    with pytest.raises(RecipeError, match="`vector` is not for `token-classification`"):
        pipeline.train(vector.model_copy(update={"task": "token-classification"}))
