import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from sklearn.metrics import accuracy_score, f1_score
from torch.nn import functional as F

import tunesmith
from tunesmith import pipeline
from tunesmith.data.columns import choose_view
from tunesmith.data.examples import read_examples
from tunesmith.data.read_options import ReadOptions
from tunesmith.encoded import Encoded
from tunesmith.errors import DataError
from tunesmith.models.loading import load_for_training, load_trained
from tunesmith.models.resolve import resolve_model
from tunesmith.models.saving import save_model
from tunesmith.recipe import Recipe
from tunesmith.tasks import (
    PLAIN_LOSS,
    TASKS,
    EncodeOptions,
    EvalPredictions,
    LossOptions,
    RowError,
    point_scores,
)
from tunesmith.testing.tiny import as_probe, write_rows

TASK = TASKS.get("multi-label-classification")
TARGETS = {"labels": ["a", "b", "c"]}


def read(value):
    return TASK.read({"text": "some text", "labels": value})["labels"]


@pytest.mark.parametrize(
    ("value", "labels"),
    [
        (["joy", "anger"], ["joy", "anger"]),
        (("joy",), ["joy"]),
        ([], []),
        ('["joy", "anger"]', ["joy", "anger"]),
        (' ["a, b", "c; d"]', ["a, b", "c; d"]),
        ("[]", []),
        ("joy; anger", ["joy", "anger"]),
        ("joy|anger", ["joy", "anger"]),
        ("joy, anger", ["joy", "anger"]),
        ("north, south; east", ["north, south", "east"]),
        ("joy", ["joy"]),
        ("joy;", ["joy"]),
        ("", []),
        ("  ", []),
        ([3, 1], ["3", "1"]),
        ([1.0], ["1"]),
        (["joy", "joy"], ["joy"]),
        ({"joy": 1, "anger": 0, "fear": True}, ["joy", "fear"]),
        ({"joy": "1.0", "anger": "false", "fear": " YES "}, ["joy", "fear"]),
        ({"joy": None, "anger": "", "fear": "no"}, []),
    ],
)
def test_labels_in_every_form(value, labels):
    assert read(value) == labels


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "no labels"),
        (float("nan"), "no labels"),
        (3, "must be a list, got int"),
        ("[joy, anger]", "neither JSON nor"),
        ('["joy", "anger"', "neither JSON nor"),
        ([["joy"]], "is a list"),
        ([{"label": "joy"}], "is a dict"),
        ([0.5], "0.5 is not a whole number"),
        ([None], "no label"),
        ([""], "label is empty"),
        (["nan"], "no label"),
        ({"joy": 2, "anger": 0}, "column `joy` must be 0 or 1, got `2`"),
        ({"joy": "perhaps"}, "column `joy` must be 0 or 1"),
    ],
)
def test_what_is_no_labels(value, reason):
    with pytest.raises(RowError, match=reason):
        read(value)


def view(rows, named=None, **how):
    return choose_view(TASK, rows, ReadOptions(named or {}), location="a.csv", **how)


FLAGS = [
    {"comment": "what a lovely day it is", "toxic": "0", "rude": "0"},
    {"comment": "go away you fool", "toxic": "1", "rude": "1"},
]


def test_columns_of_zeros_and_ones_are_recognised():
    found = view(FLAGS)
    assert found.chosen == {"rows": "one column a label (comment, toxic, rude)"}
    assert [TASK.read(found.values(row))["labels"] for row in FLAGS] == [[], ["toxic", "rude"]]


def test_beside_columns_of_zeros_and_ones_the_second_text_is_read():
    rows = [{"sentence1": "so it is", "sentence2": "is it so", **{k: row[k] for k in ("toxic", "rude")}}
            for row in FLAGS]  # fmt: skip
    found = view(rows)
    assert found.chosen == {"rows": "one column a label (sentence1, sentence2, toxic, rude)"}
    read = TASK.read(found.values(rows[1]))
    assert read == {"text": "so it is", "text_pair": "is it so", "labels": ["toxic", "rude"]}


def test_columns_of_zeros_and_ones_can_be_named():
    rows = [{**row, "seen": "1"} for row in FLAGS]
    found = view(rows, {"text": "comment", "labels": ["toxic", "rude"]})
    assert found.chosen == {"text": "comment", "labels": "toxic, rude"}
    assert TASK.read(found.values(rows[0]))["labels"] == []
    with pytest.raises(DataError, match=r"no column `toxik`(.|\n)*Did you mean `toxic`"):
        view(rows, {"text": "comment", "labels": ["toxik", "rude"]})


