"""Every format becomes the same messages, which hold or are refused."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.tasks import RowError
from tunesmith.tasks._conversations import recognise, recognise_preference
from tunesmith.tasks._messages import checked_messages, checked_tools

ASK, REPLY = {"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}
CALL = {"type": "function", "function": {"name": "weather", "arguments": {"city": "Bern"}}}


def converted(row, *, find=recognise):
    found = find(list(row), row)
    assert found is not None, "the format was not recognised"
    assert set(found.columns) <= set(row)
    return found.name, found.convert(row)


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("messages", {"id": 7, "messages": [ASK, REPLY]}),
        ("messages", {"messages": json.dumps([ASK, REPLY])}),
        (
            "sharegpt",
            {"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]},
        ),
        ("sharegpt", {"conversation": [{"from": "user", "value": "hi"}, {"from": "bard", "value": "hello"}]}),
        ("messages", {"conversations": [ASK, REPLY]}),
        ("sharegpt", {"messages": '[{"from": "Human", "value": "hi"}, {"from": "bing", "value": "hello"}]'}),
        ("alpaca", {"instruction": "hi", "input": "", "output": "hello"}),
        ("alpaca", {"instruction": "hi", "response": "hello"}),
        ("alpaca", {"instruction": None, "input": "hi", "output": "hello"}),
        ("prompt-completion", {"prompt": "hi", "completion": "hello"}),
        ("prompt-completion", {"prompt": "hi", "answer": "hello", "score": 0.5}),
        ("prompt-completion", {"prompt": [ASK], "completion": [REPLY]}),
        ("prompt-completion", {"prompt": json.dumps([ASK]), "response": "hello"}),
        ("question-answer", {"question": "hi", "answer": "hello"}),
    ],
)
def test_every_format_gives_the_same_messages(name, row):
    assert converted(row) == (name, {"messages": [ASK, REPLY]})


def test_a_system_column_comes_first_unless_there_is_a_system_turn():
    turns = [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]
    system = {"role": "system", "content": "Be kind."}
    expected = {"messages": [system, ASK, REPLY]}
    assert converted({"system": "Be kind.", "conversations": turns})[1] == expected
    told = [{"from": "system", "value": "Be kind."}, *turns]
    assert converted({"system": "Be rude.", "conversations": told})[1] == expected
    assert converted({"system": " ", "conversations": turns})[1] == {"messages": [ASK, REPLY]}
    assert converted({"system": "Be kind.", "prompt": "hi", "completion": "hello"})[1] == expected


def test_alpaca_with_input_system_and_history():
    row = {
        "instruction": "Add.",
        "input": "2, 3",
        "output": "5",
        "system": "Count.",
        "history": [["hi", "hello"]],
    }
    expected = [
        {"role": "system", "content": "Count."}, ASK, REPLY,
        {"role": "user", "content": "Add.\n2, 3"}, {"role": "assistant", "content": "5"},
    ]  # fmt: skip
    assert converted(row)[1]["messages"] == expected
    assert converted({**row, "history": json.dumps(row["history"])})[1]["messages"] == expected
    assert len(converted({**row, "history": None})[1]["messages"]) == 3
    with pytest.raises(RowError, match="history must be a list of pairs"):
        converted({**row, "history": "earlier"})
    dolly = {"instruction": "Add.", "context": "2, 3", "response": "5", "category": "sums"}
    assert converted(dolly)[1]["messages"][0]["content"] == "Add.\n2, 3"


def test_tools_and_calls_of_sharegpt():
    row = {
        "conversations": [
            {"from": "human", "value": "Weather?"},
            {"from": "function_call", "value": '{"name": "weather", "arguments": {"city": "Bern"}}'},
            {"from": "observation", "value": "rain"},
            {"from": "gpt", "value": "Rain."},
        ],
        "tools": '[{"name": "weather", "parameters": {}}]',
    }
    values = converted(row)[1]
    tools = checked_tools(values["tools"])
    assert tools == [{"type": "function", "function": {"name": "weather", "parameters": {}}}]
    messages = checked_messages(values["messages"], needs_reply=True)
    assert messages[1:3] == [
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "content": "rain"},
    ]


@pytest.mark.parametrize("value", [None, "", " ", "[]", [], float("nan")])
def test_no_tools(value):
    assert checked_tools(value) == []
    assert checked_tools(converted({"messages": [ASK, REPLY], "tools": value})[1].get("tools")) == []


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("weather", "tools must be a list of JSON objects"),
        ([1], "tools must be a list of JSON objects"),
        ([{"parameters": {}}], "tool 1 must name its function"),
        ([{"name": "\ud800"}], "tools is not UTF-8"),
    ],
)
def test_what_is_no_list_of_tools_is_refused(value, problem):
    with pytest.raises(RowError, match=problem):
        checked_tools(value)


def test_calls_of_openai_have_their_arguments_parsed():
    call = {"id": "a1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Bern"}'}}
    messages = [
        ASK,
        {"role": "assistant", "content": None, "tool_calls": [call], "refusal": None},
        {"role": "tool", "content": "rain", "tool_call_id": "a1", "name": "weather"},
    ]
    assert checked_messages(messages, needs_reply=True)[1:] == [
        {"role": "assistant", "content": "", "tool_calls": [{"id": "a1", **CALL}]},
        {"role": "tool", "content": "rain", "tool_call_id": "a1", "name": "weather"},
    ]
    old = {"role": "assistant", "content": None, "function_call": call["function"]}
    values = converted({"messages": [ASK, old]})[1]
    assert checked_messages(values["messages"], needs_reply=True)[1]["tool_calls"] == [CALL]


@pytest.mark.parametrize(
    "row",
    [
        {"text": "hi", "label": "greeting"},
        {"messages": "free text"},
        {"prompt": "hi"},
        {"prompt": 3, "completion": "hello"},
        {"question": "Who?", "context": "A passage.", "answer": "She"},
        {"question": "Who?", "answer": ["She"]},
        {"prompt": "hi", "chosen": "hello", "rejected": "go"},
        {"conversations": [{"from": "human", "value": "hi"}], "chosen": "a", "rejected": "b"},
        {},
    ],
)
def test_what_is_no_conversation_is_not_recognised(row):
    assert recognise(list(row), row) is None


def test_a_missing_sample_value_still_tells_the_format():
    assert recognise(["messages"], {"messages": None}).name == "messages"
    assert recognise({"conversations"}, {}).name == "sharegpt"


WRONG = {"role": "assistant", "content": "go"}


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("prompt-pairs", {"prompt": "hi", "chosen": "hello", "rejected": "go"}),
        ("prompt-pairs", {"prompt": [ASK], "chosen": [REPLY], "rejected": [WRONG]}),
        ("prompt-pairs", {"prompt": "hi", "chosen": [ASK, REPLY], "rejected": [ASK, WRONG]}),
        ("prompt-pairs", {"question": "hi", "chosen": "hello", "rejected": "go"}),
        ("prompt-pairs", {
            "prompt": json.dumps([ASK]), "chosen": json.dumps([REPLY]), "rejected": json.dumps([WRONG]),
        }),
        ("whole-pairs", {"chosen": [ASK, REPLY], "rejected": [ASK, WRONG]}),
        ("whole-pairs", {
            "chosen": "\n\nHuman: hi\n\nAssistant: hello", "rejected": "\n\nHuman: hi\n\nAssistant: go",
        }),
        ("sharegpt-pairs", {
            "conversations": [{"from": "human", "value": "hi"}],
            "chosen": {"from": "gpt", "value": "hello"}, "rejected": {"from": "gpt", "value": "go"},
        }),
        ("alpaca-pairs", {"instruction": "hi", "input": "", "chosen": "hello", "rejected": "go"}),
    ],
)  # fmt: skip
def test_every_format_of_pairs_gives_the_same_messages(name, row):
    expected = {"prompt": [ASK], "chosen": [REPLY], "rejected": [WRONG]}
    assert converted(row, find=recognise_preference) == (name, expected)


def test_the_prompt_of_whole_conversations_is_what_both_begin_with():
    start = [ASK, REPLY, {"role": "user", "content": "Again?"}]
    row = {"chosen": [*start, REPLY, ASK, REPLY], "rejected": [*start, WRONG]}
    values = converted(row, find=recognise_preference)[1]
    assert values == {"prompt": start, "chosen": [REPLY, ASK, REPLY], "rejected": [WRONG]}
    same = converted({"chosen": [ASK, REPLY], "rejected": [ASK, REPLY]}, find=recognise_preference)[1]
    assert same == {"prompt": [ASK], "chosen": [REPLY], "rejected": [REPLY]}


def test_a_system_column_of_pairs_goes_to_the_prompt():
    row = {"system": "Be kind.", "question": "hi", "chosen": "hello", "rejected": "go"}
    values = converted(row, find=recognise_preference)[1]
    assert values["prompt"] == [{"role": "system", "content": "Be kind."}, ASK]


def test_pairs_that_cannot_be_told():
    assert recognise_preference(["prompt", "chosen"], {"prompt": "hi", "chosen": "a"}) is None
    plain = {"chosen": "hello", "rejected": "go"}
    assert recognise_preference(list(plain), plain) is None
    whole = {"chosen": [ASK, REPLY], "rejected": [ASK, WRONG]}
    with pytest.raises(RowError, match="without a prompt"):
        recognise_preference(list(whole), whole).convert({"chosen": "hello", "rejected": "go"})


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)
_TURN = st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": _TEXT})


@given(st.lists(_TURN, min_size=1))
def test_law_clean_messages_stay_as_they_are_in_any_spelling(messages):
    assert checked_messages(messages, needs_reply=False) == messages
    assert checked_messages(json.dumps(messages), needs_reply=False) == messages
    names = {"user": "human", "assistant": "gpt"}
    spoken = [{"from": names[m["role"]], "value": m["content"]} for m in messages]
    assert converted({"conversations": spoken})[1] == {"messages": messages}


_KEYS = st.sampled_from(["role", "content", "from", "value", "tool_calls", "function", "name", "arguments"])
_LEAVES = st.none() | st.integers() | st.floats() | st.text() | st.sampled_from(["user", "assistant", "tool"])
_ANYTHING = st.recursive(
    _LEAVES, lambda inner: st.lists(inner) | st.dictionaries(_KEYS, inner), max_leaves=12
)


@given(_ANYTHING)
def test_law_anything_else_is_a_row_error(value):
    for row in ({"messages": value}, {"conversations": value, "chosen": value, "rejected": value}):
        for find in (recognise, recognise_preference):
            found = find(list(row), row)
            with contextlib.suppress(RowError):
                values = found.convert(row) if found else {}
                checked_messages(values.get("messages", value), needs_reply=True)


@pytest.mark.parametrize(
    ("file", "find", "name"),
    [
        ("sgd_chat/train.jsonl", recognise, "messages"),
        ("alpaca_demo/train.json", recognise, "alpaca"),
        ("dpo_demo/kto.json", recognise, "messages"),
        ("gsm8k/train.jsonl", recognise, "question-answer"),
        ("dpo_demo/train.json", recognise_preference, "sharegpt-pairs"),
    ],
)
def test_real_files(shared, file, find, name):
    path = shared / "data" / file
    if not path.is_file():
        pytest.skip(f"{path} is absent")
    text = path.read_text(encoding="utf-8")
    rows = json.loads(text) if path.suffix == ".json" else [json.loads(line) for line in text.splitlines()]
    found = find(list(rows[0]), rows[0])
    assert found.name == name
    for row in rows:
        values = found.convert(row)
        for column in ("messages", "chosen", "rejected"):
            if column in values:
                checked_messages(values[column], needs_reply=True)
        if "prompt" in values:
            assert checked_messages(values["prompt"], needs_reply=False)[-1]["role"] == "user"
