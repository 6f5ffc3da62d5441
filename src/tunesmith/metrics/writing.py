r"""What can be said of written texts beside their likelihood: length, repetition, endings, refusals, formats.

- **Repetition** is the share of four-word sequences that occurred before in the same text (`seq-rep-4`, Welleck et
  al. 2020).
- **Exact match** and **chrF** are those of `overlap`.
- **Refusals** are found by a few usual phrases in the first 300 characters, in English and German.
- A **tool call is valid** if the tool exists and the arguments fit its JSON Schema; it is **right** if the calls
  equal those of the reference.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tunesmith.metrics import SHARE, Metric, Scores, Share, Shares, overlap, selected
from tunesmith.metrics._tool_calls import call_problems
from tunesmith.segmentation import words

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tunesmith.types import JsonObject

metrics = (
    Metric(
        "ends_by_itself", "maximize", SHARE, "ends by itself", "the share of texts that end by themselves"
    ),
    Metric("words", "minimize", "words", "words", "the mean length of a text"),
    Metric("length_ratio", "minimize", "ratio", "length ratio", "words written, by words of the references"),
    Metric(
        "repetition", "minimize", SHARE, "repetition", "the share of four words in a row that stood before"
    ),
    Metric("refusals", "minimize", SHARE, "refusals", "the share of texts that refuse to answer"),
    Metric(
        "json_valid",
        "maximize",
        SHARE,
        "valid JSON",
        "the share of texts that are JSON, where it is wanted",
    ),
    Metric(
        "call_valid", "maximize", SHARE, "valid tool call", "the share of calls of tools that are possible"
    ),
    Metric("call_right", "maximize", SHARE, "right tool call", "the share of calls that equal the reference"),
)

_ORDER = 4
_REFUSAL_CHARACTERS = 300
_REFUSAL = re.compile(
    r"\b(i'?m|i am) (very |so |really )?(sorry|afraid)\b[^.!?]{0,80}"
    r"\b(can'?t|cannot|can not|unable|not able|won'?t)\b"
    r"|\bas an ai\b"
    r"|\bi (can'?t|cannot|can not|am unable to|am not able to|won'?t) "
    r"(help|assist|provide|answer|comply|fulfil|discuss|do (that|this))"
    r"|\bich kann (dir|ihnen|euch)?\s*(dabei|damit|das)?\s*(leider )?nicht (helfen|beantworten)"
    r"|\btut mir leid\b[^.!?]{0,60}\bnicht\b",
    re.IGNORECASE,
)
_FENCE = re.compile(r"\A```\w*\n(.*)\n```\Z", re.DOTALL)
_COLUMNS = (
    "rows", "ended", "words", "reference_words", "runs", "repeated_runs", "refusals", "with_reference",
    "json_wanted", "json_valid", "calls_wanted", "calls_valid", "calls_right",
)  # fmt: skip
_OVERLAP = "exact_match", "chrf"
"""Measures of `overlap`, whose statistics stand last."""
_AT = {name: number for number, name in enumerate(_COLUMNS)}
_RATIOS = {
    "ends_by_itself": ("ended", "rows"),
    "words": ("words", "rows"),
    "length_ratio": ("words", "reference_words"),
    "repetition": ("repeated_runs", "runs"),
    "refusals": ("refusals", "rows"),
    "json_valid": ("json_valid", "json_wanted"),
    "call_valid": ("calls_valid", "calls_wanted"),
    "call_right": ("calls_right", "calls_wanted"),
}
"""Each measure as a sum by a sum."""


@dataclass(frozen=True)
class Expected:
    """What a written text is compared with.

    Args:
        texts: references, of which one is enough; none where there is no reference.
        calls: tool calls, as `{"name", "arguments"}`; none where a text is expected.
        tools: tools that may be called, as JSON Schema.
    """

    texts: tuple[str, ...] = ()
    calls: tuple[JsonObject, ...] = ()
    tools: tuple[JsonObject, ...] = ()


def statistics(
    texts: Sequence[str], ended: Sequence[bool], expected: Sequence[Expected]
) -> NDArray[np.float64]:
    """[texts, s], what `formula` needs.

    Args:
        texts: written texts.
        ended: whether each ended by itself.
        expected: what each is compared with.
    """
    rows = [_row(*each) for each in zip(texts, ended, expected, strict=True)]
    counted = np.array([[row.get(name, 0.0) for name in _COLUMNS] for row in rows]).reshape(-1, len(_COLUMNS))
    references = [row.texts or ("",) for row in expected]
    shared = overlap.statistics([*texts], references, _OVERLAP)
    shared[[not row.texts for row in expected]] = 0.0
    return np.concatenate([counted, shared], axis=1)


def formula(sums: NDArray[np.float64]) -> Scores:
    """Every measure from sums [..., s]; 0 where there is nothing to measure."""
    found: Scores = {
        name: sums[..., _AT[right]] / np.maximum(sums[..., _AT[of]], 1.0)
        for name, (right, of) in _RATIOS.items()
    }
    return {**found, **overlap.formula(sums[..., len(_COLUMNS) :], _OVERLAP)}


def measurable(sums: NDArray[np.float64]) -> list[str]:
    """The measures for which the rows hold something to measure, from sums [s]."""
    found = [name for name, (_, of) in _RATIOS.items() if sums[_AT[of]] > 0]
    return [*found, *_OVERLAP] if sums[_AT["with_reference"]] > 0 else found


def shares() -> Shares:
    """The measures that are shares."""
    width = len(_COLUMNS) + overlap.statistics([], [], _OVERLAP).shape[1]
    found = {
        name: Share(of=selected(width, [_AT[of]]), right=selected(width, [_AT[right]]))
        for name, (right, of) in _RATIOS.items()
        if name not in ("words", "length_ratio")
    }
    return {**found, **overlap.shares(_OVERLAP, first=len(_COLUMNS))}


def refuses(text: str) -> bool:
    """Whether a text refuses to answer, by usual phrases in its first 300 characters."""
    return bool(_REFUSAL.search(text[:_REFUSAL_CHARACTERS]))


def _row(text: str, ended: bool, expected: Expected) -> dict[str, float]:
    said = words(text)
    runs = [tuple(said[i : i + _ORDER]) for i in range(len(said) - _ORDER + 1)]
    row: dict[str, float] = {
        "rows": 1,
        "ended": ended,
        "words": len(said),
        "runs": len(runs),
        "repeated_runs": len(runs) - len(set(runs)),
        "refusals": refuses(text),
    }
    if expected.texts:
        row |= {
            "with_reference": 1,
            "reference_words": len(words(expected.texts[0])),
            "json_wanted": any(is_json(reference) for reference in expected.texts),
        }
        row["json_valid"] = row["json_wanted"] and is_json(text)
    if expected.calls:
        found = tool_calls(text)
        row |= {
            "calls_wanted": 1,
            "calls_valid": bool(found) and all(is_possible(call, expected.tools) for call in found),
            "calls_right": sorted(found, key=_key) == sorted(expected.calls, key=_key),
        }
    return row


def _key(call: object) -> str:
    return json.dumps(call, sort_keys=True)


def is_json(text: str) -> bool:
    """Whether a text is a JSON object or list, perhaps within a fence of Markdown."""
    fenced = _FENCE.match(text.strip())
    try:
        return isinstance(json.loads(fenced.group(1) if fenced else text), (dict, list))
    except (ValueError, RecursionError):
        return False


def tool_calls(text: str) -> list[JsonObject]:
    """The calls that a text holds as JSON: objects with a name and arguments, in any marks of a template."""
    decoder, found, at = json.JSONDecoder(), [], 0
    while (at := _next_bracket(text, at)) >= 0:
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            at += 1
            continue
        values = value if isinstance(value, list) else [value]
        found += [call for each in values if (call := _as_call(each)) is not None]
    return found


def _next_bracket(text: str, start: int) -> int:
    places = [place for bracket in "{[" if (place := text.find(bracket, start)) >= 0]
    return min(places, default=-1)


def _as_call(value: Any) -> JsonObject | None:
    function = value.get("function", value) if isinstance(value, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        return None
    arguments = function.get("arguments", function.get("parameters"))
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):
            return None
    return {"name": function["name"], "arguments": arguments} if isinstance(arguments, dict) else None


def is_possible(call: JsonObject, tools: Sequence[JsonObject]) -> bool:
    """Whether a call names one of the tools and fits the schema of its arguments; any call where none is known."""
    return not tools or not call_problems({"function": call}, tools)
