"""Turns that are only read, and the turns that are learned."""

import pytest

from tunesmith.tasks import RowError
from tunesmith.tasks._marks import learned_turns, without_marks
from tunesmith.tasks._messages import checked_messages

ASK = {"role": "user", "content": "a"}


def chat(*marks):
    """A question, and a reply with each of the marks."""
    return [turn for mark in marks for turn in (ASK, {"role": "assistant", "content": "b", **mark})]


UNREAD = [
    {"train": False}, {"training": False}, {"weight": 0}, {"weight": 0.0}, {"loss": False}, {"train": 0},
    {"train": "false"}, {"weight": "0"}, {"train": False, "weight": 0},
]  # fmt: skip


@pytest.mark.parametrize("mark", UNREAD)
def test_a_marked_turn_is_not_learned(mark):
    messages = checked_messages(chat({}, mark, {}), needs_reply=True)
    assert learned_turns(messages) == [1, 5]
    assert without_marks(messages) == [
        {name: turn[name] for name in ("role", "content")} for turn in messages
    ]


@pytest.mark.parametrize("mark", [{}, {"train": True}, {"weight": 1}, {"weight": 1.0}, {"train": None}])
def test_other_turns_are_learned_and_have_no_mark(mark):
    messages = checked_messages(chat(mark), needs_reply=True)
    assert messages == [ASK, {"role": "assistant", "content": "b"}]


@pytest.mark.parametrize("value", [0.5, 0.1, 2, -1, "half", float("nan"), [1]])
def test_a_fraction_is_refused_not_rounded(value):
    with pytest.raises(RowError, match=r"turn 2 \(assistant\) has `weight: .*`; it must be 0 or 1") as caught:
        checked_messages(chat({"weight": value}), needs_reply=True)
    assert "`train: false` or `weight: 0`" in caught.value.hint


def test_marks_that_contradict_each_other_are_refused():
    with pytest.raises(RowError, match=r"`train: True` and `weight: 0`, which contradict"):
        checked_messages(chat({"train": True, "weight": 0}), needs_reply=True)


@pytest.mark.parametrize("role", ["system", "user", "tool"])
def test_only_the_assistant_can_be_learned(role):
    marked = [{"role": role, "content": "a", "train": True}, *chat({})]
    with pytest.raises(RowError, match=rf"turn 1 \({role}\) has `train: True`; only turns of the assistant"):
        checked_messages(marked, needs_reply=True)
    read = [{"role": role, "content": "a", "weight": 0}, *chat({})]
    assert learned_turns(checked_messages(read, needs_reply=True)) == [2]


def test_parts_of_a_turn_are_refused():
    detail = [{"begin_offset": 0, "end_offset": 1, "train": False}]
    with pytest.raises(RowError, match="has `train_detail`; a turn is learned as a whole or not at all"):
        checked_messages(chat({"train_detail": detail}), needs_reply=True)
    assert checked_messages(chat({"train_detail": None}), needs_reply=True)


def test_the_last_turn_alone():
    messages = checked_messages([*chat({}, {}), ASK], needs_reply=True)
    assert learned_turns(messages, "all") == [1, 3]
    assert learned_turns(messages, "last") == [3]
    marked = checked_messages(chat({}, {"train": False}), needs_reply=True)
    assert learned_turns(marked, "last") == [], "an earlier turn does not take its place"
    assert learned_turns([ASK], "last") == []