def test_one_column_of_flags_or_a_column_of_lists_is_read_by_columns():
    one = [{"text": "a text of four words", "labels": "a;b", "toxic": "0", "rude": "1"}]
    assert view(one).chosen == {"text": "text", "labels": "labels"}
    with pytest.raises(DataError, match="needs a column `labels`"):
        view([{"text": "a text of four words", "toxic": "0"}])


def test_a_running_number_is_no_label():
    """pandas writes one as a column without a name; it begins with 0."""
    rows = [{"id": str(i), **FLAGS[i % 2]} for i in range(6)]
    found = view(rows)
    assert [TASK.read(found.values(row))["labels"] for row in rows] == [[], ["toxic", "rude"]] * 3


def test_a_file_of_flags_is_read_whole(tmp_path):
    file = write_rows(tmp_path / "a.csv", FLAGS)
    reading = read_examples(TASK, [str(file)])
    assert reading.invalid_rows == []
    assert reading.examples.columns["labels"] == [[], ["toxic", "rude"]]


def test_targets_are_all_labels_in_a_stable_order():
    assert TASK.learn_label_schema({"labels": [["b", "A b"], [], ["b"]]}) == {"labels": ["A b", "b"]}
    assert TASK.learn_label_schema({"labels": [["10"], ["9", "-1"], []]}) == {"labels": ["-1", "9", "10"]}


def test_rows_without_a_single_label_and_labels_that_never_repeat_are_refused():
    with pytest.raises(DataError, match="none of the 2 training rows has a label"):
        TASK.learn_label_schema({"labels": [[], []]})
    with pytest.raises(DataError, match="labels must repeat, and the training rows have 60 different"):
        TASK.learn_label_schema({"labels": [[f"label {i}"] for i in range(60)]})


def test_an_unknown_label_is_told_with_a_suggestion():
    TASK.check_targets({"labels": []}, TARGETS)
    TASK.check_targets({"labels": ["a", "c"]}, TARGETS)
    with pytest.raises(RowError, match=r"label `angr` does not occur (.|\n)*Did you mean `anger`"):
        TASK.check_targets({"labels": ["joy", "angr"]}, {"labels": ["anger", "joy"]})


def test_config_round_trip(tiny_model, tmp_path):
    files = resolve_model(str(tiny_model))
    loaded = load_for_training(files, TASK, TARGETS, pooling="mean", seed=1)
    fitted = {**TARGETS, "thresholds": [0.25, 0.5, 0.125]}
    for label_schema in (TARGETS, fitted):
        loaded.model.config.update(TASK.config(label_schema))
        save_model(loaded.model, loaded.tokenizer, tmp_path / "model", max_length=40)
        again = load_trained(resolve_model(str(tmp_path / "model")), TASK).model.config
        assert TASK.label_schema_of(again) == label_schema
        assert again.problem_type == "multi_label_classification"
        assert again.num_labels == 3


def test_labels_become_zeros_and_ones(tiny_model):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    batch = {"text": ["a cat", "red", "a"], "labels": [["c", "a"], [], ["b"]]}
    encoded = TASK.encode(batch, tokenizer, EncodeOptions(None), TARGETS)
    assert encoded.dense["labels"].tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]
    assert TASK.encode({"text": ["a"]}, tokenizer, EncodeOptions(None, "predict"), TARGETS).dense == {}


LOGITS = torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
LABELS = (torch.rand(7, 3, generator=torch.Generator().manual_seed(2)) > 0.5).float()
BATCH = {"labels": LABELS}


def loss(**options):
    return TASK.loss(LOGITS, BATCH, LossOptions(**options))


def test_the_loss_is_the_sum_over_labels_and_rows():
    expected = F.binary_cross_entropy_with_logits(LOGITS, LABELS.double(), reduction="sum")
    assert torch.allclose(loss(), expected)
    parts = [TASK.loss(LOGITS[i : i + 1], {"labels": LABELS[i : i + 1]}, PLAIN_LOSS) for i in range(7)]
    assert torch.allclose(loss(), torch.stack(parts).sum())
    assert TASK.loss(LOGITS.bfloat16(), BATCH, PLAIN_LOSS).dtype == torch.float32


def test_smoothing_moves_every_label_towards_a_half():
    smooth = 0.8 * LABELS.double() + 0.2 * 0.5
    expected = F.binary_cross_entropy_with_logits(LOGITS, smooth, reduction="sum")
    assert torch.allclose(loss(label_smoothing=0.2), expected)


