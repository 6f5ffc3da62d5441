"""Tool calls in templates with the habits of the best-known families, shortened: written, found, or refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tunesmith.metrics._tool_calls import call_problems
from tunesmith.tasks import TASKS, RowError
from tunesmith.tasks._chat_templates import NAMES, choose_template, encode_conversation, encode_prompt
from tunesmith.tasks._messages import checked_messages
from tunesmith.testing.chat_templates import byte_tokenizer, mask_of, unmarked

TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {}}}]

# Takes arguments as text.
DEEPSEEK = """{%- for message in messages %}
{%- if message.role == 'assistant' %}
{%- generation %}
{%- for call in message.tool_calls or [] %}
{{- '<call>' + call.function.name + '\\n' + call.function.arguments + '</call>' }}
{%- endfor %}
{{- message.content + '<|end|>' }}
{%- endgeneration %}
{%- else %}
{{- '<|' + message.role + '|>' + message.content }}
{%- endif %}
{%- endfor %}
{%- if tools %}{{- tools | tojson }}{%- endif %}"""

# Wants ids of nine letters, in calls and in results, and drops the text of a turn that calls.
NEMO = """{%- for message in messages %}
{%- if message.role == 'user' %}{{- '[INST]' + message.content + '[/INST]' }}
{%- elif message.tool_calls %}
{%- generation %}
{{- '[TOOL_CALLS][' }}
{%- for call in message.tool_calls %}
{%- if call.id is not defined or call.id | length != 9 %}{{- raise_exception('IDs need length 9!') }}{%- endif %}
{{- (call.function | tojson)[:-1] + ', "id": "' + call.id + '"}' + ('' if loop.last else ', ') }}
{%- endfor %}
{{- ']' + eos_token }}
{%- endgeneration %}
{%- elif message.role == 'tool' %}
{%- if message.tool_call_id is not defined or message.tool_call_id | length != 9 %}
{{- raise_exception('IDs need length 9!') }}
{%- endif %}
{{- '[TOOL_RESULTS]{"content": ' + message.content + ', "call_id": "' + message.tool_call_id + '"}' }}
{%- else %}
{%- generation %}{{- message.content + eos_token }}{%- endgeneration %}
{%- endif %}
{%- endfor %}"""

# One call a turn, and its arguments one by one.
GLM = """{%- for message in messages %}
{{- '<|' + message.role + '|>\\n' }}
{%- if message.role == 'assistant' %}
{%- generation %}
{{- message.content | trim }}
{%- for call in message.tool_calls or [] %}
{{- '<tool>' + call.function.name }}
{%- for name, value in call.function.arguments.items() %}{{- '<arg>' + name + '=' + value }}{%- endfor %}
{%- endfor %}
{{- '<|end|>' }}
{%- endgeneration %}
{%- else %}{{- message.content + '<|end|>' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|assistant|>\\n' }}{%- endif %}"""

SINGLE = GLM.replace(
    "{{- message.content | trim }}",
    "{%- if message.tool_calls and message.tool_calls | length != 1 %}"
    "{{- raise_exception('This model only supports single tool-calls at once!') }}{%- endif %}"
    "{{- message.content | trim }}",
)
# Prints an object as Python does; text is printed as it is.
PRINTING = GLM.replace(
    "{%- for name, value in call.function.arguments.items() %}{{- '<arg>' + name + '=' + value }}{%- endfor %}",
    "{{- call.function.arguments }}",
)
FAMILIES = {"deepseek": DEEPSEEK, "nemo": NEMO, "glm": GLM, "printing": PRINTING}


TALK = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]


def call(name: str, city: str, number: object = None) -> dict:
    found = {"type": "function", "function": {"name": name, "arguments": {"city": city}}}
    return found if number is None else {"id": number, **found}


def calling(*calls: dict, text: str | None = None) -> dict:
    return {"role": "assistant", "content": text, "tool_calls": list(calls)}


def result(content: object, number: object = None) -> dict:
    return {"role": "tool", "content": content} | ({} if number is None else {"tool_call_id": number})


def parallel(one: object = "call_abc123XYZ", other: object = "call_def456XYZ") -> list[dict]:
    """Two calls in one turn, their results, and an answer; then a second round with one."""
    return checked_messages(
        [
            {"role": "user", "content": "Bern? Zürich?"},
            calling(call("weather", "Bern", one), call("weather", "Zürich", other)),
            result("rain", one),
            result("sun", other),
            {"role": "assistant", "content": "Rain; sun."},
            {"role": "user", "content": "Genf?"},
            calling(call("weather", "Genf", one)),
            result("snow", one),
            {"role": "assistant", "content": "Snow."},
        ],
        needs_reply=True,
    )


WRITTEN = {
    "deepseek": [
        '<call>weather\n{"city": "Bern"}</call><call>weather\n{"city": "Zürich"}</call><|end|>',
        "Rain; sun.<|end|>",
        '<call>weather\n{"city": "Genf"}</call><|end|>',
        "Snow.<|end|>",
    ],
    "glm": [
        "<tool>weather<arg>city=Bern<tool>weather<arg>city=Zürich<|end|>",
        "Rain; sun.<|end|>",
        "<tool>weather<arg>city=Genf<|end|>",
        "Snow.<|end|>",
    ],
    "printing": [
        '<tool>weather{"city": "Bern"}<tool>weather{"city": "Zürich"}<|end|>',
        "Rain; sun.<|end|>",
        '<tool>weather{"city": "Genf"}<|end|>',
        "Snow.<|end|>",
    ],
}


def stretches(messages, tokenizer, train_on="all", tools=None):
    """The runs of targets, as text."""
    ids, targets, _ = encode_conversation(messages, tokenizer, tools, train_on)
    runs, before = [], False
    for token, target in zip(ids, targets, strict=True):
        if target:
            runs = runs if before else [*runs, []]
            runs[-1].append(token)
        before = target
    return [tokenizer.decode(run) for run in runs]


@pytest.mark.parametrize("family", WRITTEN)
def test_parallel_calls_are_learned_as_each_family_writes_them(family):
    assert stretches(parallel(), byte_tokenizer(template=FAMILIES[family])) == WRITTEN[family]


@pytest.mark.parametrize("family", ["glm", "nemo"])
def test_what_is_learned_is_what_transformers_says(family):
    """With the messages in a spelling that the template takes as it is."""
    messages = parallel("abcdefgh1", "abcdefgh2")
    tokenizer = byte_tokenizer(template=FAMILIES[family])
    ids, targets, _ = encode_conversation(messages, tokenizer)
    whole = tokenizer.apply_chat_template(messages, chat_template=unmarked(FAMILIES[family]), tokenize=True)[
        "input_ids"
    ]
    assert ids == whole
    assert targets == mask_of(messages, tokenizer, FAMILIES[family])


def test_arguments_as_text_are_what_deepseek_needs():
    tokenizer = byte_tokenizer(template=DEEPSEEK)
    theirs = [
        {**turn, "tool_calls": [_as_text(it) for it in turn["tool_calls"]]} if "tool_calls" in turn else turn
        for turn in parallel()
    ]
    ids, targets, _ = encode_conversation(parallel(), tokenizer)
    assert ids == tokenizer.apply_chat_template(theirs)["input_ids"]
    assert targets == mask_of(theirs, tokenizer, DEEPSEEK)


def _as_text(made: dict) -> dict:
    arguments = json.dumps(made["function"]["arguments"], ensure_ascii=False)
    return {**made, "function": {**made["function"], "arguments": arguments}}


@pytest.mark.parametrize(("one", "other"), [("call_abc123XYZ", "call_def456XYZ"), (1, 2), (None, None)])
def test_ids_of_nine_letters_where_a_template_wants_them(one, other):
    tokenizer = byte_tokenizer(template=NEMO)
    text = tokenizer.decode(encode_conversation(parallel(one, other), tokenizer)[0])
    made = [part.split('"')[0] for part in text.split('"id": "')[1:]]
    answered = [part.split('"')[0] for part in text.split('"call_id": "')[1:]]
    assert made == answered
    assert made[0] != made[1]
    assert all(len(name) == 9 and name.isalnum() for name in made)
    again = tokenizer.decode(encode_conversation(parallel(one, other), tokenizer)[0])
    assert again == text, "a function of the data"


@pytest.mark.parametrize("family", FAMILIES)
def test_the_prompt_after_results_is_what_comes_before_the_answer(family):
    tokenizer = byte_tokenizer(template=FAMILIES[family])
    messages = parallel()
    ids, targets, _ = encode_conversation(messages, tokenizer)
    prompt = encode_prompt(messages, tokenizer)
    assert ids[: len(prompt)] == prompt
    said = tokenizer.decode([i for i, t in zip(ids[len(prompt) :], targets[len(prompt) :], strict=True) if t])
    assert said.startswith("Snow.")


def test_a_template_that_takes_one_call_says_so():
    tokenizer = byte_tokenizer(template=SINGLE)
    with pytest.raises(RowError, match="only supports single tool-calls at once"):
        encode_conversation(parallel(), tokenizer)
    assert len(stretches(parallel()[5:], tokenizer)) == 2


def test_a_text_beside_calls_is_not_dropped_silently():
    number = "abcdefgh1"
    turns = [TALK[0], calling(call("weather", "Bern", number), text="I look."), result("rain", number)]
    messages = checked_messages(turns, needs_reply=True)
    with pytest.raises(RowError, match="does not write the text of turn 2") as caught:
        encode_conversation(messages, byte_tokenizer(template=NEMO))
    assert "`data.chat_template=chatml` writes tools" in caught.value.hint
    tokenizer = byte_tokenizer()
    choose_template(tokenizer, "chatml")
    assert stretches(messages, tokenizer)[0].startswith("I look.<tool_call>")


def test_tools_that_the_template_leaves_out_are_not_dropped_silently():
    with pytest.raises(RowError, match="does not write the tools") as caught:
        encode_conversation(TALK, byte_tokenizer(template=GLM), TOOLS)
    assert "`data.chat_template=chatml`" in caught.value.hint
    with pytest.raises(RowError, match="does not write the tools"):
        encode_prompt(TALK[:1], byte_tokenizer(template=GLM), TOOLS)
    assert encode_conversation(TALK, byte_tokenizer(template=DEEPSEEK), TOOLS)


@pytest.mark.parametrize("name", NAMES)
def test_named_templates_write_parallel_calls(name):
    tokenizer = byte_tokenizer()
    choose_template(tokenizer, name)
    runs = stretches(parallel(), tokenizer, tools=TOOLS)
    assert [run.count("<tool_call>") for run in runs] == [2, 0, 1, 0]
    assert json.loads(runs[0].split("<tool_call>")[2].split("</tool_call>")[0]) == {
        "name": "weather",
        "arguments": {"city": "Zürich"},
    }


def test_calls_that_are_only_read_must_be_written_too():
    with pytest.raises(RowError, match="does not write the tool calls of turn 2"):
        encode_conversation(parallel(), byte_tokenizer(template=unmarked(_LOSING)), None, "last")


_LOSING = "{%- for m in messages %}{{- '<|' + m.role + '|>' + (m.content or '') + '<|end|>' }}{%- endfor %}"


def test_the_forms_of_calls_and_results_in_files():
    task = TASKS.get("chat")
    tool = {"name": "weather", "parameters": {}}
    row = {
        "messages": [
            {"role": "user", "content": "?", "tool_calls": None},
            calling({"id": 7, "function": {"name": "weather", "arguments": '{"city": "Bern"}'}}),
            result({"sky": "grau"}, 7),
            calling({"name": "weather", "parameters": {"city": "Genf"}}),
            result([1, 2]),
            {"role": "assistant", "content": "So."},
        ],
        "tools": json.dumps([tool]),
    }
    read = task.read(row)
    assert read["tools"] == [{"type": "function", "function": tool}]
    assert read["messages"][1]["tool_calls"] == [call("weather", "Bern", "7")]
    assert read["messages"][2] == {"role": "tool", "content": '{"sky": "grau"}', "tool_call_id": "7"}
    assert read["messages"][3]["tool_calls"] == [call("weather", "Genf")]
    assert read["messages"][4]["content"] == "[1, 2]"
    assert task.read({**row, "tools": [tool]}) == read
    with pytest.raises(RowError, match="only the assistant calls tools"):
        task.read({"messages": [{"role": "user", "content": "?", "tool_calls": [call("weather", "Bern")]}]})


def test_the_row_in_the_docs_is_read_and_its_calls_are_valid():
    page = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```json\n(.+?)```", page.partition("### tool calls")[2], re.DOTALL)[:1]
    row = TASKS.get("chat").read(json.loads(block))
    (made,) = row["messages"][1]["tool_calls"]
    assert call_problems(made, row["tools"]) == []
    tokenizer = byte_tokenizer()
    choose_template(tokenizer, "chatml")
    first, second = stretches(row["messages"], tokenizer, tools=row["tools"])
    assert first.startswith("<tool_call>")
    assert second.startswith("It is on its way.")
