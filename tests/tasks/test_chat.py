import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, normalizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from tunesmith.errors import ModelError
from tunesmith.tasks import (
    IGNORED,
    TASKS,
    EncodeOptions,
    EvalPredictions,
    LossOptions,
    RowError,
    prepare_tokenizer,
)
from tunesmith.tasks._chat_templates import NAMES
from tunesmith.testing.tiny import tiny_task_rows, write_tiny_model

TASK = TASKS.get("chat")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("models") / "llama", family="llama")


@pytest.fixture(scope="module", params=NAMES)
def tokenizer(request, folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    prepare_tokenizer(TASK, tokenizer, {}, chat_template=request.param)
    return tokenizer


def turns(*said):
    return [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(said)]


def encode(conversations, tokenizer, purpose="train", max_length=None, overlap=0):
    batch = {"messages": [TASK.read({"messages": messages})["messages"] for messages in conversations]}
    return batch, TASK.encode(batch, tokenizer, EncodeOptions(max_length, purpose, overlap), {})


def learned(encoded, tokenizer, sequence=0):
    """The text of each stretch of tokens that have a label."""
    ids, labels = (encoded.ragged[name][sequence] for name in ("input_ids", "labels"))
    stretches, open_before = [], False
    for token, label in zip(ids.tolist(), labels.tolist(), strict=True):
        assert label in (IGNORED, token)
        if label != IGNORED:
            stretches = stretches if open_before else [*stretches, []]
            stretches[-1].append(token)
        open_before = label != IGNORED
    return [tokenizer.decode(stretch) for stretch in stretches]


CONVERSATIONS = [
    turns("the cat", "it is here"),
    turns("is it", "yes", "is it", "yes", "yes", "no"),
    [{"role": "system", "content": "say yes"}, *turns("the 🙂 猫", "the 🙂 猫 is here")],
    turns("the cat", "line one\n\nline two"),
]


@pytest.mark.parametrize("messages", CONVERSATIONS, ids=["short", "repeated", "emoji", "lines"])
def test_only_the_assistant_is_learned_with_the_end_of_each_turn(tokenizer, messages):
    batch, encoded = encode([messages], tokenizer)
    end = tokenizer.convert_ids_to_tokens(TASK.generation.end_tokens(tokenizer)[0])
    replies = [m["content"] for m in messages if m["role"] == "assistant"]
    assert learned(encoded, tokenizer) == [reply + end for reply in replies]
    assert encoded.dense["n_bytes"].tolist() == [sum(len(reply.encode()) for reply in replies)]
    assert TASK.num_items(encoded)[0] == (encoded.ragged["labels"].values != IGNORED).sum()
    assert TASK.gold(batch, {}) == [replies[-1]]


SAID = st.text(alphabet=st.sampled_from("ab \n🙂猫<|>é."), min_size=1, max_size=12).filter(
    lambda t: t.strip()
)


@settings(max_examples=40, deadline=None)
@given(st.lists(SAID, min_size=2, max_size=6))
def test_whatever_is_said_the_users_words_are_not_learned(tokenizer, said):
    messages = turns(*said)[: len(said) // 2 * 2]
    _, encoded = encode([messages], tokenizer)
    end = tokenizer.convert_ids_to_tokens(TASK.generation.end_tokens(tokenizer)[0])
    stretches = learned(encoded, tokenizer)
    replies = [m["content"].strip() for m in messages if m["role"] == "assistant"]
    assert [stretch.removesuffix(end).strip() for stretch in stretches] == replies
    assert all(stretch.endswith(end) for stretch in stretches)


def test_a_prompt_ends_where_the_reply_begins(tokenizer):
    messages = turns("the cat", "it is here", "is it", "yes")
    _, whole = encode([messages], tokenizer)
    _, prompt = encode([messages], tokenizer, "predict")
    ids, labels = (whole.ragged[name][0] for name in ("input_ids", "labels"))
    n = len(prompt.ragged["input_ids"][0])
    assert prompt.ragged["input_ids"][0].tolist() == ids[:n].tolist()
    assert labels[n] != IGNORED
    assert tokenizer.decode(labels[n:][labels[n:] != IGNORED]).startswith("yes")
    assert set(prompt.ragged) == {"input_ids"}


def prompt_of(messages, tokenizer, max_length=None):
    return encode([messages], tokenizer, "predict", max_length)[1].ragged["input_ids"][0].tolist()


def test_a_long_text_loses_its_beginning_but_the_prompt_does_not(tokenizer):
    whole = prompt_of(turns("the cat " * 60), tokenizer)
    found = prompt_of(turns("the cat " * 60), tokenizer, 80)
    header = next(
        n
        for n, ids in enumerate(zip(whole, prompt_of(turns("dog"), tokenizer), strict=False))
        if len({*ids}) > 1
    )
    assert len(found) == 40
    assert header > 0
    assert found[:header] == whole[:header]
    assert found[header:] == whole[header - 40 :]


SYSTEM = {"role": "system", "content": "the goat is red"}


def test_the_oldest_turns_go_first_and_the_beginning_and_the_system_turn_stay(tokenizer):
    said = turns(*(f"the cat {n} is near the dog" for n in range(9)))
    short = prompt_of([SYSTEM, *said[4:]], tokenizer)
    found = prompt_of([SYSTEM, *said], tokenizer, 2 * len(short) + 1)
    assert found == short
    assert prompt_of([SYSTEM, *said], tokenizer, 2 * len(short) - 2) == prompt_of(
        [SYSTEM, *said[6:]], tokenizer
    )
    assert found[0] == whole_begins_with(tokenizer)
    assert SYSTEM["content"] in tokenizer.decode(found)


def whole_begins_with(tokenizer):
    return prompt_of(turns("the cat"), tokenizer)[0]


def test_the_system_turn_stays_when_the_last_turn_alone_is_too_long(tokenizer):
    said = turns("old", "older", "the cat " * 60 + "red")
    found = prompt_of([SYSTEM, *said], tokenizer, 160)
    text = tokenizer.decode(found)
    assert len(found) == 80
    assert found[0] == whole_begins_with(tokenizer)
    assert SYSTEM["content"] in text
    assert "old" not in text
    assert "the cat red" in text


def test_a_system_turn_that_fills_the_room_loses_its_end(tokenizer):
    found = prompt_of([{"role": "system", "content": "a red goat " * 60}, *turns("the cat")], tokenizer, 80)
    whole = prompt_of([{"role": "system", "content": "a red goat " * 60}, *turns("the cat")], tokenizer)
    assert found == [*whole[:30], *whole[-10:]]


def test_a_prompt_that_fits_is_untouched(tokenizer):
    messages = [SYSTEM, *turns("the cat", "it is", "the dog")]
    whole = prompt_of(messages, tokenizer)
    assert prompt_of(messages, tokenizer, 2 * len(whole)) == whole


@pytest.mark.parametrize(("max_length", "overlap"), [(24, 6), (40, 10), (64, 1)])
def test_in_windows_every_reply_is_learned_once(tokenizer, max_length, overlap):
    conversations = [row["messages"] * 6 for row in tiny_task_rows("chat", 5)]
    _, whole = encode(conversations, tokenizer)
    _, cut = encode(conversations, tokenizer, "train", max_length, overlap)
    assert len(cut) > len(whole) == 5
    assert cut.ragged["input_ids"].lengths.max() <= max_length
    for row in range(5):
        labels = whole.ragged["labels"][row]
        parts = [cut.ragged["labels"][i] for i in np.flatnonzero(cut.rows == row)]
        joined = np.concatenate(parts)
        assert joined[joined != IGNORED].tolist() == labels[labels != IGNORED].tolist()
        assert all(part[0] == IGNORED for part in parts), "each has a past"
    assert TASK.num_items(cut).sum() == TASK.num_items(whole).sum()
    assert cut.sum_by_row(cut.dense["n_bytes"]).tolist() == whole.dense["n_bytes"].tolist()


def test_the_ends_are_those_that_were_learned(tokenizer):
    ends = TASK.generation.end_tokens(tokenizer)
    assert tokenizer.eos_token_id in ends
    assert len(set(ends)) == len(ends)
    _, encoded = encode([turns("a", "b")], tokenizer)
    labels = encoded.ragged["labels"][0]
    assert labels[labels != IGNORED][-1] == ends[0]


@pytest.mark.parametrize("text", ["[CLS] is a token, is it not", "[1] the cat [2]", " [ ", "{the cat}"])
def test_a_text_that_begins_with_a_bracket_is_a_text(text):
    assert TASK.read({"messages": text})["messages"] == [{"role": "user", "content": text}]


def test_json_of_turns_is_turns():
    import json

    messages = turns("a", "b")
    assert TASK.read({"messages": json.dumps(messages)})["messages"] == messages


@pytest.mark.parametrize(
    "messages", ["", None, [], [{"role": "user", "content": ""}], [{"role": "x", "content": "a"}], 3]
)
def test_what_is_no_conversation_is_refused(messages):
    with pytest.raises(RowError):
        TASK.read({"messages": messages})


def test_answers_are_messages_of_the_assistant():
    evaluated = EvalPredictions({"messages": []}, None, None, ["  it is here\n", ""])
    assert TASK.decode(evaluated, {}) == [
        {"message": {"role": "assistant", "content": "it is here"}},
        {"message": {"role": "assistant", "content": ""}},
    ]


def test_an_end_that_the_tokenizer_reads_as_several_pieces_is_refused():
    """As in old tokenizers of Llama, whose special tokens are normalised like the text around them."""
    characters = sorted(set("▁abcdefghijklmnopqrstuvwxyz:</>|_\n"))
    backend = Tokenizer(
        models.BPE({c: i for i, c in enumerate(["<unk>", *characters])}, [], unk_token="<unk>")
    )
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    splitting, whole = (
        PreTrainedTokenizerFast(
            tokenizer_object=backend,
            eos_token=AddedToken("</s>", normalized=normalized, special=True),
            unk_token="<unk>",
            pad_token="<unk>",
        )
        for normalized in (True, False)
    )
    with pytest.raises(ModelError, match="as several pieces: no answer would ever end"):
        prepare_tokenizer(TASK, splitting, {}, chat_template="plain")
    assert prepare_tokenizer(TASK, whole, {}, chat_template="plain") == []


def test_what_is_learned_of_the_last_turn_is_what_is_left_when_the_others_are_marked(tokenizer):
    rows = [row["messages"] * 3 for row in tiny_task_rows("chat", 5)]
    marked = [
        [
            {**turn, "train": False} if turn["role"] == "assistant" and turn is not said else turn
            for turn in row
        ]
        for row in ([dict(turn) for turn in messages] for messages in rows)
        for said in [row[-1]]
    ]
    last, read = encode_on(rows, tokenizer, "last"), encode_on(marked, tokenizer, "all")
    for name in ("input_ids", "labels"):
        assert last.ragged[name].values.tolist() == read.ragged[name].values.tolist()
    assert last.dense["n_bytes"].tolist() == read.dense["n_bytes"].tolist()
    assert last.dense["n_bytes"].tolist() == [len(row[-1]["content"].encode()) for row in rows]


def encode_on(conversations, tokenizer, train_on, max_length=None, too_long="window", tools=None):
    batch = {"messages": [TASK.read({"messages": messages})["messages"] for messages in conversations]}
    if tools:
        batch["tools"] = [tools] * len(conversations)
    options = EncodeOptions(max_length, "train", 0, train_on, too_long)
    return TASK.encode(batch, tokenizer, options, {})


def test_the_loss_of_the_last_turn_is_that_of_labels_written_by_hand(tokenizer, folder):
    """The reference is `transformers`: the text up to the last reply has no labels."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    model.resize_token_embeddings(len(tokenizer))
    rows = [turns("the cat", "it is here", "is it", "yes"), turns("is it", "yes", "the dog", "no", "a", "b")]
    encoded = encode_on(rows, tokenizer, "last")
    total, expected, counted = 0.0, 0.0, 0
    for row, messages in enumerate(rows):
        ids = torch.tensor([encoded.ragged["input_ids"][row].tolist()])
        labels = torch.tensor([encoded.ragged["labels"][row].tolist()])
        batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}
        with torch.no_grad():
            total += float(TASK.loss(TASK.forward(model, batch), batch, LossOptions()))
            prompt = tokenizer.apply_chat_template(messages[:-1], add_generation_prompt=True)["input_ids"]
            theirs = tokenizer.apply_chat_template(messages, return_tensors="pt")["input_ids"]
            end = max(
                i
                for i, token in enumerate(theirs[0].tolist())
                if token in TASK.generation.end_tokens(tokenizer)
            )
            by_hand = theirs.clone()
            by_hand[:, : len(prompt)] = IGNORED
            by_hand[:, end + 1 :] = IGNORED
            n = int((by_hand != IGNORED).sum())
            expected += float(model(input_ids=theirs, labels=by_hand).loss) * n
            counted += n
    assert TASK.num_items(encoded).sum() == counted
    assert total == pytest.approx(expected, rel=1e-5)


def test_a_marked_turn_is_read_and_not_scored(tokenizer):
    said = turns("the cat", "it is here", "is it", "yes")
    said[1]["weight"] = 0
    whole, marked = (
        encode_on([turns("the cat", "it is here", "is it", "yes")], tokenizer, "all"),
        encode_on([said], tokenizer, "all"),
    )
    assert marked.ragged["input_ids"].values.tolist() == whole.ragged["input_ids"].values.tolist()
    assert [text.removesuffix(end_of(tokenizer)) for text in learned(marked, tokenizer)] == ["yes"]
    assert marked.dense["n_bytes"].tolist() == [3]
    said[3]["train"] = False
    none = encode_on([said], tokenizer, "all")
    assert TASK.num_items(none).tolist() == [0]
    assert none.dense["n_bytes"].tolist() == [0]


def end_of(tokenizer):
    return tokenizer.convert_ids_to_tokens(TASK.generation.end_tokens(tokenizer)[0])


LONG = [SYSTEM, *turns(*(f"the cat {n} is near the dog" for n in range(10)))]


def test_a_long_conversation_is_cut_to_its_system_turn_and_newest_turns(tokenizer):
    fits = encode_on([[SYSTEM, *LONG[5:]]], tokenizer, "all")
    most = len(fits.ragged["input_ids"][0]) + 3
    cut = encode_on([LONG, LONG[:3]], tokenizer, "all", most, "cut")
    assert cut.ragged["input_ids"][0].tolist() == fits.ragged["input_ids"][0].tolist()
    assert cut.ragged["labels"][0].tolist() == fits.ragged["labels"][0].tolist()
    assert cut.dense["n_bytes"][0] == fits.dense["n_bytes"][0]
    assert cut.lost == {"turns": (4, 14)}
    assert len(cut) == 2
    whole = encode_on([LONG[:3]], tokenizer, "all")
    assert cut.ragged["input_ids"][1].tolist() == whole.ragged["input_ids"][0].tolist()


def test_turns_after_the_last_one_that_is_learned_are_cut_first(tokenizer):
    asked = [*LONG, {"role": "user", "content": "and then a red fish"}]
    most = len(encode_on([LONG], tokenizer, "all").ragged["input_ids"][0])
    cut = encode_on([asked], tokenizer, "all", most, "cut")
    assert (
        cut.ragged["labels"][0].tolist() == encode_on([LONG], tokenizer, "all").ragged["labels"][0].tolist()
    )
    assert cut.lost == {"turns": (1, 12)}


@pytest.mark.parametrize("train_on", ["all", "last"])
@pytest.mark.parametrize("room", range(24, 200, 32))
def test_whatever_the_room_the_end_of_the_conversation_is_learned(tokenizer, room, train_on):
    cut = encode_on([LONG], tokenizer, train_on, room, "cut")
    assert cut.ragged["input_ids"].lengths.tolist()[0] <= room
    ids, labels = (cut.ragged[name][0].tolist() for name in ("input_ids", "labels"))
    assert all(label in (IGNORED, token) for token, label in zip(ids, labels, strict=True))
    said = learned(cut, tokenizer)
    assert said, "something is left"
    assert LONG[-1]["content"].startswith(said[-1].removesuffix(end_of(tokenizer)).strip()[:8])
    assert len(said) == 1 or train_on == "all"


def test_an_answer_that_is_too_long_loses_its_end_and_bytes(tokenizer):
    said = [SYSTEM, *turns("the cat", "it is here and the goat is red " * 12)]
    cut = encode_on([said], tokenizer, "all", 100, "cut")
    (text,) = learned(cut, tokenizer)
    assert len(cut.ragged["input_ids"][0]) == 100
    assert said[-1]["content"].startswith(text)
    assert abs(int(cut.dense["n_bytes"][0]) - len(text.encode())) <= 1
    assert SYSTEM["content"] in tokenizer.decode(cut.ragged["input_ids"][0])
    assert "the cat" in tokenizer.decode(cut.ragged["input_ids"][0])


def calling(name, city):
    arguments = {"city": city}
    return {"role": "assistant", "tool_calls": [{"function": {"name": name, "arguments": arguments}}]}


def agent(n, words=3):
    """A question, calls with their results, and the answer."""
    steps = [
        turn
        for i in range(n)
        for turn in (calling("weather", f"city {i}"), {"role": "tool", "content": f"rain {i} " * words})
    ]
    return [
        SYSTEM,
        {"role": "user", "content": "the weather"},
        *steps,
        {"role": "assistant", "content": "rain"},
    ]


def test_of_many_calls_the_oldest_go_and_the_question_stays(tokenizer):
    shorter = [*agent(0)[:2], *agent(8)[-5:]]
    fits = encode_on([shorter], tokenizer, "all")
    most = len(fits.ragged["input_ids"][0])
    cut = encode_on([agent(8)], tokenizer, "all", most, "cut")
    assert cut.ragged["input_ids"][0].tolist() == fits.ragged["input_ids"][0].tolist()
    assert cut.lost == {"turns": (12, 19)}


def test_a_result_that_fills_the_room_loses_its_beginning_and_the_call_stays(tokenizer):
    most = len(encode_on([agent(1)], tokenizer, "all").ragged["input_ids"][0])
    cut = encode_on([agent(1, 200)], tokenizer, "all", most, "cut")
    text = tokenizer.decode(cut.ragged["input_ids"][0])
    assert len(cut.ragged["input_ids"][0]) == most
    assert SYSTEM["content"] in text
    assert "the weather" in text
    assert text.count("<tool_call>") == 1
    assert [said.removesuffix(end_of(tokenizer)) for said in learned(cut, tokenizer)][-1] == "rain"
    assert TASK.num_items(cut)[0] == TASK.num_items(encode_on([agent(1)], tokenizer, "all"))[0]


def test_a_prompt_after_a_long_result_keeps_the_question_and_the_call(tokenizer):
    messages = TASK.read({"messages": agent(1, 200)})["messages"]
    text = tokenizer.decode(prompt_of(messages, tokenizer, 500))
    assert SYSTEM["content"] in text
    assert "the weather" in text
    assert "<tool_call>" in text
