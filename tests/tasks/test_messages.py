"""Messages are cleaned, and what is no conversation is refused with its reason."""

import json

import pytest

from tunesmith.tasks import RowError
from tunesmith.tasks._messages import checked_messages

ASK, REPLY = {"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}


def test_messages_are_cleaned():
    parts = [{"type": "text", "text": "h"}, {"type": "text", "text": "i"}]
    messages = [
        {"role": "developer", "content": "Be kind."},
        {"role": "user", "content": parts, "name": None},
        {**REPLY, "reasoning_content": "A greeting.", "weight": 1, "tool_calls": None},
    ]
    assert checked_messages(messages, needs_reply=True) == [
        {"role": "system", "content": "Be kind."},
        ASK,
        {**REPLY, "reasoning_content": "A greeting."},
    ]
    assert checked_messages(json.dumps([ASK]), needs_reply=False) == [ASK]
    twice = [{"role": "system", "content": ""}, ASK, ASK, REPLY]
    assert checked_messages(twice, needs_reply=True) == twice


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "messages must be a list of turns, got NoneType"),
        ("hi", "messages must be a list of turns, got str `hi`"),
        ({"role": "user"}, "messages must be a list of turns"),
        ("[{broken", "messages must be a list of turns"),
        ([], "no turn of a user or an assistant"),
        ([{"role": "system", "content": "x"}], "no turn of a user or an assistant"),
        ([ASK], "no turn of the assistant to learn from"),
        (["hi", REPLY], "turn 1 must have a role and content, got str `hi`"),
        ([{"role": "narrator", "content": "x"}, REPLY], "turn 1 has the role `narrator`; it must be one of"),
        ([{"content": "x"}, REPLY], "turn 1 has the role `None`"),
        ([{"role": "user", "content": " \n"}, REPLY], r"turn 1 \(user\) is empty"),
        ([ASK, {"role": "assistant", "content": None}], r"turn 2 \(assistant\) is empty"),
        ([ASK, {"role": "assistant", "content": "", "tool_calls": []}], r"turn 2 \(assistant\) is empty"),
        ([ASK, {"role": "assistant", "content": float("nan")}], r"turn 2 \(assistant\) is empty"),
        ([ASK, {"role": "tool", "content": ""}, REPLY], r"turn 2 \(tool\) is empty"),
        ([{"role": "user", "content": 42}, REPLY], "turn 1: content must be text, got int `42`"),
        ([ASK, REPLY, {"role": "system", "content": "x"}], "turn 3 is a system turn"),
        ([{"role": "user", "content": [{"type": "image_url"}]}, REPLY], "a part of type `image_url`"),
        ([{"role": "user", "content": [{"type": "text"}]}, REPLY], "turn 1 has a part without text"),
        ([{"role": "user", "content": ["x"]}, REPLY], "a part of the content must be an object"),
        ([{"role": "user", "content": "\ud83d"}, REPLY], "turn 1 is not UTF-8"),
        ([ASK, {"role": "assistant", "tool_calls": "x"}], "tool_calls must be a list"),
        ([ASK, {"role": "assistant", "tool_calls": [{"function": {}}]}], "must name its function"),
        ([ASK, {"role": "assistant", "tool_calls": [{"name": "f", "arguments": "{x"}]}], "`f` are not"),
        ([{"role": "\ud83d", "content": "x"}, REPLY], r"turn 1 has the role `\\ud83d`"),
        ([ASK, {"role": "assistant", "tool_calls": [{"name": "f\ud83d"}]}], "turn 2 is not UTF-8"),
    ],
)  # fmt: skip
def test_what_is_no_conversation_is_refused(value, reason):
    with pytest.raises(RowError, match=reason) as caught:
        checked_messages(value, needs_reply=True)
    assert str(caught.value).endswith(".")


def test_a_long_value_is_shown_short():
    with pytest.raises(RowError) as caught:
        checked_messages("x" * 5000, needs_reply=True)
    assert len(str(caught.value)) < 120