def test_the_focal_factor_is_that_of_the_paper():
    """Lin et al. 2017, equation 4, for each label."""
    p = torch.where(LABELS > 0, LOGITS.sigmoid(), 1 - LOGITS.sigmoid())
    assert torch.allclose(loss(focal_gamma=2.0), (-((1 - p) ** 2) * p.log()).sum())


def test_weights_weigh_the_rows_that_have_the_label():
    weights = (0.5, 1.0, 4.0)
    each = F.binary_cross_entropy_with_logits(LOGITS, LABELS.double(), reduction="none")
    factor = torch.where(LABELS > 0, torch.tensor(weights), 1.0)
    assert torch.allclose(loss(class_weights=weights), (factor * each).sum())


def seen_of(logits, labels=None):
    dense = {} if labels is None else {"labels": np.asarray(labels, np.float32)}
    return EvalPredictions(
        {}, Encoded.of({"input_ids": [[1]] * len(logits)}, dense), np.asarray(logits, np.float32)
    )


def test_decode_gives_every_label_above_its_threshold_most_probable_first():
    logits = np.log([[0.3 / 0.7, 0.9 / 0.1, 0.45 / 0.55], [0.1 / 0.9, 0.2 / 0.8, 0.1 / 0.9]])
    both = TASK.decode(seen_of(logits), TARGETS)
    assert [[item["label"] for item in answer["labels"]] for answer in both] == [["b"], []]
    lower = TASK.decode(seen_of(logits), {**TARGETS, "thresholds": [0.25, 0.95, 0.25]})
    assert [[item["label"] for item in answer["labels"]] for answer in lower] == [["c", "a"], []]
    assert lower[0]["labels"][0]["score"] == pytest.approx(0.45)
    assert lower[0]["scores"] == pytest.approx([0.3, 0.9, 0.45])
    assert TASK.decode(seen_of([[1e4, -1e4, 0.0]]), TARGETS)[0]["scores"] == pytest.approx([1.0, 0.0, 0.5])


def test_correct_is_all_right_and_none_too_many():
    answer = {"labels": [{"label": "b", "score": 0.9}, {"label": "a", "score": 0.6}]}
    assert TASK.is_correct(answer, ["a", "b"])
    assert not TASK.is_correct(answer, ["b"])
    assert not TASK.is_correct(answer, ["a", "b", "c"])
    assert TASK.is_correct({"labels": []}, [])


def noisy_logits(seed=0, n=300):
    """Logits that tell the labels, but all too low: a threshold of 0.5 finds few."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((n, 3)) < 0.3).astype(np.float32)
    return 2.0 * labels - 3.0 + rng.normal(size=(n, 3)), labels


def test_thresholds_are_fitted_heard_by_the_metrics_and_by_the_answers():
    evaluated = seen_of(*noisy_logits())
    fitted = TASK.thresholds.fit(evaluated, TARGETS)
    assert fitted["labels"] == TARGETS["labels"]
    assert all(0 < threshold < 0.5 for threshold in fitted["thresholds"])
    before, after = (point_scores(TASK, evaluated, label_schema) for label_schema in (TARGETS, fitted))
    assert after["f1_macro"] > before["f1_macro"] + 0.1
    assert TASK.validation_scores(evaluated, TARGETS) == after
    answers = TASK.decode(evaluated, fitted)
    names = [{item["label"] for item in answer["labels"]} for answer in answers]
    on = [[label in given for label in "abc"] for given in names]
    gold = evaluated.encoded.dense["labels"]
    assert after["f1_micro"] == pytest.approx(f1_score(gold, on, average="micro"))
    assert after["f1_macro"] == pytest.approx(f1_score(gold, on, average="macro"))
    assert after["exact_match"] == pytest.approx(accuracy_score(gold, on))
    assert fitted == json.loads(json.dumps(fitted))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.floats(-12, 3))
def test_thresholds_as_they_are_saved_are_never_worse_than_a_half(seed, shift):
    """On the rows they were fitted on; however small the probabilities are."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((40, 2)) < 0.5).astype(np.float32)
    evaluated = seen_of(2.0 * labels + shift + rng.normal(size=(40, 2)), labels)
    label_schema = {"labels": ["a", "b"]}
    before = point_scores(TASK, evaluated, {**label_schema, "thresholds": [0.5, 0.5]})
    after = point_scores(TASK, evaluated, TASK.thresholds.fit(evaluated, label_schema))
    assert after["f1_macro"] >= before["f1_macro"] - 1e-12


