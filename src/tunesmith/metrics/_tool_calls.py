"""Whether a call of a tool is valid: the tool is offered, and the arguments fit its JSON Schema.

The schema of the arguments is that of `function.parameters`, as OpenAI and the chat templates have it. Arguments
that it does not name are wrong too, unless it says that it takes others. Schemas are never fetched from elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

UNKNOWN = "a call of a tool that is not offered"
MISSING = "a call without a required argument"
UNFIT = "a call whose arguments do not fit the schema of its tool"
NO_SCHEMA = "a tool whose parameters are no JSON Schema"


@dataclass(frozen=True)
class CallProblem:
    """Something that is wrong with a call.

    Args:
        kind: `UNKNOWN`, `MISSING`, `UNFIT` or `NO_SCHEMA`.
        note: what it is, in a few words.
    """

    kind: str
    note: str


def call_problems(call: Mapping[str, Any], tools: Sequence[JsonObject]) -> list[CallProblem]:
    """What is wrong with a call; nothing for a valid one.

    Args:
        call: a call with `function.name` and `function.arguments`, an object.
        tools: tools that are offered, as `checked_tools` gives them.
    """
    name, arguments = call["function"]["name"], call["function"]["arguments"]
    offered = {tool["function"]["name"]: tool["function"] for tool in tools}
    if name not in offered:
        return [CallProblem(UNKNOWN, f"`{name}`")]
    validator = _validator(json.dumps(offered[name].get("parameters") or {}, sort_keys=True, default=str))
    if validator is None:
        return [CallProblem(NO_SCHEMA, f"`{name}`")]
    return list(dict.fromkeys(_problems(name, validator, arguments)))


def _problems(name: str, validator: Any, arguments: object) -> Iterator[CallProblem]:
    from referencing.exceptions import Unresolvable

    try:
        for error in validator.iter_errors(arguments):
            kind = MISSING if error.validator == "required" else UNFIT
            yield CallProblem(kind, f"`{name}`: {error.message[:100]}")
    except Unresolvable:
        yield CallProblem(NO_SCHEMA, f"`{name}`")


@lru_cache(maxsize=1_000)
def _validator(parameters: str) -> Any:
    """A validator for the schema of arguments; None where that is none."""
    from jsonschema import Draft202012Validator, SchemaError
    from jsonschema.validators import validator_for
    from referencing import Registry

    schema = json.loads(parameters)
    if not isinstance(schema, dict):
        return None
    if "properties" in schema:
        schema = {"additionalProperties": False, **schema}
    kind = validator_for(schema, default=Draft202012Validator)
    try:
        kind.check_schema(schema)
    except SchemaError:
        return None
    return kind(schema, registry=Registry())
