"""Which object stands for a task with a model."""

import pytest

from tunesmith.models.task_of_model import task_of_family, task_of_model
from tunesmith.tasks import TASKS
from tunesmith.testing.tiny import write_tiny_model


@pytest.mark.parametrize(
    ("family", "auto_class"), [("llama", "AutoModelForCausalLM"), ("bart", "AutoModelForSeq2SeqLM")]
)
def test_a_writing_task_is_that_of_the_family(tmp_path, family, auto_class):
    task = TASKS.get("summarization")
    assert task_of_family(task, family).auto_class == auto_class
    folder = write_tiny_model(tmp_path / family, family=family)
    assert task_of_model(task, folder) is not None
    assert task_of_model(task, folder).auto_class == auto_class


def test_another_task_is_the_same_for_every_family():
    task = TASKS.get("text-classification")
    assert task_of_family(task, "llama") is task