def test_thresholds_of_tiny_probabilities_keep_their_digits():
    """A rare label of a model that is sure of nothing: it is told apart at 3e-7."""
    labels = np.zeros((40, 1), np.float32)
    labels[:12] = 1.0
    evaluated = seen_of(np.where(labels > 0, -14.5, -15.5), labels)
    fitted = TASK.thresholds.fit(evaluated, {"labels": ["a"]})
    assert point_scores(TASK, evaluated, fitted)["f1_micro"] == 1.0


def test_details_are_a_line_a_label():
    evaluated = seen_of([[9, -9, 9], [9, -9, -9]], [[1, 0, 0], [1, 1, 0]])
    table = TASK.details(evaluated, TARGETS)["per_class"]
    assert table["labels"] == ["a", "b", "c"]
    assert table["precision"] == [1.0, None, 0.0]  # `b` was never given
    assert table["recall"] == [1.0, 0.0, None]  # `c` has no row
    assert table["f1"] == [1.0, 0.0, None]
    assert table["support"] == [2, 1, 0]


def rows_with_labels(n, seed):
    """Texts of three words that name an animal, a colour, a number, several of them or none."""
    rng = np.random.default_rng(seed)
    words = {"animal": ["cat", "dog", "horse"], "colour": ["red", "green", "blue"], "letter": ["x", "y", "z"]}
    found = []
    for i in range(n):
        labels = [label for label in words if rng.random() < 0.4]
        parts = [str(rng.choice(words[label])) for label in labels]
        parts += [str(word) for word in rng.choice(["the", "is", "near", "old", "here"], 4 - len(parts))]
        found.append({"text": " ".join(rng.permutation(parts)) + f" {'abcdefgh'[i % 8]}", "labels": labels})
    return found


