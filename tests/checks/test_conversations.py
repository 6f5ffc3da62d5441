import json

import pytest

from tunesmith.checks import CHECKS
from tunesmith.checks._tool_calls import tool_problems
from tunesmith.checks.conversations import is_cut, refuses, turn_problems

CHECK = CHECKS.get("conversations")


def turn(role, content):
    return {"role": role, "content": content}


def chat(*said):
    return [turn("assistant" if i % 2 else "user", text) for i, text in enumerate(said)]


def found_in(checked_columns, rows, task="chat", inputs=("messages",)):
    columns = rows if isinstance(rows, dict) else {"messages": rows}
    return list(CHECK.find(checked_columns(task, {"train": columns}, inputs=inputs)))


@pytest.mark.parametrize(
    ("messages", "problem"),
    [
        ([turn("user", "a"), turn("user", "b"), turn("assistant", "c")], "two turns of the user side by side"),
        ([turn("user", "a"), turn("assistant", "b"), turn("assistant", "c")],
         "two turns of the assistant side by side"),
        ([turn("assistant", "a"), turn("user", "b"), turn("assistant", "c")], "an assistant that begins"),
        ([turn("user", "a"), turn("assistant", "b"), turn("user", "c")], "a last turn that nobody answers"),
        ([turn("user", "…"), turn("assistant", "b")], "a turn without a word"),
    ],
)  # fmt: skip
def test_each_problem_of_turns_is_found(messages, problem):
    assert turn_problems(messages, needs_reply=True) == [problem]


def test_right_turns_have_no_problem():
    tool = [
        turn("user", "a"),
        {**turn("assistant", ""), "tool_calls": [{}]},
        turn("tool", "1"),
        turn("assistant", "b"),
    ]
    for messages in (chat("a", "b", "c", "😀"), [turn("system", ""), *chat("a", "b")], tool):
        assert turn_problems(messages, needs_reply=True) == []
    assert turn_problems([turn("user", "a")], needs_reply=False) == []


@pytest.mark.parametrize(
    "answer",
    [
        "A dog is a friend. It stays with you. Its memory serves as a reminder of the importance of",
        "First. Second. And then there are,",
        "Steps. Three of them.\n1. Build it. Wait.\n2. Check it often. As it ages, it may need to be re",
        "Here is the code:\n```python\nprint(1)",
        "Der Hund schläft. Die Katze auch. Und dann kommt noch die",
        "狗在睡觉。猫也在睡觉。 and then there is the",
    ],
)
def test_answers_that_stop_within_a_sentence(answer):
    assert is_cut(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "Paris",
        "google.com",
        "It is warm. It is dry. Take care!",
        "It is warm. It is dry. Take care 😊",
        "It is warm. It is dry. (Take care.)",
        "Animals. Plants. Two lists:\n1. a long list item of many words\n2. another long item of words",
        "Done. See it. Here it is:\n```\nx = 1\n```",
        "狗在睡觉。猫也在睡觉。",
        "Best. Worst. Regards,\nJohn",
        "राम घर गया। सीता भी गई।",
    ],
)
def test_answers_that_are_whole(answer):
    assert not is_cut(answer)


def test_answers_cut_at_a_limit_are_a_warning(checked_columns):
    whole = [chat(f"q{i}", f"One sentence. Two sentences. Number {i} is short.") for i in range(60)]
    cut = [
        chat(f"long {i}", ("A sentence of some words. " * 20)[:-1] + " and then it stops in the")
        for i in range(4)
    ]
    (finding,) = found_in(checked_columns, [*whole, *cut])
    assert finding.severity == "warn"
    assert {found.row for found in finding.rows} == {60, 61, 62, 63}
    assert "4 of 64 answers" in finding.text
    assert "a limit of length" in finding.text


@pytest.mark.parametrize(
    ("answer", "is_one"),
    [
        ("I'm sorry, but I can't help with that.", True),
        ("I’m sorry, but as an AI language model, I do not know.", True),
        ("As an AI, I don't have access to prices.", True),
        ("As an AI, I can suggest several ways.", False),
        ("I cannot assist with this request.", True),
        ("Es tut mir leid, aber ich kann das nicht.", True),
        ("Je suis désolé, mais je ne peux pas.", True),
        ("I'm sorry to hear that you are ill.", False),
        ("Sorry is a song by Justin Bieber.", False),
    ],
)
def test_refusals_by_their_first_words(answer, is_one):
    assert refuses(answer) is is_one


def test_one_prompt_with_several_answers(checked_columns):
    rows = [chat("What is 2+2?", "4."), chat("what is  2+2?", "5."), chat("Why?", "So."), chat("Why?", "so.")]
    (finding,) = found_in(checked_columns, rows)
    assert [found.row for found in finding.rows] == [0, 1]
    assert "1 prompt has several different answers" in finding.text


def test_a_reply_that_is_chosen_here_and_rejected_there(checked_columns):
    def said(text):
        return [turn("assistant", text)]

    columns = {
        "prompt": [[turn("user", "q")], [turn("user", "Q")], [turn("user", "other")]],
        "chosen": [said("a"), said("b"), said("a")],
        "rejected": [said("b"), said("a"), said("b")],
    }
    found = found_in(checked_columns, columns, "preference", ("prompt",))
    (finding,) = [it for it in found if "contradictions" in it.evidence]
    assert finding.evidence["contradictions"] == 2
    assert {it.row for it in finding.rows} == {0, 1}


