import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy import stats

import tunesmith
from tunesmith import pipeline
from tunesmith.encoded import Encoded
from tunesmith.errors import DataError
from tunesmith.models import heads
from tunesmith.models.loading import load_for_training, load_trained
from tunesmith.models.resolve import resolve_model
from tunesmith.models.saving import save_model
from tunesmith.recipe import Recipe
from tunesmith.tasks import PLAIN_LOSS, TASKS, EncodeOptions, EvalPredictions, RowError, point_scores
from tunesmith.testing.tiny import as_probe, tiny_rows, write_rows

TASK = TASKS.get("text-regression")
TARGETS = {"mean": 3.0, "deviation": 2.0}


@pytest.mark.parametrize(
    ("value", "number"), [(3, 3.0), (2.5, 2.5), ("2.5", 2.5), (" -1e3 ", -1000.0), (0, 0.0), ("0", 0.0)]
)
def test_numbers(value, number):
    assert TASK.read({"text": "t", "score": value})["score"] == number


@pytest.mark.parametrize(
    "value",
    [None, float("nan"), float("inf"), "-inf", "nan", "", " ", "three", "1,5", True, [3], {}, "5 stars"],
)
def test_what_is_no_number(value):
    with pytest.raises(RowError, match="score"):
        TASK.read({"text": "t", "score": value})


def test_targets_are_mean_and_deviation():
    assert TASK.learn_label_schema({"score": [1.0, 5.0]}) == {"mean": 3.0, "deviation": 2.0}
    with pytest.raises(DataError, match="all 3 training rows have the score 4"):
        TASK.learn_label_schema({"score": [4.0] * 3})


def test_config_round_trip(tiny_model, tmp_path):
    loaded = load_for_training(resolve_model(str(tiny_model)), TASK, TARGETS, pooling="mean", seed=1)
    save_model(loaded.model, loaded.tokenizer, tmp_path / "model", max_length=40)
    again = load_trained(resolve_model(str(tmp_path / "model")), TASK).model.config
    assert (again.num_labels, again.problem_type) == (1, "regression")
    assert TASK.label_schema_of(again) == TARGETS


def test_a_model_of_others_has_no_scale(tiny_model):
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(tiny_model, num_labels=1)
    assert TASK.label_schema_of(config) == {"mean": 0.0, "deviation": 1.0}


def test_labels_are_the_score_and_its_unit(tiny_model):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    encoded = TASK.encode({"text": ["a", "b"], "score": [1.0, 4.5]}, tokenizer, EncodeOptions(None), TARGETS)
    assert encoded.dense["labels"].tolist() == [[1.0, 2.0], [4.5, 2.0]]
    assert TASK.encode({"text": ["a"]}, tokenizer, EncodeOptions(None, "predict"), TARGETS).dense == {}


def loss(outputs, scores, deviation):
    labels = torch.stack([scores, torch.full_like(scores, deviation)], dim=1)
    return TASK.loss(outputs.unsqueeze(1), {"labels": labels}, PLAIN_LOSS)


def test_the_loss_is_the_squared_error_in_units_of_the_deviation_summed():
    outputs, scores = torch.tensor([1.0, 4.0, 2.0]), torch.tensor([3.0, 4.0, 5.0])
    assert float(loss(outputs, scores, 2.0)) == pytest.approx((2**2 + 0 + 3**2) / 4)


@pytest.mark.parametrize("unit", [1e-4, 37.0, 1e6])
def test_the_loss_knows_no_unit(unit):
    generator = torch.Generator().manual_seed(0)
    outputs, scores = (torch.randn(9, generator=generator, dtype=torch.float64) for _ in range(2))
    assert torch.allclose(loss(unit * outputs, unit * scores, unit * 1.3), loss(outputs, scores, 1.3))


def test_the_head_begins_at_the_mean_in_the_unit(tiny_model):
    """So the first loss of a new head is about 1, the variance over its square."""
    files = resolve_model(str(tiny_model))
    for label_schema in (TARGETS, {"mean": -4000.0, "deviation": 1000.0}):
        loaded = load_for_training(files, TASK, label_schema, pooling="mean", seed=1)
        head = heads.find_head(loaded.model, 1)
        assert head.bias.tolist() == [label_schema["mean"]]
        assert float(head.weight.std()) == pytest.approx(0.02 * label_schema["deviation"], rel=0.4)