@pytest.fixture(scope="module")
def recipe(tiny_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("multi-label")
    files = {
        split: [str(write_rows(folder / f"{split}.jsonl", rows_with_labels(n, seed)))]
        for split, n, seed in (("train", 160, 1), ("validation", 60, 2), ("test", 60, 3))
    }
    return Recipe.model_validate({
        "task": TASK.name,
        "model": str(tiny_model),
        "output_dir": str(folder / "run"),
        "data": files,
        "train": {"num_train_epochs": 3, "learning_rate": 5e-3, "per_device_train_batch_size": 16},
        "evaluate": {"bootstrap_samples": 100},
    })  # fmt: skip


@pytest.fixture(scope="module")
def run(recipe):
    return pipeline.train(recipe)


def test_baselines_do_not_depend_on_the_thresholds_of_the_model(run, recipe, tmp_path):
    """Another model, of other thresholds, is set beside the same baselines."""
    other = recipe.replace(train={"max_steps": 1}).model_copy(update={"output_dir": str(tmp_path / "run")})
    less = pipeline.train(other)
    assert less.manifest()["label_schema"]["thresholds"] != run.manifest()["label_schema"]["thresholds"]
    assert less.metrics["baselines"] == run.metrics["baselines"]


def test_a_run_learns_and_says_how_well(run):
    metrics = run.metrics
    assert metrics["primary"]["name"] == "f1_micro"
    assert set(metrics["baselines"]) == {"all_frequent", "tfidf_logistic_regression", "probe"}
    assert metrics["primary"]["value"] > metrics["baselines"]["all_frequent"]["f1_micro"]
    assert metrics["primary"]["value"] > 0.85
    assert set(metrics["details"]["per_class"]["labels"]) == {"animal", "colour", "letter"}
    assert run.report_file.is_file()
    line = json.loads((run.predictions / "test.jsonl").read_text().splitlines()[0])
    assert set(line) == {"row", "text", "gold", "prediction", "correct"}
    assert line["correct"] == ({item["label"] for item in line["prediction"]["labels"]} == set(line["gold"]))


def test_metrics_are_those_of_the_answers_and_of_scikit_learn(run, recipe):
    rows = rows_with_labels(60, 3)
    answers = tunesmith.load(run.path)([row["text"] for row in rows])
    names = ["animal", "colour", "letter"]
    on = [[name in {item["label"] for item in answer["labels"]} for name in names] for answer in answers]
    gold = [[name in row["labels"] for name in names] for row in rows]
    scores = run.metrics["splits"]["test"]
    assert scores["f1_micro"]["value"] == pytest.approx(f1_score(gold, on, average="micro"), abs=1e-12)
    assert scores["f1_macro"]["value"] == pytest.approx(f1_score(gold, on, average="macro"), abs=1e-12)
    assert scores["exact_match"]["value"] == pytest.approx(accuracy_score(gold, on), abs=1e-12)
    again = pipeline.evaluate(run.path, recipe.data.test)
    assert again["splits"]["test"] == scores


def test_the_thresholds_are_saved_and_used(run, tmp_path):
    import shutil

    config = json.loads((run.model / "config.json").read_text())
    saved = config["tunesmith_thresholds"]
    assert len(saved) == 3
    assert run.manifest()["label_schema"]["thresholds"] == saved
    predictor = tunesmith.load(run.path)
    assert predictor.label_schema["thresholds"] == saved
    assert predictor("the cat is red")["labels"]
    copy = shutil.copytree(run.path, tmp_path / "copy")
    config["tunesmith_thresholds"] = [1.1] * 3
    (copy / "model" / "config.json").write_text(json.dumps(config))
    type(run)(copy).finish()
    assert tunesmith.load(copy)("the cat is red")["labels"] == []


def test_pipeline_of_transformers_gives_the_same_probabilities(run):
    from transformers import pipeline as hugging_face

    texts = [row["text"] for row in rows_with_labels(20, 9)]
    theirs = hugging_face("text-classification", str(run.model), top_k=None)(texts)
    predictor = tunesmith.load(run.path)
    for mine, other in zip(predictor(texts, top_k=None), theirs, strict=True):
        by_label = {item["label"]: item["score"] for item in other}
        ours = {item["label"]: item["score"] for item in mine["top"]}
        assert ours == pytest.approx(by_label, abs=1e-5)


def test_a_row_without_labels_is_answered_without(run):
    lines = [json.loads(line) for line in (run.predictions / "test.jsonl").read_text().splitlines()]
    answers = [line["prediction"]["labels"] for line in lines if line["gold"] == []]
    assert len(answers) > 5
    assert sum(answer == [] for answer in answers) > 0.8 * len(answers)


def test_the_same_recipe_twice_gives_the_same_bits(run, recipe, tmp_path):
    again = pipeline.train(recipe.model_copy(update={"output_dir": str(tmp_path / "again")}))
    one, other = (load_file(r.model / "model.safetensors") for r in (run, again))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    assert json.loads((run.model / "config.json").read_text()) == json.loads(
        (again.model / "config.json").read_text()
    )


def test_the_probe_alone(recipe, tmp_path):
    run = pipeline.train(as_probe(recipe).model_copy(update={"output_dir": str(tmp_path / "probe")}))
    metrics = run.metrics
    assert metrics["primary"]["value"] > metrics["baselines"]["all_frequent"]["f1_micro"]
    assert metrics["baselines"]["probe"]["f1_micro"] == metrics["primary"]["value"]
    loaded = load_trained(resolve_model(str(run.model)), TASK)
    assert (
        TASK.label_schema_of(loaded.model.config)["thresholds"]
        == run.manifest()["label_schema"]["thresholds"]
    )


@pytest.mark.parametrize(
    "options",
    [
        {"focal_gamma": 2.0},
        {"label_smoothing_factor": 0.1},
        {"r_drop_alpha": 1.0},
        {"neftune_noise_alpha": 5.0},
        {"layer_lr_decay": 0.8},
        {"freeze": ["embeddings"]},
        {"class_weights": "balanced"},
        {"augment": {"word_dropout": 0.1, "typos": 0.1}},
    ],
)
def test_every_option_it_heeds_trains(recipe, tmp_path, options):
    how = recipe.replace(train={**options, "max_steps": 12})
    run = pipeline.train(how.model_copy(update={"output_dir": str(tmp_path / "run")}))
    assert np.isfinite(run.metrics["primary"]["value"])


def test_flags_in_a_csv_train_and_predict(tiny_model, tmp_path):
    rows = [
        {"text": row["text"], **{name: int(name in row["labels"]) for name in ("animal", "colour", "letter")}}
        for row in rows_with_labels(80, 1)
    ]
    recipe = Recipe.model_validate({
        "task": TASK.name,
        "model": str(tiny_model),
        "output_dir": str(tmp_path / "run"),
        "data": {"train": [str(write_rows(tmp_path / "train.csv", rows))], "validation": 0.25},
        "train": {"method": "probe"},
        "evaluate": {"bootstrap_samples": 100, "baselines": False},
    })  # fmt: skip
    run = pipeline.train(recipe)
    assert run.manifest()["label_schema"]["labels"] == ["animal", "colour", "letter"]
    assert run.manifest()["data"]["columns"] == {"rows": "one column a label (text, animal, colour, letter)"}
