"""Tool calls in the spelling that a template takes.

Messages have one form, in which the arguments of a call are an object. Some templates want another one: those of
DeepSeek take arguments as text, and those of Mistral refuse ids without exactly nine letters and digits, while ids
of OpenAI's files have more. So the spellings are tried in turn, those with fewest changes first, until the
template writes every call as JSON.

The text of a turn that only calls is empty. A null would not help: transformers leaves the key out, and templates
of DeepSeek then fail.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import string
from collections.abc import Iterator, Sequence

from tunesmith.types import JsonObject

Message = JsonObject

_ID_LETTERS = 9
_ALPHABET = string.digits + string.ascii_letters


def spellings(messages: Sequence[Message]) -> Iterator[list[Message]]:
    """The ways to write a conversation; one alone where no tool is called.

    Args:
        messages: messages as a template gets them.
    """
    yield list(messages)
    if not any(message.get("tool_calls") for message in messages):
        return
    for n in range(1, len(_CHANGES) + 1):
        for changes in itertools.combinations(_CHANGES, n):
            changed = list(messages)
            for change in changes:
                changed = change(changed)
            yield changed


def _with_short_ids(messages: Sequence[Message]) -> list[Message]:
    """Ids of nine letters and digits, each a function of the id in the data, or of the place of its call."""
    open_calls: list[str] = []
    changed = []
    for i, message in enumerate(messages):
        if calls := message.get("tool_calls"):
            named = [{**call, "id": _short(call.get("id") or f"{i}.{n}")} for n, call in enumerate(calls)]
            open_calls += [call["id"] for call in named]
            message = {**message, "tool_calls": named}
        elif message["role"] == "tool":
            asked = (
                _short(message["tool_call_id"]) if "tool_call_id" in message else next(iter(open_calls), "")
            )
            open_calls = [name for name in open_calls if name != asked]
            message = {**message, "tool_call_id": asked}
        changed.append(message)
    return changed


def _short(name: str) -> str:
    if len(name) == _ID_LETTERS and name.isalnum():
        return name
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    return "".join(_ALPHABET[number // len(_ALPHABET) ** at % len(_ALPHABET)] for at in range(_ID_LETTERS))


def _with_text(messages: Sequence[Message]) -> list[Message]:
    """Arguments as JSON text."""
    return [
        {**message, "tool_calls": [_call_with_text(call) for call in message["tool_calls"]]}
        if message.get("tool_calls")
        else message
        for message in messages
    ]


def _call_with_text(call: JsonObject) -> JsonObject:
    arguments = json.dumps(call["function"]["arguments"], ensure_ascii=False)
    return {**call, "function": {**call["function"], "arguments": arguments}}


_CHANGES = (_with_text, _with_short_ids)
