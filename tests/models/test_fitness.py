"""A model that cannot do a task is refused when it is opened, with the reason."""

from __future__ import annotations

import pytest

from tunesmith.errors import ModelError
from tunesmith.models.loading import load_for_training, refuse_other_kinds
from tunesmith.models.resolve import resolve_model
from tunesmith.tasks import TASKS
from tunesmith.testing.families import write_family


@pytest.mark.parametrize(
    ("family", "task", "reason"),
    [
        ("bert", "text-generation", "reads the tokens that it must predict"),
        ("bros", "token-classification", "bbox"),
        ("canine", "text-classification", "no token embeddings"),
        ("rwkv", "text-generation", "changes its weights when it reads"),
        ("reformer", "text-classification", "If training"),
    ],
)
def test_what_a_family_cannot_do_is_said(family, task, reason, tmp_path):
    files = resolve_model(str(write_family(tmp_path, family)))
    found = TASKS.get(task)
    label_schema = {"labels": ["animal", "colour"]} if "class" in task else {}
    with pytest.raises(ModelError, match=reason) as caught:
        load_for_training(files, found, label_schema, pooling="auto", seed=0)
    assert caught.value.remedy


def test_a_class_that_transformers_lacks_is_named_before_weights_are_read(tmp_path):
    files = resolve_model(str(write_family(tmp_path, "t5")))
    with pytest.raises(ModelError, match="no class for fill-mask and models of the type `t5`"):
        refuse_other_kinds(files, TASKS.get("fill-mask"))


def test_what_is_not_saved_is_not_trained(tmp_path):
    files = resolve_model(str(write_family(tmp_path, "marian")))
    model = load_for_training(files, TASKS.get("translation"), {}, pooling="auto", seed=0).model
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert "model.encoder.embed_positions.weight" not in learning
    assert "model.shared.weight" in learning
