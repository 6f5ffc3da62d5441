"""Valid calls, compared with jsonschema on the same schema, and what is wrong with others."""

import pytest

from tunesmith.metrics._tool_calls import MISSING, NO_SCHEMA, UNFIT, UNKNOWN, call_problems

PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
    "required": ["city"],
}
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}]


def call(arguments, name="weather"):
    return {"type": "function", "function": {"name": name, "arguments": arguments}}


def kinds(arguments, parameters=None, name="weather"):
    tools = TOOLS if parameters is None else [{"function": {"name": "weather", "parameters": parameters}}]
    return [problem.kind for problem in call_problems(call(arguments, name), tools)]


@pytest.mark.parametrize("arguments", [{"city": "Bern"}, {"city": "Genf", "days": 3}])
def test_valid_calls_have_no_problem(arguments):
    assert kinds(arguments) == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, [MISSING]),
        ({"days": 1}, [MISSING]),
        ({"city": 3}, [UNFIT]),
        ({"city": "Bern", "days": "3"}, [UNFIT]),
        ({"city": "Bern", "days": 0}, [UNFIT]),
        ({"city": "Bern", "town": "x"}, [UNFIT]),
        ({"town": "x"}, [UNFIT, MISSING]),
    ],
)
def test_problems_of_arguments(arguments, expected):
    assert sorted(kinds(arguments)) == sorted(expected)


def test_the_note_names_the_tool_and_what_is_wrong():
    (problem,) = call_problems(call({"days": 1}), TOOLS)
    assert problem.note == "`weather`: 'city' is a required property"


def test_an_unknown_tool():
    assert kinds({}, name="news") == [UNKNOWN]
    assert [problem.kind for problem in call_problems(call({}), [])] == [UNKNOWN]


def test_a_schema_that_takes_others_or_says_nothing():
    assert kinds({"city": "a", "town": "b"}, {**PARAMETERS, "additionalProperties": True}) == []
    assert kinds({"anything": 1}, {}) == []
    assert [it.kind for it in call_problems(call({"x": 1}), [{"function": {"name": "weather"}}])] == []


@pytest.mark.parametrize("parameters", [{"type": "dict"}, {"properties": {"city": {"type": "str"}}}, [1]])
def test_a_schema_that_is_none(parameters):
    assert kinds({"city": "a"}, parameters) == [NO_SCHEMA]


def test_nothing_is_fetched(monkeypatch):
    import socket

    def refuse(*args, **options):
        raise AssertionError("no network")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert kinds({"a": 1}, {"$ref": "http://example.com/schema.json"}) == [NO_SCHEMA]
