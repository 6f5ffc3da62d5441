"""Checks of messages and tools, so that any chat template can take them.

Messages come from the rows of a file (`_conversations`) or as arguments of `predict`, so nothing is known about
them. A turn of the assistant that is only to be read has the entry `train: False` afterwards, however its file
says so (`_marks`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from tunesmith.tasks import RowError
from tunesmith.tasks._marks import TRAIN, is_learned
from tunesmith.types import JsonObject

Message = JsonObject

_ROLES = ("system", "user", "assistant", "tool")
_KEPT = ("name", "reasoning_content")


def as_messages(value: object, role: str) -> Any:
    """Messages unchanged; a text without messages becomes one message of a role."""
    if not isinstance(value, str):
        return value
    parsed = parsed_json(value)
    if isinstance(parsed, list) and parsed and all(isinstance(turn, Mapping) for turn in parsed):
        return parsed
    return [{"role": role, "content": value}]


def checked_messages(value: object, *, needs_reply: bool) -> list[Message]:
    """A checked conversation, which any chat template can take.

    Args:
        value: turns with `role` and `content`, or their JSON.
        needs_reply: whether there must be a turn of the assistant.

    Raises:
        RowError: it is not a conversation.
    """
    turns = parsed_json(value)
    if not isinstance(turns, (list, tuple)):
        raise RowError(f"messages must be a list of turns, got {shown(value)}.")
    messages = [_checked_turn(turn, f"turn {location}") for location, turn in enumerate(turns, start=1)]
    _refuse_unfit(messages, needs_reply=needs_reply)
    return messages


def _checked_turn(turn: object, location: str) -> Message:
    if not isinstance(turn, Mapping):
        raise RowError(f"{location} must have a role and content, got {shown(turn)}.")
    role = "system" if turn.get("role") == "developer" else turn.get("role")
    if role not in _ROLES:
        known = ", ".join(f"`{name}`" for name in _ROLES)
        raise RowError(f"{location} has the role {_quoted(role)}; it must be one of {known}.")
    message: Message = {"role": role, "content": _content(turn.get("content"), location, role)}
    if calls := parsed_json(turn.get("tool_calls")):
        if role != "assistant":
            raise RowError(f"{location} ({role}) has tool calls; only the assistant calls tools.")
        message["tool_calls"] = _checked_calls(calls, location)
    # An empty system turn has an effect: templates with their own system prompt then leave it out.
    if not message["content"].strip() and role != "system" and "tool_calls" not in message:
        raise RowError(f"{location} ({role}) is empty.")
    message |= {name: turn[name] for name in _KEPT if isinstance(turn.get(name), str)}
    if call_id := _id_of(turn.get("tool_call_id")):
        message["tool_call_id"] = call_id
    if not is_learned(turn, f"{location} ({role})", may_be_learned=role == "assistant"):
        message[TRAIN] = False
    refuse_surrogates(message, location)
    return message


def _content(value: object, location: str, role: str) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if role == "tool" and not isinstance(value, str) and not _has_parts(value):
        return json.dumps(value, ensure_ascii=False, default=str)  # what a tool returned
    if isinstance(value, (list, tuple)):
        return "".join(_part(part, location) for part in value)
    if not isinstance(value, str):
        raise RowError(f"{location}: content must be text, got {shown(value)}.")
    return value


def _has_parts(value: object) -> bool:
    """Whether a content is a list of parts: `[{"type": "text", "text": …}]`."""
    if not isinstance(value, (list, tuple)) or not value:
        return False
    return all(isinstance(part, Mapping) and "type" in part for part in value)


def _part(part: object, location: str) -> str:
    if not isinstance(part, Mapping):
        raise RowError(f"{location}: a part of the content must be an object, got {shown(part)}.")
    if part.get("type", "text") != "text":
        raise RowError(f"{location} has a part of type {_quoted(part['type'])}; only text can be used.")
    if not isinstance(part.get("text"), str):
        raise RowError(f"{location} has a part without text.")
    return str(part["text"])


def _checked_calls(calls: object, location: str) -> list[JsonObject]:
    if not isinstance(calls, (list, tuple)):
        raise RowError(f"{location}: tool_calls must be a list, got {shown(calls)}.")
    return [_checked_call(call, location) for call in calls]


def _checked_call(call: Any, location: str) -> JsonObject:
    """A tool call whose arguments are an object: OpenAI's JSON text would be quoted again by templates."""
    function = call.get("function", call) if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise RowError(f"{location}: a tool call must name its function, got {shown(call)}.")
    arguments = parsed_json(function.get("arguments", function.get("parameters")) or {})
    if not isinstance(arguments, Mapping):
        raise RowError(f"{location}: the arguments of {_quoted(function['name'])} are not a JSON object.")
    checked = {"type": "function", "function": {"name": function["name"], "arguments": dict(arguments)}}
    return {"id": name, **checked} if (name := _id_of(call.get("id"))) else checked


def _id_of(value: object) -> str:
    """The id of a call, which some files have as a number; empty without one."""
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def checked_tools(value: object) -> list[JsonObject]:
    """Tools in the form that templates expect, `{"type": "function", "function": …}`; none for a missing value.

    Args:
        value: tools, or their JSON.

    Raises:
        RowError: they are not a list of objects with names.
    """
    tools = None if _is_missing(value) else parsed_json(value)
    if not tools:
        return []
    if not isinstance(tools, (list, tuple)) or not all(isinstance(tool, Mapping) for tool in tools):
        raise RowError(f"tools must be a list of JSON objects, got {shown(value)}.")
    found = [
        dict(tool) if "function" in tool else {"type": "function", "function": dict(tool)} for tool in tools
    ]
    for number, tool in enumerate(found, start=1):
        function = tool["function"]
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
            raise RowError(f"tool {number} must name its function, got {shown(tool)}.")
    refuse_surrogates(found, "tools")
    return found


def _is_missing(value: object) -> bool:
    blank = isinstance(value, str) and not value.strip()
    return value is None or blank or (isinstance(value, float) and math.isnan(value))


def _refuse_unfit(messages: list[Message], *, needs_reply: bool) -> None:
    roles = [message["role"] for message in messages]
    if "user" not in roles and "assistant" not in roles:
        raise RowError("there is no turn of a user or an assistant.")
    if "system" in roles[1:]:
        location = roles.index("system", 1) + 1
        raise RowError(f"turn {location} is a system turn; there can be one, and it must be the first.")
    if needs_reply and "assistant" not in roles:
        raise RowError("there is no turn of the assistant to learn from.")


def refuse_surrogates(value: object, location: str) -> None:
    """Refuses bytes that are not UTF-8, and lone surrogates of JSON, which no tokenizer and no file accepts."""
    try:
        json.dumps(value, ensure_ascii=False, default=str).encode("utf-8")
    except UnicodeEncodeError:
        raise RowError(f"{location} is not UTF-8.") from None


def parsed_json(value: object) -> Any:
    """The list or object that a text holds as JSON, as in CSV files; any other value unchanged."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("[", "{"):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def shown(value: object) -> str:
    """A value for an error message, with its type."""
    return f"{type(value).__name__} {_quoted(value)}"


def _quoted(value: object) -> str:
    """A value for an error message: short, and always valid UTF-8."""
    text = str(value).encode("utf-8", "backslashreplace").decode("utf-8")
    return f"`{text[:40]}{'…' if len(text) > 40 else ''}`"