def test_other_tasks_have_no_conversations(checked_columns):
    data = checked_columns("text-classification", {"train": {"text": ["a", "b"], "label": ["x", "y"]}})
    assert list(CHECK.find(data)) == []


def test_alpaca_has_answers_that_were_cut(checked_columns, shared):
    rows = json.loads((shared / "data" / "alpaca_demo" / "train.json").read_text(encoding="utf-8"))
    found = found_in(
        checked_columns, [chat(row["instruction"] + row["input"], row["output"]) for row in rows]
    )
    (cut,) = [it for it in found if "cut" in it.evidence]
    endings = " ".join(it.note for it in cut.rows)
    for known in ("it may need to be re", "a reminder of the importance of", "writing is absolutely"):
        assert known in endings
    assert cut.evidence["cut"] <= 12
    assert cut.severity == "warn"


WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "day": {"type": "string"}},
            "required": ["city"],
        },
    },
}


def call(name="weather", number=None, **arguments):
    made = {"type": "function", "function": {"name": name, "arguments": arguments}}
    return made if number is None else {"id": number, **made}


def calling(*calls):
    return {**turn("assistant", ""), "tool_calls": list(calls)}


def result(content, number=None):
    return turn("tool", content) | ({} if number is None else {"tool_call_id": number})


SOUND = [
    turn("user", "Bern? Genf?"),
    calling(call(number="1", city="Bern"), call(number="2", city="Genf")),
    result("rain", "2"),
    result("sun", "1"),
    calling(call(city="Basel")),
    result("snow"),
    turn("assistant", "So."),
]


def problems(messages, tools=(WEATHER,)):
    return tool_problems(messages, list(tools))


def test_sound_calls_and_results_have_no_problem(checked_columns):
    assert problems(SOUND) == {}
    assert problems(SOUND[:2]) == {}, "the last turn may call"
    rows = {"messages": [SOUND, chat("a", "b")], "tools": [[WEATHER], None]}
    assert found_in(checked_columns, rows) == []


@pytest.mark.parametrize(
    ("messages", "kind", "note"),
    [
        ([turn("user", "a"), calling(call("news", city="x"))], "a call of a tool that is not offered", "`news`"),
        ([turn("user", "a"), calling(call(day="x"))],
         "a call without a required argument", "'city' is a required"),
        ([turn("user", "a"), calling(call(city=3))],
         "a call whose arguments do not fit the schema of its tool", "3 is not of type 'string'"),
        ([turn("user", "a"), calling(call(city="x", town="y"))],
         "a call whose arguments do not fit the schema of its tool", "'town' was unexpected"),
        ([turn("user", "a"), result("rain"), turn("assistant", "b")], "a result without a call", "turn 2"),
        ([*SOUND[:3], result("sun", "7"), turn("assistant", "b")], "a result without a call", "turn 4"),
        ([*SOUND[:2], result("a", "1"), result("b", "1"), turn("assistant", "b")],
         "a result without a call", "turn 4"),
        ([*SOUND[:3], turn("assistant", "b")], "a call without a result", "turn 2"),
        ([*SOUND[:2], turn("user", "b"), turn("assistant", "b")], "a call without a result", "turn 2"),
    ],
)  # fmt: skip
def test_each_problem_of_calls_is_found(messages, kind, note):
    found = problems(messages)
    assert kind in found
    assert note in "; ".join(found[kind])


def test_a_call_where_nothing_is_offered():
    assert problems(SOUND, ()) == {"calls of tools, and offer none": ["`weather`"]}


def test_problems_of_calls_name_their_rows(checked_columns):
    wrong = [turn("user", "a"), calling(call("news")), result("x"), turn("assistant", "b")]
    rows = {"messages": [SOUND, wrong, chat("a", "b")], "tools": [[WEATHER]] * 3}
    (finding,) = found_in(checked_columns, rows)
    assert finding.severity == "warn"
    assert finding.text == "1 of 3 train conversations have a call of a tool that is not offered"
    assert [(it.row, it.note) for it in finding.rows] == [(1, "turn 2, `news`")]


def test_of_pairs_the_rejected_call_may_be_wrong(checked_columns):
    columns = {
        "prompt": [[turn("user", "Bern?")]] * 2,
        "tools": [[WEATHER]] * 2,
        "chosen": [[calling(call(city="Bern"))], [calling(call("news"))]],
        "rejected": [[calling(call("news"))], [calling(call("old"))]],
    }
    found = found_in(checked_columns, columns, "preference", ("prompt",))
    (finding,) = [it for it in found if "not offered" in it.text]
    assert [it.row for it in finding.rows] == [1]


def test_different_calls_are_different_answers(checked_columns):
    asked = turn("user", "Bern?")
    rows = {
        "messages": [[asked, calling(call(city="Bern"))], [asked, calling(call(city="Genf"))]],
        "tools": [[WEATHER]] * 2,
    }
    (finding,) = found_in(checked_columns, rows)
    assert "1 prompt has several different answers" in finding.text
    same = {**rows, "messages": [rows["messages"][0]] * 2}
    assert found_in(checked_columns, same) == []
