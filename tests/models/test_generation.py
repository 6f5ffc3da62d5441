"""Settings of generation, in the model that is saved."""

import pytest
import torch

from tunesmith.encoded import Encoded
from tunesmith.models.generation import set_generation
from tunesmith.models.loading import load_for_training
from tunesmith.models.resolve import resolve_model
from tunesmith.models.task_of_model import task_of_model
from tunesmith.recipe import Recipe
from tunesmith.tasks import IGNORED, TASKS
from tunesmith.testing.tiny import write_tiny_model

TRAIN = Encoded.of({"input_ids": [[5, 6, 7, 8]], "labels": [[IGNORED, 6, 7, 8]]}, {})


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    folder = write_tiny_model(tmp_path_factory.mktemp("model") / "llama", family="llama", dropout=0.0)
    task = task_of_model(TASKS.get("translation"), folder)
    return task, load_for_training(resolve_model(str(folder)), task, {}, pooling="auto", seed=1)


def settings_of(opened, **given):
    task, loaded = opened
    recipe = Recipe.model_validate({"data": {"train": ["a"]}, "generate": given})
    used = set_generation(loaded.model, loaded.tokenizer, task, recipe, TRAIN)
    return loaded.model.generation_config, used.generate


def test_the_penalty_of_repetitions_is_the_recipes_or_the_models_own(opened):
    saved, used = settings_of(opened)
    assert (saved.repetition_penalty or 1.0) == used.repetition_penalty == 1.0
    saved, used = settings_of(opened, repetition_penalty=1.5)
    assert saved.repetition_penalty == used.repetition_penalty == 1.5
    saved, used = settings_of(opened)  # as a model's own
    assert saved.repetition_penalty == used.repetition_penalty == 1.5


def test_texts_repeat_themselves_less(opened):
    _, loaded = opened
    prompt = torch.tensor([[5, 6, 7]])
    written = []
    for penalty in (1.0, 5.0):
        settings_of(opened, repetition_penalty=penalty, max_new_tokens=12)
        loaded.model.generation_config.eos_token_id = None
        written.append(loaded.model.generate(prompt, do_sample=False)[0, 3:].tolist())
    assert len(set(written[1])) > len(set(written[0]))


@pytest.mark.parametrize(
    ("name", "longest", "most"),
    [
        ("chat", 300, 361), ("chat", 10, 256), ("chat", 5000, 2048),
        ("text-generation", 300, 256), ("translation", 300, 361),
    ],
)  # fmt: skip
def test_the_longest_training_answer_can_be_written(opened, monkeypatch, name, longest, most):
    """Else an answer as long as those of the training would never end by itself."""
    monkeypatch.setattr("tunesmith.models.generation.position_limit", lambda *_: 4096)
    task = opened[0] if name == "translation" else TASKS.get(name)
    train = Encoded.of({"labels": [[IGNORED, *range(longest), IGNORED, 1]]}, {})
    recipe = Recipe.model_validate({"data": {"train": ["a"]}})
    model = opened[1].model
    assert set_generation(model, opened[1].tokenizer, task, recipe, train).generate.max_new_tokens == most
    assert model.generation_config.max_new_tokens == most
