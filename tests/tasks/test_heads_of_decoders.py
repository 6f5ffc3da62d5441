"""Labels by decoders: a head on the last token of a text, or on each token, whatever pads the batch."""

import json

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import tunesmith
from tunesmith import pipeline
from tunesmith.examples import example_folder
from tunesmith.recipe import Recipe
from tunesmith.testing.families import write_family
from tunesmith.testing.tiny import tiny_task_rows, write_rows, write_tiny_model

pytestmark = pytest.mark.usefixtures("lean")

TASKS = ("text-classification", "token-classification")
FAMILIES = ("llama", "qwen2", "gpt2")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    home = tmp_path_factory.mktemp("models")
    others = {name: write_family(home / name, name) for name in FAMILIES[1:]}
    return {"llama": write_tiny_model(home / "llama", family="llama", dropout=0.0), **others}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    return {task: write_rows(folder / f"{task}.jsonl", tiny_task_rows(task, 120)) for task in TASKS}


def recipe_of(task, model, file, folder, **train):
    return Recipe.model_validate({
        "task": task, "model": str(model), "output_dir": str(folder),
        "data": {"train": [str(file)], "validation": 0.2, "test": 0.2},
        "train": {"max_steps": 12, "learning_rate": 3e-3, "per_device_train_batch_size": 8, **train},
        "evaluate": {"bootstrap_samples": 100},
    })  # fmt: skip


TEXTS = ["the old cat", "a", "the blue bird is near the old house and a small red dog is here too", "red fox"]


def _without_score(entity):
    return {name: value for name, value in entity.items() if name != "score"}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("task", TASKS)
def test_answers_do_not_depend_on_the_batch(task, family, models, files, tmp_path):
    run = pipeline.train(recipe_of(task, models[family], files[task], tmp_path / "run"))
    model = tunesmith.load(run.path)
    together, alone = model(TEXTS), [model(text) for text in TEXTS]
    for one, other in zip(together, alone, strict=True):
        if task == "text-classification":
            assert one["label"] == other["label"]
            assert one["score"] == pytest.approx(other["score"], abs=1e-5)
        else:
            assert [_without_score(e) for e in one["entities"]] == [
                _without_score(e) for e in other["entities"]
            ]
    again = tunesmith.evaluate(run.path, str(files[task]))
    assert again["primary"]["n"] > 0


def test_the_head_reads_the_last_token_of_each_text(models, files, tmp_path):
    """The logits are those of the head on the hidden state of the last token, in plain transformers."""
    run = pipeline.train(recipe_of("text-classification", models["llama"], files[TASKS[0]], tmp_path / "run"))
    stock = AutoModelForSequenceClassification.from_pretrained(run.model).eval()
    tokenizer = AutoTokenizer.from_pretrained(run.model)
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt")
    assert int((batch["attention_mask"] == 0).sum()) > 0
    with torch.no_grad():
        padded = stock(**batch).logits
        for row, text in enumerate(TEXTS):
            ids = tokenizer(text, return_tensors="pt")
            hidden = stock.model(**ids).last_hidden_state[0, -1]
            assert torch.allclose(padded[row], stock.score(hidden), atol=1e-5)
    ours = tunesmith.load(run.path)(TEXTS, top_k=None)
    labels = stock.config.id2label
    for row, answer in enumerate(ours):
        assert answer["label"] == labels[int(padded[row].argmax())]


@pytest.mark.parametrize("pad", [None, -1, 7])
def test_a_config_that_names_another_padding_token_than_the_tokenizer(pad, models, files, tmp_path):
    """Old configs of Llama say -1; the class would take the padding for the end of the text."""
    base = write_tiny_model(tmp_path / "base", family="llama", dropout=0.0)
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, "pad_token_id": pad}))
    run = pipeline.train(recipe_of("text-classification", base, files[TASKS[0]], tmp_path / "run"))
    model = tunesmith.load(run.path)
    together, alone = model(TEXTS, top_k=None), [model(text, top_k=None) for text in TEXTS]
    for one, other in zip(together, alone, strict=True):
        assert [s["score"] for s in one["top"]] == pytest.approx([s["score"] for s in other["top"]], abs=1e-5)


def test_a_text_that_ends_with_the_padding_token_has_one_answer(models, files, tmp_path):
    """The padding token of many decoders is the one that ends a text."""
    base = write_tiny_model(tmp_path / "base", family="llama", dropout=0.0)
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer.save_pretrained(base)
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, "pad_token_id": tokenizer.eos_token_id}))
    run = pipeline.train(recipe_of("text-classification", base, files[TASKS[0]], tmp_path / "run"))
    model = tunesmith.load(run.path)
    texts = ["the cat</s>", "</s>", *TEXTS]
    scores = [a["score"] for a in model(texts)]
    assert np.allclose(scores, [model(text)["score"] for text in texts], atol=1e-5)


@pytest.mark.slow
def test_the_embedded_decoder_learns_labels(smollm, tmp_path):
    """A head and an adapter on real weights: the second loss of the same rows is far lower, whatever the batch."""
    rows = [
        {"text": row["text"], "label": row["intent"]}
        for row in map(json.loads, (example_folder("support") / "train.jsonl").read_text().splitlines())
        if row["intent"] in INTENTS
    ]
    file = write_rows(tmp_path / "rows.jsonl", sorted(rows, key=lambda row: len(row["text"]))[:12])
    steps = {"max_steps": 2, "learning_rate": 1e-3, "method": "lora", "head_start": False, "logging_steps": 1}
    recipe = recipe_of("text-classification", smollm, file, tmp_path / "run", **steps)
    plain = {"data": {"check": "off"}, "evaluate": {"baselines": False, "calibration": "none"}}
    run = pipeline.train(recipe.replace(**plain))
    before, after = (event["loss"] for event in run.events() if event["kind"] == "step")
    assert after < 0.7 * before
    model = tunesmith.load(run.path)
    texts = ["Where is my parcel?", rows[0]["text"], "late"]
    assert [a["score"] for a in model(texts)] == pytest.approx([model(t)["score"] for t in texts], abs=1e-4)


INTENTS = ("order_status", "repair_booking")
