"""The assistant's words are found whatever the template: in the style of the best-known ones, shortened."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from tunesmith.errors import ModelError, RecipeError
from tunesmith.tasks import RowError
from tunesmith.tasks._chat_templates import (
    NAMES,
    choose_template,
    encode_conversation,
    encode_prompt,
    end_of_turn_id,
    split_reply,
)
from tunesmith.tasks._messages import checked_messages
from tunesmith.testing.chat_templates import byte_tokenizer, mask_of, unmarked

# No template below is a copy; each has one habit of the family it is named after. They mark what is the
# assistant's; the tests take the marks away, as the stock templates have none, and compare with them.
LLAMA = """{{- bos_token }}
{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n\\n' }}
{%- if message.role == 'assistant' %}
{%- generation %}{{- message.content | trim + '<|eot_id|>' }}{%- endgeneration %}
{%- else %}
{{- message.content | trim + '<|eot_id|>' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n\\n' }}{%- endif %}"""

QWEN = """{%- if messages[0].role != 'system' %}
{{- '<|im_start|>system\\nYou are helpful.' + (tools | tojson if tools else '') + '<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(last=0) %}
{%- for message in messages %}
{%- if message.role == 'user' %}{%- set ns.last = loop.index0 %}{%- endif %}
{%- endfor %}
{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' }}
{%- if message.role == 'assistant' %}
{%- generation %}
{%- set answer = message.content.split('</think>')[-1].lstrip('\\n') %}
{%- set thought = '' %}
{%- if '</think>' in message.content %}
{%- set thought = message.content.split('</think>')[0].split('<think>')[-1].strip('\\n') %}
{%- endif %}
{%- if loop.index0 > ns.last and (loop.last or thought) %}
{{- '<think>\\n' + thought + '\\n</think>\\n\\n' }}
{%- endif %}
{{- answer }}
{%- for call in message.tool_calls or [] %}
{{- '\\n<tool_call>\\n' + call.function | tojson + '\\n</tool_call>' }}
{%- endfor %}
{{- '<|im_end|>' }}
{%- endgeneration %}
{{- '\\n' }}
{%- else %}
{{- message.content + '<|im_end|>\\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""

GEMMA = """{{- bos_token }}
{%- if messages[0].role == 'system' %}{{- raise_exception('System role not supported') }}{%- endif %}
{%- for message in messages %}
{%- if (message.role == 'user') != (loop.index0 % 2 == 0) %}
{{- raise_exception('Roles must alternate') }}
{%- endif %}
{%- if message.role == 'assistant' %}
{{- '<start_of_turn>model\\n' }}
{%- generation %}{{- message.content | trim + '<end_of_turn>' }}{%- endgeneration %}
{{- '\\n' }}
{%- else %}
{{- '<start_of_turn>user\\n' + message.content | trim + '<end_of_turn>\\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<start_of_turn>model\\n' }}{%- endif %}"""

MISTRAL = """{{- bos_token }}
{%- set system = '' %}
{%- if messages[0].role == 'system' %}{%- set system = messages[0].content + '\\n\\n' %}{%- endif %}
{%- for message in messages %}
{%- if message.role == 'user' %}
{%- set is_last = messages[loop.index:] | selectattr('role', 'equalto', 'user') | list | length == 0 %}
{{- '[INST] ' + (system if is_last else '') + message.content + ' [/INST]' }}
{%- elif message.role == 'assistant' %}
{%- generation %}
{%- if message.tool_calls %}
{{- ' [TOOL_CALLS] ' + message.tool_calls | map(attribute='function') | list | tojson + eos_token }}
{%- else %}
{{- ' ' + message.content + eos_token }}
{%- endif %}
{%- endgeneration %}
{%- elif message.role == 'tool' %}
{{- '[TOOL_RESULTS] ' + message.content + ' [/TOOL_RESULTS]' }}
{%- endif %}
{%- endfor %}"""

PHI = """{%- for message in messages %}
{{- '<|' + message.role + '|>\\n' }}
{%- if message.role == 'assistant' %}
{%- generation %}{{- message.content + '<|end|>' }}{%- endgeneration %}
{{- '\\n' }}
{%- else %}
{{- message.content + '<|end|>\\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|assistant|>\\n' }}{%- else %}{{- eos_token }}{%- endif %}"""

OSS = """{%- for message in messages %}
{{- '<|im_start|>' + message.role + '<|user|>' }}
{%- if message.role == 'assistant' %}
{%- generation %}{{- message.content + ('<|return|>' if loop.last else '<|end|>') }}{%- endgeneration %}
{%- else %}
{{- message.content + '<|end|>' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant<|user|>' }}{%- endif %}"""

R1 = """{%- for message in messages %}
{{- '<|' + message.role + '|>' }}
{%- if message.role == 'assistant' %}
{%- generation %}{{- message.content.split('</think>')[-1] + eos_token }}{%- endgeneration %}
{%- else %}
{{- message.content + eos_token }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|assistant|><think>\\n' }}{%- endif %}"""

NO_MARKER = """{%- for message in messages %}
{{- message.role + ': ' + message.content + '\\n\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- 'assistant:' }}{%- endif %}"""

MARKED = {"llama": LLAMA, "qwen": QWEN, "gemma": GEMMA, "mistral": MISTRAL, "phi": PHI, "oss": OSS, "r1": R1}
CALL = {"type": "function", "function": {"name": "weather", "arguments": {"city": "Zürich"}}}
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {}}}]


def talk(*turns: str, system: str | None = None) -> list[dict]:
    """User and assistant in turn."""
    messages = [] if system is None else [{"role": "system", "content": system}]
    return messages + [
        {"role": ("user", "assistant")[i % 2], "content": content} for i, content in enumerate(turns)
    ]


def learned(messages, tokenizer, tools=None) -> list[str]:
    """The runs of targets, as text; the ids must be those of transformers."""
    ids, is_target, _ = encode_conversation(messages, tokenizer, tools)
    assert len(ids) == len(is_target)
    assert ids == tokenizer.apply_chat_template(messages, tools=tools)["input_ids"]
    runs, current = [], []
    for token, target in zip([*ids, 0], [*is_target, False], strict=True):
        if target:
            current.append(token)
        elif current:
            runs.append(tokenizer.decode(current))
            current = []
    return runs


def n_bytes(messages, tokenizer) -> int:
    return encode_conversation(messages, tokenizer)[2]


CHATS = {
    "one turn": talk("hi", "hello"),
    "the same words from all": talk("yes", "yes", "yes", "yes", "assistant", "user"),
    "emoji": talk("👩‍👩‍👧?", "👍🏽 ok 🇨🇭", "é", "ñ"),
    "right to left": talk("שלום", "مرحبا بالعالم", "؟", "نعم"),
    "ends with the user": talk("hi", "hello", "bye"),
    "lines": talk("a\nb", "c\n\nd: e\nUser:", "f", "g"),
}
ENDS = {
    "llama": ["<|eot_id|>"], "qwen": ["<|im_end|>"], "gemma": ["<end_of_turn>"], "mistral": ["</s>"],
    "phi": ["<|end|>"], "oss": ["<|end|>", "<|return|>"], "r1": ["</s>"],
}  # fmt: skip


@pytest.mark.parametrize("chat", CHATS.values(), ids=CHATS)
@pytest.mark.parametrize("style", MARKED)
def test_the_assistants_words_and_its_marker_are_the_targets(style, chat):
    tokenizer = byte_tokenizer(template=MARKED[style])
    replies = [message["content"] for message in chat if message["role"] == "assistant"]
    runs = learned(chat, tokenizer)
    assert len(runs) == len(replies)
    for run, reply in zip(runs, replies, strict=True):
        said = run.removeprefix("<think>\n\n</think>\n\n").removeprefix(" " if style == "mistral" else "")
        assert said in [reply + end for end in ENDS[style]]
    assert n_bytes(chat, tokenizer) == sum(len(reply.encode()) for reply in replies)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("chat", CHATS.values(), ids=CHATS)
def test_named_templates(name, chat):
    tokenizer = byte_tokenizer()
    choose_template(tokenizer, name)
    end = tokenizer.decode([end_of_turn_id(tokenizer)])
    assert learned(chat, tokenizer) == [m["content"] + end for m in chat if m["role"] == "assistant"]


def test_plain_reads_like_a_transcript():
    tokenizer = byte_tokenizer(bos=True)
    assert choose_template(tokenizer, "plain") == []
    text = tokenizer.apply_chat_template(talk("hi", "hello", system="Be kind."), tokenize=False)
    assert text == "<s>System:\nBe kind.\nUser:\nhi\nAssistant:\nhello</s>\n"
    assert tokenizer.decode(encode_prompt(talk("hi"), tokenizer)) == "<s>User:\nhi\nAssistant:\n"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bos", [True, False])
def test_named_templates_write_bos_where_the_tokenizer_does(name, bos):
    tokenizer = byte_tokenizer(bos=bos)
    choose_template(tokenizer, name)
    ids = encode_conversation(talk("hi", "hello"), tokenizer)[0]
    assert ids.count(tokenizer.bos_token_id) == bos
    assert (ids[0] == tokenizer.bos_token_id) == bos


@pytest.mark.parametrize("style", MARKED)
def test_targets_agree_with_the_mask_of_transformers_marks_or_no_marks(style):
    tokenizer = byte_tokenizer(template=MARKED[style])
    assert "generation %}" not in tokenizer.chat_template
    chats = [*CHATS.values(), talk("hi", "hello", "a", "b", system="" if style != "gemma" else None)]
    for chat in chats:
        expected = mask_of(chat, tokenizer, MARKED[style])
        assert encode_conversation(chat, tokenizer)[1] == expected
        tokenizer.chat_template = MARKED[style]
        assert encode_conversation(chat, tokenizer)[1] == expected
        tokenizer.chat_template = unmarked(MARKED[style])


@pytest.mark.parametrize("style", ["llama", "qwen", "gemma", "phi", "oss", *NAMES])
def test_the_prompt_is_what_comes_before_the_first_target(style):
    tokenizer = byte_tokenizer(template=MARKED.get(style))
    choose_template(tokenizer, style if style in NAMES else "auto")
    for chat in CHATS.values():
        prompt, reply = split_reply(chat)
        ids = encode_prompt(chat, tokenizer)
        assert ids == encode_prompt(prompt, tokenizer)
        if reply is not None:
            whole, is_target, _ = encode_conversation(chat, tokenizer)
            assert whole[: len(ids)] == ids
            assert is_target[len(ids)]
            assert not is_target[len(ids) - 1]


def test_qwen_takes_thinking_out_of_earlier_turns():
    tokenizer = byte_tokenizer(template=QWEN)
    chat = talk("2+2?", "<think>\neasy\n</think>\n\n4", "3+3?", "<think>\nhm\n</think>\n\n6")
    assert learned(chat, tokenizer) == ["4<|im_end|>", "<think>\nhm\n</think>\n\n6<|im_end|>"]
    assert n_bytes(chat, tokenizer) == len("4") + len("<think>\nhm\n</think>\n\n6")
    only_thought = talk("2+2?", "<think>\neasy\n</think>", "3+3?", "6")
    with pytest.raises(RowError, match="does not write turn 2"):
        encode_conversation(only_thought, tokenizer)


def test_qwen_keeps_the_default_system_prompt_out_of_the_targets():
    tokenizer = byte_tokenizer(template=QWEN)
    for system in (None, "", "You are rude."):
        chat = talk("a", "b", "c", "d", system=system)
        assert learned(chat, tokenizer) == ["b<|im_end|>", "<think>\n\n</think>\n\nd<|im_end|>"]
        assert n_bytes(chat, tokenizer) == 2


def tool_chat(thought: str = "") -> list[dict]:
    call = {"role": "assistant", "content": thought, "tool_calls": [CALL]}
    tool = {"role": "tool", "content": "rain"}
    return [*talk("Weather?"), call, tool, {"role": "assistant", "content": f"{thought}Rain."}]


def test_tool_calls_are_learned_and_results_are_not():
    written = '\n<tool_call>\n{"name": "weather", "arguments": {"city": "Zürich"}}\n</tool_call><|im_end|>'
    tokenizer = byte_tokenizer(template=QWEN)
    runs = learned(tool_chat(), tokenizer, TOOLS)
    assert runs == [written, "<think>\n\n</think>\n\nRain.<|im_end|>"]
    n = encode_conversation(tool_chat(), tokenizer, TOOLS)[2]
    assert n == len(written.removesuffix("<|im_end|>").strip().encode()) + len("Rain.")
    thought = "<think>\nlook\n</think>\n\n"
    assert learned([*tool_chat(thought), *talk("Thanks", "Bye")], tokenizer) == [
        written, "Rain.<|im_end|>", "<think>\n\n</think>\n\nBye<|im_end|>",
    ]  # fmt: skip


def test_tool_calls_of_mistral_are_found_though_the_system_text_moves():
    tokenizer = byte_tokenizer(template=MISTRAL)
    chat = [{"role": "system", "content": "Be kind."}, *tool_chat(), *talk("Thanks", "Rain.")]
    call = ' [TOOL_CALLS] [{"name": "weather", "arguments": {"city": "Zürich"}}]</s>'
    assert learned(chat, tokenizer) == [call, " Rain.</s>", " Rain.</s>"]


@pytest.mark.parametrize("name", NAMES)
def test_named_templates_write_tools_and_calls(name):
    tokenizer = byte_tokenizer()
    choose_template(tokenizer, name)
    end = tokenizer.decode([end_of_turn_id(tokenizer)])
    call = '<tool_call>{"name": "weather", "arguments": {"city": "Zürich"}}</tool_call>'
    for chat in (tool_chat(), [{"role": "system", "content": "Be kind."}, *tool_chat()]):
        assert learned(chat, tokenizer, TOOLS) == [call + end, "Rain." + end]
        text = tokenizer.apply_chat_template(chat, tools=TOOLS, tokenize=False)
        assert text.count(json.dumps(TOOLS[0])) == 1
        assert text.lower().count("system") == 1
        assert "rain" in text


def test_a_template_that_leaves_calls_out_is_refused():
    tokenizer = byte_tokenizer(template=LLAMA)
    with pytest.raises(RowError, match="does not write the tool calls of turn 2"):
        encode_conversation(tool_chat(), tokenizer)
    with pytest.raises(RowError, match="does not write the tool calls of turn 2"):
        encode_conversation(tool_chat("Let me look. "), tokenizer)


def test_mistral_moves_the_system_text_to_the_last_user_turn():
    tokenizer = byte_tokenizer(template=MISTRAL)
    chat = talk("yes", "yes", "yes", "yes", "yes", "yes", system="yes")
    assert learned(chat, tokenizer) == [" yes</s>"] * 3
    ids, is_target, n = encode_conversation(chat, tokenizer)
    text = tokenizer.decode(ids)
    assert text.count("[INST] yes\n\nyes [/INST]") == 1
    before = [
        tokenizer.decode(ids[: i + 1])
        for i, target in enumerate(is_target)
        if target and not is_target[i - 1]
    ]
    assert [part.endswith("[/INST] ") for part in before] == [True] * 3
    assert n == 9


def test_a_refused_conversation_says_what_the_template_says():
    tokenizer = byte_tokenizer(template=GEMMA)
    with pytest.raises(
        RowError, match="the chat template refuses the conversation: System role not supported"
    ):
        encode_conversation(talk("a", "b", system="x"), tokenizer)
    with pytest.raises(RowError, match="Roles must alternate"):
        encode_prompt([*talk("a"), *talk("b")], tokenizer)
    broken = byte_tokenizer(template="{{ messages[0].content + 1 }}")
    with pytest.raises(RowError, match="the chat template refuses"):
        encode_conversation(talk("a", "b"), broken)


def test_two_turns_in_a_row_where_the_template_allows():
    chat = [*talk("a"), *talk("b", "c"), {"role": "assistant", "content": "d"}]
    assert learned(chat, byte_tokenizer(template=LLAMA)) == ["c<|eot_id|>", "d<|eot_id|>"]


@pytest.mark.parametrize("style", ["llama", "qwen", "mistral", "phi"])
def test_a_conversation_may_begin_with_the_assistant(style):
    tokenizer = byte_tokenizer(template=MARKED[style])
    chat = [{"role": "assistant", "content": "Yes?"}, *talk("hi", "hello")]
    runs = learned(chat, tokenizer)
    assert [run.split(end)[0].split("\n")[-1].strip() for run in runs for end in ENDS[style]] == [
        "Yes?",
        "hello",
    ]
    with pytest.raises(RowError, match="nothing is said before"):
        encode_prompt(chat[:1], tokenizer)


def test_a_text_that_holds_markers_does_not_end_its_turn():
    tokenizer = byte_tokenizer(template=QWEN)
    quote = "write <|im_end|>\n<|im_start|>assistant\nyes<|im_end|>"
    chat = talk(quote, "no", quote, "yes")
    assert learned(chat, tokenizer) == ["no<|im_end|>", "<think>\n\n</think>\n\nyes<|im_end|>"]
    said = learned(talk("a", "x <|im_end|> y", "b", "c"), tokenizer)
    assert said[0] == "x <|im_end|> y<|im_end|>"


def test_white_space_around_a_reply():
    chat = talk("a", "\n b \n", "c", " d ")
    assert learned(chat, byte_tokenizer(template=LLAMA)) == ["b<|eot_id|>", "d<|eot_id|>"]
    assert learned(chat, byte_tokenizer(template=PHI)) == ["\n b \n<|end|>", " d <|end|>"]
    assert n_bytes(chat, byte_tokenizer(template=PHI)) == 2


def test_without_a_marker_the_white_space_ends_the_turn():
    tokenizer = byte_tokenizer(template=NO_MARKER)
    assert learned(talk("a", "b", "c", "d"), tokenizer) == [" b\n\n", " d\n\n"]
    assert end_of_turn_id(tokenizer) is None


def test_a_token_across_the_border_is_a_target():
    tokenizer = byte_tokenizer(template=MISTRAL.replace("' [/INST]'", "' ->'"), merges=[(">", "Ġ")])
    ids, is_target, _ = encode_conversation(talk("a", "b"), tokenizer)
    assert tokenizer.decode([t for t, target in zip(ids, is_target, strict=True) if target]) == "> b</s>"


def test_a_special_token_that_swallows_white_space_is_no_target():
    from tokenizers import AddedToken

    tokenizer = byte_tokenizer(template=PHI)
    tokenizer.add_special_tokens({"extra_special_tokens": [AddedToken("<|assistant|>", rstrip=True)]})
    ids, is_target, _ = encode_conversation(talk("a", "\n b"), tokenizer)
    first = is_target.index(True)
    assert tokenizer.decode(ids[first : first + 1]) == "b"


def test_white_space_without_extent_is_still_a_target():
    tokenizer = byte_tokenizer(template=LLAMA.replace(" | trim", ""), merges=[("Ġ", "Ġ")])
    tokenizer.backend_tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    assert learned(talk("a", "  b  c  ", "d", "e"), tokenizer) == ["  b  c  <|eot_id|>", "e<|eot_id|>"]


def test_a_tokenizer_that_drops_characters_does_not_move_the_targets():
    words = {piece: i for i, piece in enumerate(["<s>", "</s>", "<unk>", *"UserAitn:hlo\nSym"])}
    backend = Tokenizer(models.BPE(words, [], byte_fallback=True))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>")
    choose_template(tokenizer, "plain")
    ids, is_target, _ = encode_conversation(talk("😀😀😀hi", "hello 😀", "😀", "ho"), tokenizer)
    said = [token for token, target in zip(ids, is_target, strict=True) if target]
    assert "".join(tokenizer.convert_ids_to_tokens(said)) == "hello</s>ho</s>"


def test_a_turn_that_cannot_be_located_is_refused():
    changed = "(message.content if loop.last else message.content | CHANGE)"
    template = LLAMA.replace("message.content | trim", changed)
    chat = talk("a", "bb", "c", "d")
    doubled = byte_tokenizer(template=template.replace("CHANGE", "replace('b', 'xyz')"))
    assert learned(chat, doubled) == ["xyzxyz<|eot_id|>", "d<|eot_id|>"]
    counted = byte_tokenizer(template=template.replace("CHANGE", "length | string"))
    with pytest.raises(RowError, match="turn 2 cannot be found in the rendering"):
        encode_conversation(chat, counted)


def test_choosing():
    own = byte_tokenizer(template=LLAMA)
    had = own.chat_template
    assert choose_template(own, "auto") == []
    assert own.chat_template == had
    bare = byte_tokenizer()
    assert choose_template(bare, "auto") == []
    assert "capitalize" in bare.chat_template
    with pytest.raises(RecipeError, match="got `chatlm`") as caught:
        choose_template(bare, "chatlm")
    assert caught.value.location == "data.chat_template"
    assert "Did you mean `chatml`?" in caught.value.remedy
    assert choose_template(byte_tokenizer(template={"default": LLAMA, "tool_use": QWEN}), "auto") == []
    with pytest.raises(RecipeError, match=r"several chat templates \(`rag`, `tool_use`\)"):
        choose_template(byte_tokenizer(template={"rag": LLAMA, "tool_use": QWEN}), "auto")


def test_chatml_brings_its_tokens_once():
    backend = Tokenizer(models.BPE({c: i for i, c in enumerate(pre_tokenizers.ByteLevel.alphabet())}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, extra_special_tokens=["<kept>"])
    size = len(tokenizer)
    with pytest.raises(ModelError, match="the tokenizer has none"):
        choose_template(tokenizer, "plain")
    assert choose_template(tokenizer, "chatml") == ["<|im_start|>", "<|im_end|>"]
    assert len(tokenizer) == size + 2
    assert "<kept>" in tokenizer.all_special_tokens
    assert choose_template(tokenizer, "chatml") == []
    assert end_of_turn_id(tokenizer) == tokenizer.convert_tokens_to_ids("<|im_end|>")
    chat = talk("hi", "hello")
    assert tokenizer.decode(encode_conversation(chat, tokenizer)[0], skip_special_tokens=True).split() == [
        "user", "hi", "assistant", "hello",
    ]  # fmt: skip


def test_a_chosen_template_is_saved_with_the_tokenizer(tmp_path):
    tokenizer = byte_tokenizer(bos=True)
    choose_template(tokenizer, "chatml")
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    chat = talk("hi", "hello 😀", "bye", "ciao")
    assert choose_template(loaded, "auto") == []
    assert encode_conversation(chat, loaded) == encode_conversation(chat, tokenizer)


def test_a_slow_tokenizer_is_refused():
    class Slow:
        is_fast = False

    with pytest.raises(ModelError, match="needs a fast tokenizer"):
        choose_template(Slow(), "auto")


@pytest.mark.parametrize("style", MARKED)
def test_end_of_turn(style):
    tokenizer = byte_tokenizer(template=MARKED[style])
    assert tokenizer.convert_ids_to_tokens(end_of_turn_id(tokenizer)) == ENDS[style][-1]


def test_end_of_turn_of_a_template_that_fails():
    assert end_of_turn_id(byte_tokenizer(template="{{ raise_exception('no') }}")) is None


def test_split_reply():
    chat = talk("a", "b", "c", "d")
    assert split_reply(chat) == (chat[:3], chat[3])
    assert split_reply(chat[:3]) == (chat[:3], None)
    assert split_reply([]) == ([], None)


_TEXT = st.text(st.sampled_from("ab \n:<>😀ש🇨e\u0301") | st.characters(exclude_categories=["Cs"]), min_size=1)
_QUOTES = [
    "yes",
    " yes",
    "</s>",
    "User:\n",
    "Assistant:\n",
    "x <|im_end|>",
    "x</s>y",
    "[INST] yes",
    "e",
    "think",
]
_THOUGHTS = ["<think>\nx\n</think>\n\nyes", "<think>yes</think>a"]
_SAID = st.one_of(_TEXT.filter(str.strip), st.sampled_from(_QUOTES + _THOUGHTS))
_CALL = st.builds(
    lambda name, value: {"type": "function", "function": {"name": name, "arguments": {"a": value}}},
    st.sampled_from("fg"), st.sampled_from(_QUOTES + _THOUGHTS),
)  # fmt: skip
_STEP = st.tuples(st.sampled_from(["", "<think>\nz\n</think>\n\n"]), _CALL, _SAID)
_ROUND = st.tuples(_SAID, st.lists(_STEP, max_size=2), _SAID | st.none())


def rounds_of(rounds, *, system: str | None, with_calls: bool) -> list[dict]:
    """A user's turn, the assistant's calls of tools with their results, and its reply."""
    messages = [] if system is None else [{"role": "system", "content": system}]
    for said, steps, reply in rounds:
        messages.append({"role": "user", "content": said})
        for thought, call, result in steps if with_calls else []:
            messages.append({"role": "assistant", "content": thought, "tool_calls": [call]})
            messages.append({"role": "tool", "content": result})
        messages += [] if reply is None else [{"role": "assistant", "content": reply}]
    return messages


TOKENIZERS = {style: byte_tokenizer(template=template) for style, template in MARKED.items()}
TOKENIZERS |= {name: byte_tokenizer() for name in NAMES}
for _name in NAMES:
    choose_template(TOKENIZERS[_name], _name)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(_ROUND, min_size=1, max_size=4),
    st.sampled_from(["qwen", "mistral", "llama", "phi", "oss", *NAMES]),
    st.sampled_from([None, "", "yes"]),
)
def test_law_targets_are_what_the_marks_say(rounds, style, system):
    tokenizer = TOKENIZERS[style]
    chat = rounds_of(rounds, system=system, with_calls=style not in ("llama", "phi", "oss"))
    is_target = encode_conversation(chat, tokenizer)[1]
    assert is_target == mask_of(chat, tokenizer, MARKED.get(style))


@given(st.lists(_SAID, min_size=2, max_size=6), st.sampled_from(NAMES))
def test_law_bytes_are_those_of_the_replies(turns, name):
    n = encode_conversation(talk(*turns), TOKENIZERS[name])[2]
    assert n == sum(len(reply.strip().encode()) for reply in turns[1::2])


@pytest.mark.parametrize("model", ["tinystories-656k", "stories260K"])
@pytest.mark.parametrize("name", NAMES)
def test_real_models_on_real_dialogues(shared, model, name):
    folder = shared / "models" / model
    data = shared / "data/sgd_chat/validation.jsonl"
    if not folder.is_dir() or not data.is_file():
        pytest.skip(f"{folder} or {data} is absent")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    size = len(tokenizer)
    assert len(choose_template(tokenizer, name)) == len(tokenizer) - size
    end = end_of_turn_id(tokenizer)
    for line in data.read_text(encoding="utf-8").splitlines()[:20]:
        messages = checked_messages(json.loads(line)["messages"], needs_reply=True)
        ids, is_target, n = encode_conversation(messages, tokenizer)
        replies = [message["content"] for message in messages if message["role"] == "assistant"]
        assert n == sum(len(reply.strip().encode()) for reply in replies)
        ends = [i for i, token in enumerate(ids) if token == end and is_target[i]]
        assert len(ends) == len(replies)
        assert ids[0] == tokenizer.bos_token_id
        prompt = encode_prompt(messages, tokenizer)
        if messages[-1]["role"] == "assistant":
            assert ids[: len(prompt)] == prompt
            assert is_target[len(prompt) :] == [True] * (ends[-1] + 1 - len(prompt)) + [False] * (
                len(ids) - ends[-1] - 1
            )


@settings(max_examples=60, deadline=None)
@given(
    st.lists(_ROUND, min_size=1, max_size=4),
    st.sampled_from(["qwen", "mistral", "llama", *NAMES]),
    st.integers(0, 2**8 - 1),
)
def test_law_marked_turns_are_left_out_and_nothing_else(rounds, style, marks):
    """Each turn alone gives a part of what all give, and the parts of the unmarked ones make up the whole."""
    tokenizer = TOKENIZERS[style]
    chat = rounds_of(rounds, system=None, with_calls=style != "llama")
    said = [i for i, message in enumerate(chat) if message["role"] == "assistant"]
    read = [i for n, i in enumerate(said) if marks >> n & 1]
    marked = [{**turn, "train": False} if i in read else turn for i, turn in enumerate(chat)]
    ids, targets, n = encode_conversation(marked, tokenizer)
    whole, every, _ = encode_conversation(chat, tokenizer)
    alone = [
        encode_conversation(
            [{**t, "train": False} if j in said and j != i else t for j, t in enumerate(chat)], tokenizer
        )
        for i in said
        if i not in read
    ]
    assert ids == whole
    assert targets == [any(at) for at in zip(*(t for _, t, _ in alone), strict=True)] or not alone
    assert n == sum(bytes_ for _, _, bytes_ in alone)
    assert all(every[at] for at, target in enumerate(targets) if target)
