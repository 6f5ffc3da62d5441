"""What is measured of written texts, on texts whose values are counted by hand."""

import json

import numpy as np
import pytest
import sacrebleu

from tunesmith.metrics import METRICS, total
from tunesmith.metrics.writing import (
    Expected,
    formula,
    is_json,
    is_possible,
    measurable,
    shares,
    statistics,
    tool_calls,
)

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


def measured(texts, ended=None, expected=None):
    ended = [True] * len(texts) if ended is None else ended
    sums = total(statistics(texts, ended, expected or [Expected()] * len(texts)))
    return {name: float(value) for name, value in formula(sums).items() if name in measurable(sums)}


def test_endings_and_lengths():
    found = measured(["a b c", "d"], [True, False], [Expected(("x y",)), Expected(("z z",))])
    assert found["ends_by_itself"] == 0.5
    assert found["words"] == 2.0
    assert found["length_ratio"] == 1.0


def test_repetition_is_the_share_of_runs_that_stood_before():
    # "a b c d a b c d": runs abcd, bcda, cdab, dabc, abcd; one of five stood before.
    assert measured(["a b c d a b c d"])["repetition"] == pytest.approx(0.2)
    assert measured(["one two three four five"])["repetition"] == 0.0
    assert "repetition" not in measured(["three words only"])


@pytest.mark.parametrize(
    ("text", "refuses"),
    [
        ("I'm sorry, but I can't help with that.", True),
        ("As an AI language model, I have no opinion.", True),
        ("I cannot assist with this request.", True),
        ("Das tut mir leid, aber dabei kann ich nicht helfen.", True),
        ("I'm sorry to hear that. We will send a new one.", False),
        ("You cannot return it after 30 days.", False),
    ],
)
def test_refusals(text, refuses):
    assert measured([text])["refusals"] == refuses


def test_matches_and_chrf_count_only_rows_with_a_reference():
    texts = ["the answer ", "nothing to compare", "near enough"]
    expected = [Expected(("the answer", "other")), Expected(), Expected(("near enought",))]
    found = measured(texts, expected=expected)
    assert found["exact_match"] == 0.5
    references = [["the answer", "near enought"], ["other", None]]
    reference = sacrebleu.corpus_chrf([texts[0], texts[2]], references)
    assert found["chrf"] == pytest.approx(reference.score / 100, abs=1e-9)


def test_json_is_judged_where_a_reference_is_json():
    found = measured(
        ['{"a": 1}', "{'a': 1}", "text"], expected=[Expected(('{"b": 2}',))] * 2 + [Expected(("x",))]
    )
    assert found["json_valid"] == 0.5
    assert "json_valid" not in measured(["text"], expected=[Expected(("x",))])
    assert is_json('```json\n{"a": []}\n```')
    assert not is_json("12")


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>',
        '[TOOL_CALLS][{"name": "weather", "arguments": {"city": "Oslo"}}]',
        '{"name": "weather", "parameters": {"city": "Oslo"}}',
        'Let me see { look. {"function": {"name": "weather", "arguments": "{\\"city\\": \\"Oslo\\"}"}}',
    ],
)
def test_a_call_is_found_in_the_marks_of_each_template(text):
    call = {"name": "weather", "arguments": {"city": "Oslo"}}
    assert tool_calls(text) == [call]
    found = measured([text], expected=[Expected((), (call,), (WEATHER,))])
    assert found["call_valid"] == found["call_right"] == 1.0


@pytest.mark.parametrize(
    ("arguments", "possible"),
    [
        ({"city": "Oslo"}, True),
        ({}, False),
        ({"town": "Oslo", "city": "x"}, False),
        ({"city": "a", "day": "b"}, True),
    ],
)
def test_a_call_needs_the_required_arguments_and_no_others(arguments, possible):
    assert is_possible({"name": "weather", "arguments": arguments}, [WEATHER]) is possible
    assert not is_possible({"name": "whether", "arguments": arguments}, [WEATHER])


def test_a_text_without_a_call_where_one_is_wanted_is_neither_valid_nor_right():
    call = {"name": "weather", "arguments": {"city": "Oslo"}}
    other = json.dumps({"name": "weather", "arguments": {"city": "Rome"}})
    found = measured(["It is sunny.", other], expected=[Expected((), (call,), (WEATHER,))] * 2)
    assert (found["call_valid"], found["call_right"]) == (0.5, 0.0)


def test_every_measure_is_declared_and_a_share_where_it_goes_from_0_to_1():
    rows = statistics(
        ['{"a": "b c d e f"}'], [True], [Expected(('{"a": 1}',), ({"name": "x", "arguments": {}},))]
    )
    names = measurable(total(rows))
    assert {METRICS.get(name).name for name in names} == set(names)
    assert {name for name in names if METRICS.get(name).is_share} == set(shares())


def test_no_texts():
    assert statistics([], [], []).shape[0] == 0
    assert all(np.isfinite(value).all() for value in formula(statistics([], [], []).sum(axis=0)).values())