def seen_of(predicted, scores=None):
    dense = {}
    if scores is not None:
        scores = np.asarray(scores, np.float32)
        dense = {"labels": np.stack([scores, np.full_like(scores, 2.0)], axis=1)}
    encoded = Encoded.of({"input_ids": [[1]] * len(predicted)}, dense)
    return EvalPredictions({}, encoded, np.asarray(predicted, np.float32)[:, None])


def test_an_answer_is_the_number():
    assert TASK.decode(seen_of([2.5, -7.0]), TARGETS) == [
        {"label": "score", "score": 2.5},
        {"label": "score", "score": -7.0},
    ]
    assert TASK.is_correct({"label": "score", "score": 2.5}, 2.5) is None
    assert TASK.error_of({"label": "score", "score": 2.5}, 4.0) == 1.5


def test_scores_are_those_of_scipy():
    rng = np.random.default_rng(0)
    true = rng.normal(size=50).astype(np.float32)
    predicted = (true + rng.normal(size=50)).astype(np.float32)
    scores = point_scores(TASK, seen_of(predicted, true), TARGETS)
    assert scores["pearson"] == pytest.approx(stats.pearsonr(true, predicted)[0])
    assert scores["spearman"] == pytest.approx(stats.spearmanr(true, predicted)[0])
    assert scores["rmse"] == pytest.approx(np.sqrt(((predicted - true) ** 2).mean()))
    scatter = TASK.details(seen_of(predicted, true), TARGETS)["scatter"]
    assert scatter == {"true": true.tolist(), "predicted": predicted.tolist()}


def rows_with_scores(n, seed, unit=1.0, centre=0.0):
    """An animal or a colour is most of the number, the length of the text the rest."""

    def score(row):
        return (4.0 if row["label"] == "animal" else 1.0) + 0.1 * len(row["text"].split())

    rows = tiny_rows(n, seed=seed)
    return [{"text": row["text"], "score": round(centre + unit * score(row), 9)} for row in rows]


@pytest.fixture(scope="module")
def make_recipe(tiny_model, tmp_path_factory):
    def make(name, unit=1.0, centre=0.0, **train):
        folder = tmp_path_factory.mktemp(name)
        files = {
            split: [str(write_rows(folder / f"{split}.csv", rows_with_scores(n, seed, unit, centre)))]
            for split, n, seed in (("train", 160, 1), ("validation", 60, 2), ("test", 60, 3))
        }
        how = {"num_train_epochs": 3, "learning_rate": 1e-3, "per_device_train_batch_size": 16, **train}
        return Recipe.model_validate({
            "task": TASK.name,
            "model": str(tiny_model),
            "output_dir": str(folder / "run"),
            "data": files,
            "train": how,
            "evaluate": {"bootstrap_samples": 100},
        })  # fmt: skip

    return make


@pytest.fixture(scope="module")
def run(make_recipe):
    return pipeline.train(make_recipe("plain"))


def test_a_run_learns_and_says_how_well(run):
    metrics = run.metrics
    assert metrics["primary"]["name"] == "pearson"
    assert set(metrics["baselines"]) == {"mean", "tfidf_ridge", "probe"}
    assert metrics["baselines"]["mean"]["pearson"] == 0.0
    assert metrics["primary"]["value"] > 0.8
    assert metrics["splits"]["test"]["rmse"]["value"] < 0.7 * metrics["baselines"]["mean"]["rmse"]
    assert run.report_file.is_file()
    assert "NaN" not in run.metrics_file.read_text()
    line = json.loads((run.predictions / "test.jsonl").read_text().splitlines()[0])
    assert line["correct"] is None
    assert set(line["prediction"]) == {"label", "score"}
    assert line["gold"] == rows_with_scores(60, 3)[0]["score"]


