import sys

import pytest

from tunesmith.errors import UnknownNameError
from tunesmith.registry import Registry
from tunesmith.tasks import TASKS


def test_names_are_files_with_hyphens_and_nothing_is_imported():
    sys.modules.pop("tunesmith.tasks.text_classification", None)
    assert "text-classification" in TASKS.names()
    assert "tunesmith.tasks.text_classification" not in sys.modules


def test_get_returns_the_object_of_the_file():
    assert TASKS.get("text-classification").name == "text-classification"


def test_failed_look_up_teaches():
    with pytest.raises(UnknownNameError, match=r"not a task.*\n.*Did you mean `text-classification`"):
        TASKS.get("text-clasification")


def test_registered_entry_is_found_beside_the_files():
    registry: Registry[int] = Registry("tunesmith.tasks", "task")
    registry.register("a-thirteenth", 13)
    assert registry.get("a-thirteenth") == 13
    assert registry.names() == sorted([*TASKS.names(), "a-thirteenth"])
