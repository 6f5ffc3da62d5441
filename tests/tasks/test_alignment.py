import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.tasks import TASKS, Realigned, RowError
from tunesmith.tasks._alignment import UNITS, characters_before, find, in_other_units

TASK = TASKS.get("question-answering")
CONTEXT = "A room is $35 per night. “Breakfast” — served 7–10 — is $35, too; the Café is near."


def found(text, start=0, how="normalized", context=CONTEXT):
    location = find(context, text, start, how)
    return location and context[slice(*location)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$ 35 per night", "$35 per night"),
        ('" breakfast "', "“Breakfast”"),
        ("``breakfast''", "“Breakfast”"),
        ('breakfast" -- served', "Breakfast” — served"),
        ("7-10", "7–10"),
        ("THE  CAFÉ", "the Café"),
        ("7 \u2212 10", "7–10"),
        ("$36 per night", None),
        ("Cafe", None),
        ("—", "—"),
    ],
)
def test_answers_written_otherwise_are_found(text, expected):
    assert found(text) == expected
    assert (find(CONTEXT, text, 0, "nearby") is not None) == (text in CONTEXT)


def test_the_nearest_place_is_taken_and_the_same_text_before_a_like_one():
    assert find(CONTEXT, "$35", 0, "nearby") == (10, 13)
    assert find(CONTEXT, "$35", 60, "nearby") == (CONTEXT.rindex("$35"), CONTEXT.rindex("$35") + 3)
    assert find("PER per Per", "per", 0, "normalized") == (4, 7)
    assert find("PER x Per", "per", 6, "normalized") == (6, 9)


def test_no_word_is_cut_where_a_whole_one_is_there():
    assert find("string in it", "in", 3, "nearby") == (7, 9)
    assert find("strings", "in", 0, "nearby") == (3, 5)
    assert find("南京市长江", "京市", 0, "nearby") == (1, 3), "every character is a word"


@settings(max_examples=150, deadline=None)
@given(st.text(min_size=1, max_size=30), st.data())
def test_what_is_in_a_text_is_found_however_it_is_spaced_and_cased(context, data):
    start = data.draw(st.integers(0, len(context) - 1))
    end = data.draw(st.integers(start + 1, len(context)))
    text = context[start:end]
    location = find(context, text, start, "nearby")
    assert context[slice(*location)] == text
    if text.strip():
        again = find(context, text, start, "normalized")
        assert context[slice(*again)] == text


def test_the_unit_that_places_are_counted_in():
    context = "🚲 is nearer than the café, says Zoë"
    utf16, utf8 = UNITS
    assert in_other_units(context, "says", context.index("says") + 1) == utf16
    assert in_other_units(context, "says", len(context[: context.index("says")].encode())) == utf8
    assert in_other_units(context, "says", context.index("says") + 9) == ""
    assert in_other_units("plain", "in", 0) == ""
    assert characters_before("a🚲b", UNITS[utf16]) == {0: 0, 1: 1, 3: 2, 4: 3}


# ---- the task ----


def row(text, start, context=CONTEXT):
    return {"question": "q", "context": context, "answers": {"text": [text], "answer_start": [start]}}


def test_an_answer_is_moved_to_where_it_stands_and_listed():
    given = row("$ 35 per night", 12)
    aligned, moved = TASK.alignment.align(given, "normalized")
    assert TASK.read(aligned)["answers"] == [{"text": "$35 per night", "start": 10}]
    assert moved == [Realigned("$ 35 per night", 12, "$35 per night", 10)]
    assert TASK.alignment.align(given, "nearby")[1] == []
    with pytest.raises(RowError, match="is not at character 12"):
        TASK.read(TASK.alignment.align(given, "nearby")[0])


def test_an_answer_that_stands_where_it_should_stays():
    for answers in ({"text": ["$35"], "answer_start": [10]}, None, [], [{"text": "", "answer_start": 0}]):
        given = {"question": "q", "context": CONTEXT, "answers": answers}
        aligned, moved = TASK.alignment.align(given, "normalized")
        assert TASK.read(aligned) == TASK.read(given)
        assert moved == []
    assert TASK.alignment.align({"question": "q", "context": CONTEXT}, "nearby") == (
        {"question": "q", "context": CONTEXT},
        [],
    )


def test_a_refusal_names_what_would_find_it():
    with pytest.raises(RowError, match=r"`\$35 per night` is at 10: `data.align_answers=normalized` would"):
        TASK.read(row("$ 35 per night", 12))
    with pytest.raises(RowError, match=r"is at 10: `data.align_answers=nearby` would"):
        TASK.read(row("$35", 11))
    with pytest.raises(RowError, match="if offsets are counted in UTF-16 units, as JavaScript"):
        TASK.read(row("café", 5, "🚲 a café"))
    with pytest.raises(RowError, match=r"\(there: `[^`]*`\)\.$"):
        TASK.read(row("nowhere", 6))
