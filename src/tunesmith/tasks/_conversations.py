"""Formats of conversations: every format becomes one list of messages.

`recognise` finds the format of the rows from the column names and one row. Its `convert` changes the shape of a
row without checks: `_messages` checks, since messages also come as arguments of `predict`.

Formats: OpenAI messages, ShareGPT (https://github.com/lm-sys/FastChat), Alpaca
(https://github.com/tatsu-lab/stanford_alpaca), prompt and completion, question and answer; and for pairs
of a chosen and a rejected reply TRL's, ShareGPT's, Alpaca's and that of Anthropic's `hh-rlhf`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from tunesmith.tasks import Recognised, RowError, Values
from tunesmith.tasks._messages import Message, parsed_json

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

Row = Values

_ROLE_NAMES = {
    **dict.fromkeys(("human", "user"), "user"),
    **dict.fromkeys(("gpt", "assistant", "chatgpt", "bing", "bard", "model", "function_call"), "assistant"),
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("tool", "function", "observation", "function_response"), "tool"),
}
_CONVERSATIONS = ("messages", "conversations", "conversation")
_PAIRS = {"chosen", "rejected"}
_HH_TURN = re.compile(r"\n\n(Human|Assistant):")


def recognise(header: Collection[str], sample: Row) -> Recognised | None:
    """The format of rows of conversations, if it is known.

    Args:
        header: names of the columns.
        sample: one row, whose types distinguish formats with the same column names.

    Returns:
        A format whose `convert` returns `messages`, and `tools` if the row has some; None if unknown.
    """
    readers = (_messages_format, _alpaca_format, _prompt_format, _question_format)
    return next((found for reader in readers if (found := reader(header, sample))), None)


def recognise_preference(header: Collection[str], sample: Row) -> Recognised | None:
    """The format of rows of pairs of replies, if it is known.

    Args:
        header: names of the columns.
        sample: one row.

    Returns:
        A format whose `convert` returns `prompt`, `chosen` and `rejected`, each a list of messages; None if
        unknown; and `tools` if the row has some.
    """
    if not set(header) >= _PAIRS:
        return None
    readers = (_sharegpt_pairs, _prompt_pairs, _whole_pairs)
    return next((found for reader in readers if (found := reader(header, sample))), None)


def _messages_format(header: Collection[str], sample: Row) -> Recognised | None:
    column = _first(_CONVERSATIONS, header)
    if column is None or not _may_hold_turns(sample.get(column)):
        return None
    if column != "messages" and set(header) >= _PAIRS:
        return None  # the prompt of a pair of replies, not a conversation to learn
    turns = parsed_json(sample.get(column))
    is_sharegpt = "from" in turns[0] if turns else column != "messages"
    extra = tuple(name for name in ("system", "tools") if name in header)

    def convert(row: Row) -> JsonObject:
        return _with_tools(_with_system(row, _normal(row.get(column))), row)

    return Recognised("sharegpt" if is_sharegpt else "messages", (column, *extra), convert)


def _alpaca_format(header: Collection[str], sample: Row) -> Recognised | None:
    reply = _first(("output", "response"), header)
    if "instruction" not in header or reply is None:
        return None
    context = _first(("input", "context"), header)
    extra = tuple(name for name in ("system", "history", "tools") if name in header)

    def convert(row: Row) -> JsonObject:
        asked = [*_history(row.get("history")), _instruction(row, context)]
        return _with_tools(_with_system(row, [*asked, _turn("assistant", row.get(reply))]), row)

    columns = ("instruction", *((context,) if context else ()), reply, *extra)
    return Recognised("alpaca", columns, convert)


def _prompt_format(header: Collection[str], sample: Row) -> Recognised | None:
    return _two_columns("prompt-completion", "prompt", ("completion", "response", "answer"), header, sample)


def _question_format(header: Collection[str], sample: Row) -> Recognised | None:
    if "context" in header:
        return None  # reading comprehension: the answer needs its passage
    return _two_columns("question-answer", "question", ("answer",), header, sample)


def _two_columns(
    name: str, asked: str, replies: tuple[str, ...], header: Collection[str], sample: Row
) -> Recognised | None:
    reply = _first(replies, header)
    if asked not in header or reply is None or not all(_may_be_said(sample.get(c)) for c in (asked, reply)):
        return None
    extra = tuple(column for column in ("system", "tools") if column in header)

    def convert(row: Row) -> JsonObject:
        messages = [*_said(row.get(asked), "user"), *_said(row.get(reply), "assistant")]
        return _with_tools(_with_system(row, messages), row)

    return Recognised(name, (asked, reply, *extra), convert)


def _sharegpt_pairs(header: Collection[str], sample: Row) -> Recognised | None:
    column = _first(("conversations", "conversation"), header)
    if column is None or not _may_hold_turns(sample.get(column)):
        return None
    extra = tuple(name for name in ("system", "tools") if name in header)

    def convert(row: Row) -> JsonObject:
        return _pair(_with_system(row, _normal(row.get(column))), row)

    return Recognised("sharegpt-pairs", (column, "chosen", "rejected", *extra), convert)


def _prompt_pairs(header: Collection[str], sample: Row) -> Recognised | None:
    asked = _first(("prompt", "instruction", "question"), header)
    if asked is None or not _may_be_said(sample.get(asked)):
        return None
    context = "input" if asked == "instruction" and "input" in header else None
    extra = tuple(name for name in (context, "system", "tools") if name and name in header)

    def convert(row: Row) -> JsonObject:
        prompt = [_instruction(row, context)] if asked == "instruction" else _said(row.get(asked), "user")
        return _pair(_with_system(row, prompt), row)

    name = "alpaca-pairs" if asked == "instruction" else "prompt-pairs"
    return Recognised(name, (asked, *extra, "chosen", "rejected"), convert)


def _whole_pairs(header: Collection[str], sample: Row) -> Recognised | None:
    """Two whole conversations: their common beginning is the prompt."""
    if not all(_may_hold_turns(_split_hh(sample.get(name))) for name in _PAIRS):
        return None

    def convert(row: Row) -> JsonObject:
        chosen, rejected = (_normal(_split_hh(row.get(name))) for name in ("chosen", "rejected"))
        if not isinstance(chosen, list) or not isinstance(rejected, list):
            raise RowError("without a prompt, chosen and rejected must be whole conversations.")
        n = _common_length(chosen, rejected)
        pair = {"prompt": chosen[:n], "chosen": chosen[n:], "rejected": rejected[n:]}
        return {**pair, **_tools_of(row)}

    extra = ("tools",) if "tools" in header else ()
    return Recognised("whole-pairs", ("chosen", "rejected", *extra), convert)


def _pair(prompt: object, row: Row) -> JsonObject:
    replies = {name: _without(prompt, _said(row.get(name), "assistant")) for name in ("chosen", "rejected")}
    return {"prompt": prompt, **replies, **_tools_of(row)}


def _without(prompt: object, reply: list[Message]) -> list[Message]:
    """The reply without the prompt, which some files repeat at its beginning."""
    n = len(prompt) if isinstance(prompt, list) else 0
    return reply[n:] if len(reply) > n and reply[:n] == prompt else reply


def _common_length(chosen: list[Message], rejected: list[Message]) -> int:
    """Number of common turns at the beginning; at least one turn of each is left as the reply."""
    longest = min(len(chosen), len(rejected)) - 1
    differing = (n for n in range(longest) if chosen[n] != rejected[n])
    return max(next(differing, longest), 0)


def _split_hh(value: object) -> object:
    """The turns of a text that names its speakers, as in `hh-rlhf`; any other value unchanged."""
    if not isinstance(value, str) or not _HH_TURN.match(value):
        return value
    _, *parts = _HH_TURN.split(value)
    said = zip(parts[::2], parts[1::2], strict=True)
    return [_turn("user" if who == "Human" else "assistant", text.strip()) for who, text in said]


def _said(value: object, role: str) -> list[Message]:
    """The turns of one side, from a text, one turn, or a list of turns."""
    parsed = parsed_json(value)
    if isinstance(parsed, Mapping):
        parsed = [parsed]
    if isinstance(parsed, list) and parsed and all(isinstance(turn, Mapping) for turn in parsed):
        return [_normal_turn(turn) for turn in parsed]
    return [_turn(role, value)]


def _normal(value: object) -> object:
    """Turns with `role` and `content`; a value that is not a list of turns is left for the check to refuse."""
    turns = parsed_json(value)
    if not isinstance(turns, (list, tuple)):
        return value
    return [_normal_turn(turn) if isinstance(turn, Mapping) else turn for turn in turns]


def _normal_turn(turn: Row) -> Message:
    role, content = turn.get("role", turn.get("from")), turn.get("content", turn.get("value"))
    rest = {name: value for name, value in turn.items() if name not in ("role", "from", "content", "value")}
    if (call := rest.pop("function_call", None)) is not None and not rest.get("tool_calls"):
        rest["tool_calls"] = [call]  # OpenAI's older spelling
    normal = {"role": _ROLE_NAMES.get(str(role).lower(), role), "content": content, **rest}
    if role == "function_call" and (calls := _calls_in(content)):
        normal |= {"content": "", "tool_calls": calls}
    return normal


def _calls_in(content: object) -> list[object]:
    """The calls that ShareGPT writes as JSON text; empty for any other text."""
    parsed = parsed_json(content)
    calls = [parsed] if isinstance(parsed, Mapping) else parsed
    named = isinstance(calls, list) and all(isinstance(call, Mapping) and "name" in call for call in calls)
    return list(calls) if named else []


def _history(value: object) -> list[Message]:
    pairs = [] if _is_missing(value) else parsed_json(value)
    if not isinstance(pairs, list) or not all(isinstance(p, (list, tuple)) and len(p) == 2 for p in pairs):
        raise RowError("history must be a list of pairs: the user's message and the assistant's reply.")
    return [turn for user, reply in pairs for turn in (_turn("user", user), _turn("assistant", reply))]


def _instruction(row: Row, context: str | None) -> Message:
    asked, given = row.get("instruction"), row.get(context) if context else None
    if _is_missing(given):
        return _turn("user", asked)
    if _is_missing(asked):
        return _turn("user", given)
    return _turn("user", f"{asked}\n{given}")


def _with_system(row: Row, messages: object) -> object:
    system = row.get("system")
    if _is_missing(system) or not isinstance(messages, list):
        return messages
    has_one = bool(messages) and isinstance(messages[0], Mapping) and messages[0].get("role") == "system"
    return messages if has_one else [_turn("system", system), *messages]


def _with_tools(messages: object, row: Row) -> JsonObject:
    return {"messages": messages, **_tools_of(row)}


def _tools_of(row: Row) -> JsonObject:
    """The tools of a row, unchecked; nothing without any."""
    return {} if _is_missing(row.get("tools")) else {"tools": row["tools"]}


def _may_hold_turns(value: object) -> bool:
    """Whether a value is a list of turns; a missing value may be one in another row."""
    turns = parsed_json(value)
    return turns is None or (isinstance(turns, list) and all(isinstance(turn, Mapping) for turn in turns))


def _may_be_said(value: object) -> bool:
    return isinstance(value, str) or _may_hold_turns(value)


def _first(names: tuple[str, ...], header: Collection[str]) -> str | None:
    return next((name for name in names if name in header), None)


def _is_missing(value: object) -> bool:
    blank = isinstance(value, str) and not value.strip()
    return value is None or blank or (isinstance(value, float) and math.isnan(value))


def _turn(role: str, content: object) -> Message:
    return {"role": role, "content": content}
