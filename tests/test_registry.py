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


def test_an_entry_is_replaced_for_a_while():
    registry: Registry[int] = Registry("tunesmith.tasks", "task")
    with registry.replaced("chat", 2), registry.replaced("a-new-one", 3):
        assert (registry.get("chat"), registry.get("a-new-one"), registry.origin("chat")) == (2, 3, "")
        assert registry.names() == sorted([*TASKS.names(), "a-new-one"])
        with registry.replaced("chat", 4):
            assert registry.get("chat") == 4
        assert registry.get("chat") == 2
    assert registry.get("chat") is TASKS.get("chat")
    assert "a-new-one" not in registry.names()