def test_metrics_are_those_of_the_answers_and_of_scipy(run):
    rows = rows_with_scores(60, 3)
    answers = [answer["score"] for answer in tunesmith.load(run.path)([row["text"] for row in rows])]
    gold = np.array([row["score"] for row in rows])
    scores = run.metrics["seen_in_training"]["with"] or run.metrics["splits"]["test"]
    assert scores["pearson"]["value"] == pytest.approx(stats.pearsonr(gold, answers)[0], abs=1e-5)
    assert scores["spearman"]["value"] == pytest.approx(stats.spearmanr(gold, answers)[0], abs=1e-3)
    assert scores["mae"]["value"] == pytest.approx(np.abs(gold - answers).mean(), abs=1e-5)


def test_pipeline_of_transformers_gives_the_same_numbers(run):
    from transformers import pipeline as hugging_face

    texts = [row["text"] for row in rows_with_scores(20, 9)]
    theirs = [answer["score"] for answer in hugging_face("text-classification", str(run.model))(texts)]
    ours = [answer["score"] for answer in tunesmith.load(run.path)(texts)]
    assert ours == pytest.approx(theirs, abs=1e-4)
    assert max(theirs) > 2.0


def test_the_same_recipe_twice_gives_the_same_bits(run, tmp_path):
    recipe = Recipe.model_validate(run.manifest()["requested"])
    again = pipeline.train(recipe.model_copy(update={"output_dir": str(tmp_path / "again")}))
    one, other = (load_file(r.model / "model.safetensors") for r in (run, again))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


@pytest.mark.parametrize(("unit", "centre"), [(1000.0, -5000.0), (0.001, 0.0)])
def test_the_unit_of_the_data_changes_nothing(run, make_recipe, unit, centre):
    """One recipe fits prices and probabilities: the same answers in the other unit."""
    other = pipeline.train(make_recipe(f"unit-{unit}", unit, centre, max_grad_norm=1e9))
    plain = pipeline.train(make_recipe("unit-1", max_grad_norm=1e9))
    texts = [row["text"] for row in rows_with_scores(60, 3)]
    in_unit = [(a["score"] - centre) / unit for a in tunesmith.load(other.path)(texts)]
    ours = [a["score"] for a in tunesmith.load(plain.path)(texts)]
    deviation = plain.manifest()["label_schema"]["deviation"]
    assert np.abs(np.array(in_unit) - ours).max() < 0.05 * deviation
    assert other.metrics["primary"]["value"] == pytest.approx(plain.metrics["primary"]["value"], abs=0.01)


def test_the_probe_alone(make_recipe):
    run = pipeline.train(as_probe(make_recipe("probe")))
    metrics = run.metrics
    assert metrics["primary"]["value"] > 0.5
    assert metrics["baselines"]["probe"]["pearson"] == metrics["primary"]["value"]


@pytest.mark.parametrize(
    "options",
    [
        {"neftune_noise_alpha": 5.0},
        {"layer_lr_decay": 0.8},
        {"freeze_embeddings": True},
        {"augment": {"word_dropout": 0.1}},
    ],
)
def test_every_option_it_heeds_trains(make_recipe, options):
    run = pipeline.train(make_recipe("options", max_steps=12, **options))
    assert np.isfinite(run.metrics["primary"]["value"])


def test_pairs_of_texts(make_recipe, tmp_path):
    """Similarity: two texts, and a number."""
    rows = tiny_rows(120, seed=5)
    pairs = [
        {"sentence1": a["text"], "sentence2": b["text"], "similarity": 1 + 4 * (a["label"] == b["label"])}
        for a, b in zip(rows[::2], rows[1::2], strict=True)
    ]
    file = write_rows(tmp_path / "pairs.jsonl", pairs)
    recipe = make_recipe("pairs", max_steps=5)
    run = pipeline.train(recipe.replace(data={"train": [str(file)], "validation": 0.3, "test": None}))
    assert run.manifest()["data"]["columns"] == {
        "text": "sentence1", "text_pair": "sentence2", "score": "similarity",
    }  # fmt: skip
    answer = tunesmith.load(run.path)({"text": "a cat", "text_pair": "a dog"})
    assert np.isfinite(answer["score"])
