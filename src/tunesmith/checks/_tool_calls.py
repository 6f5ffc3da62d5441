"""What is wrong with calls of tools in conversations, and with their results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tunesmith.checks import Finding, FoundRow
from tunesmith.metrics._tool_calls import MISSING, NO_SCHEMA, UNFIT, UNKNOWN, call_problems

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

Message = Mapping[str, Any]

_NOT_OFFERED = "calls of tools, and offer none"
_NO_CALL = "a result without a call"
_NO_RESULT = "a call without a result"
_REMEDIES = {
    UNKNOWN: "Correct the name, or add the tool to `tools`: a model learns to call what it was not offered.",
    MISSING: "Complete the arguments, or remove the rows: a model learns the calls as they are.",
    UNFIT: "Correct the arguments, or the schema of the tool: a model learns the calls as they are.",
    NO_SCHEMA: "Write `parameters` as JSON Schema (`string`, `number`, …): calls of such tools cannot be checked.",
    _NOT_OFFERED: "Give the tools in a column `tools`: a model learns to call what it was not offered.",
    _NO_CALL: "Put the call before its result, with the id that the result names.",
    _NO_RESULT: "Add the result after the call, or remove the call: many chat templates refuse such rows.",
}


def tool_findings(
    split: str, rows: Sequence[Sequence[Message]], tools: Sequence[Sequence[JsonObject] | None]
) -> Iterator[Finding]:
    """Problems of calls, results and tools, one finding a kind.

    Args:
        split: name of the split.
        rows: conversations.
        tools: tools that each of them offers.
    """
    kinds: dict[str, list[FoundRow]] = {}
    for row, (messages, offered) in enumerate(zip(rows, tools, strict=True)):
        for kind, notes in tool_problems(messages, offered or []).items():
            kinds.setdefault(kind, []).append(FoundRow(split, row, note="; ".join(notes)))
    for kind, found in kinds.items():
        yield Finding(
            "conversations",
            "warn",
            f"{len(found):,} of {len(rows):,} {split} conversations have {kind}",
            _REMEDIES[kind],
            found,
            {"split": split, "problem": kind, "rows": len(found)},
        )


def tool_problems(messages: Sequence[Message], tools: Sequence[JsonObject]) -> dict[str, list[str]]:
    """What is wrong with the calls and results of a conversation: for each kind, what it is.

    Args:
        messages: a conversation.
        tools: tools that it offers.
    """
    calls = [(i, call) for i, message in enumerate(messages) for call in message.get("tool_calls") or ()]
    found: dict[str, list[str]] = {}
    if calls and not tools:
        found[_NOT_OFFERED] = list(dict.fromkeys(f"`{call['function']['name']}`" for _, call in calls))
    for i, call in calls if tools else ():
        for problem in call_problems(call, tools):
            found.setdefault(problem.kind, []).append(f"turn {i + 1}, {problem.note}")
    for kind, turns in _unmatched(messages).items():
        found[kind] = [f"turn {i + 1}" for i in turns]
    return found


def _unmatched(messages: Sequence[Message]) -> dict[str, list[int]]:
    """Turns with a result that no call asks for, and turns with a call that has no result.

    Results without ids belong to the calls in their order. Calls in the last turn need none.
    """
    lonely: list[int] = []
    unanswered: list[int] = []
    waiting: list[tuple[int, str]] = []
    for i, message in enumerate(messages):
        if message["role"] == "tool":
            answered = _answered(waiting, message.get("tool_call_id", ""))
            waiting = [call for call in waiting if call is not answered]
            lonely += [] if answered else [i]
        else:
            unanswered += [turn for turn, _ in waiting]
            waiting = [(i, call.get("id", "")) for call in message.get("tool_calls") or ()]
    unanswered += [turn for turn, _ in waiting if turn < len(messages) - 1]
    found = {_NO_CALL: lonely, _NO_RESULT: list(dict.fromkeys(unanswered))}
    return {kind: turns for kind, turns in found.items() if turns}


def _answered(waiting: Sequence[tuple[int, str]], name: str) -> tuple[int, str] | None:
    """The call that a result belongs to: that of its id, or the first where one of both has no id."""
    return next((call for call in waiting if not name or not call[1] or call[1] == name), None)
