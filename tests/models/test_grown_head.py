"""A head that knows some of the labels keeps what it knows of them."""

import numpy as np
import pytest
import torch

from tunesmith.models.grown_head import new_outputs
from tunesmith.models.heads import find_head
from tunesmith.models.loading import load_for_training, load_trained
from tunesmith.models.resolve import resolve_model
from tunesmith.tasks import TASKS


def config(*labels):
    return {"id2label": {str(i): label for i, label in enumerate(labels)}}


def wanted(*labels):
    return {"num_labels": len(labels), "id2label": dict(enumerate(labels))}


@pytest.mark.parametrize(
    ("known", "asked", "outputs"),
    [
        ("ab", "ab", ()),
        ("ac", "abc", (1,)),
        ("b", "abcd", (0, 2, 3)),
        ("ba", "ab", None),
        ("ab", "ac", None),
        ("abc", "ab", None),
        ("aa", "abc", None),
        ("", "ab", None),
    ],
)
def test_only_a_head_with_some_of_the_labels_and_no_others_grows(known, asked, outputs):
    assert new_outputs(config(*known), wanted(*asked), may_grow=True) == outputs
    assert new_outputs(config(*known), wanted(*asked), may_grow=False) == (None if outputs else outputs)


def test_a_task_without_labels_has_no_output_to_add():
    assert new_outputs({}, {}, may_grow=True) == ()


def load(run, labels):
    task = TASKS.get("text-classification")
    return load_for_training(resolve_model(str(run.path)), task, {"labels": labels}, pooling="auto", seed=1)


def test_old_rows_of_the_head_are_kept_wherever_the_new_label_stands(finished_run):
    before = load_trained(resolve_model(str(finished_run.path)), TASKS.get("text-classification")).model
    old = find_head(before, 2)
    loaded = load(finished_run, ["animal", "beast", "colour"])
    head = find_head(loaded.model, 3)
    assert (loaded.head_is_new, loaded.new_outputs) == (False, (1,))
    assert torch.equal(head.weight[[0, 2]], old.weight.cpu())
    assert torch.equal(head.bias[[0, 2]], old.bias.cpu())
    assert loaded.model.config.id2label == {0: "animal", 1: "beast", 2: "colour"}
    assert loaded.model.config.num_hidden_layers == before.config.num_hidden_layers
    assert np.abs(head.weight[1].detach().numpy()).max() < 0.2


def test_other_labels_get_another_head(finished_run):
    loaded = load(finished_run, ["animal", "beast"])
    assert (loaded.head_is_new, loaded.new_outputs) == (True, ())
    assert load(finished_run, ["animal", "colour"]).new_outputs == ()
