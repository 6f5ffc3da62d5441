"""What a task declares is checked when its class is made."""

import pytest

from tunesmith.tasks import CAPABILITIES, TASKS, Column, Display, Task, Thresholds, Windows


def whole(**members):
    """A class with all that a task must have, and some members besides."""
    return type("Whole", (Task,), {
        "name": "whole", "summary": "everything", "columns": (Column("text", "text"),),
        "auto_class": "AutoModelForSequenceClassification", "primary_metric": "accuracy",
        **{method: lambda self: None for method in ("read", "encode", "loss", "decode", "statistics", "formula")},
        **members,
    })  # fmt: skip


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("window", "Did you mean `windows`?"),
        ("primary_metrics", "Did you mean `primary_metric`?"),
        ("decod", "Did you mean `decode`?"),
        ("has_probe", "Did you mean `probe`?"),
        ("fit_thresholds", "Did you mean `thresholds`?"),
    ],
)
def test_a_misspelt_member_is_an_error_with_a_suggestion(name, suggestion):
    with pytest.raises(TypeError) as caught:
        whole(**{name: True})
    assert f"Whole`: a task has no member `{name}`. {suggestion}" in str(caught.value)


def test_private_names_are_the_tasks_own():
    assert whole(_labels=("few", "many"))._labels == ("few", "many")


def test_what_is_missing_is_named_at_once():
    with pytest.raises(TypeError) as caught:

        class Half(Task):
            name = "half"

            def read(self, row):
                return {}

    message = str(caught.value)
    for member in (
        "summary",
        "columns",
        "auto_class",
        "primary_metric",
        "encode",
        "loss",
        "decode",
        "formula",
    ):
        assert f"`{member}`" in message
    assert "`name`" not in message
    assert "`read`" not in message


def test_a_base_class_of_several_tasks_declares_members_by_annotation():
    class Base(Task, abstract=True):
        measures: tuple[str, ...]

    members = {name: value for name, value in vars(whole()).items() if not name.startswith("__")}
    with pytest.raises(TypeError, match="must define `measures`"):
        type("One", (Base,), members)
    assert type("One", (Base,), {**members, "measures": ("chrf",)}).measures == ("chrf",)


@pytest.mark.parametrize("value", [True, Windows, "windows", Thresholds(lambda evaluated, schema: schema)])
def test_a_capability_is_an_object_of_its_class(value):
    with pytest.raises(
        TypeError, match=r"`windows` must be a `Windows` or None, got .* Write `windows = Windows\("
    ):
        whole(windows=value)


def test_every_capability_of_the_core_is_checked():
    """A capability that is missing in the table would be accepted as anything."""
    annotated = {name for name, kind in Task.__annotations__.items() if kind.endswith("| None")}
    assert annotated | {"length", "schedule"} == set(CAPABILITIES)


def test_a_task_without_a_display_shows_each_entry_of_its_answer():
    line = {"text": "a text", "gold": 3, "prediction": {"label": "x", "parts": ["a", "b"]}}
    display = whole().display
    assert isinstance(display, Display)
    assert [cell[0][0] for cell in display.cells(line, ("text",))] == ["a text", "3", "label: x, parts: a\nb"]


@pytest.mark.parametrize("name", TASKS.names())
def test_names_are_derived_from_the_columns(name):
    task = TASKS.get(name)
    assert task.inputs
    assert set(task.shown) <= set(task.inputs)
    assert task.text_column in ("", *task.inputs)
