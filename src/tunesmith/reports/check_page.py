"""`check.html`: the findings of the data checks as one page that opens without a network.

Its numbers are those of check.json; the texts come from the data.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tunesmith.data.examples import distinct_names
from tunesmith.reports.html import environment

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

_IN_WORDS = {"block": "blocks training", "warn": "to be looked at", "note": "a fact"}
_COUNTED = {"block": "blocking", "warn": "to be looked at", "note": "to be known"}
_CSS = {"block": "warn", "warn": "warn", "note": ""}
_MOST_SENTENCES = 6


def check_page(report: JsonObject, excerpts: Sequence[Sequence[str]], *, title: str) -> str:
    """The page.

    Args:
        report: content of check.json.
        excerpts: for each finding, the texts of its first rows, which are the rows that are shown.
        title: name of what was checked.
    """
    findings = [_finding(found, texts) for found, texts in zip(report["findings"], excerpts, strict=True)]
    facts = {
        "title": title,
        "task": report["task"],
        "findings": findings,
        "counts": _counts(report["findings"]),
        "sizes": "rows: " + ", ".join(f"{n:,} {split}" for split, n in report["splits"].items()),
        "summary": _summary(report["findings"]),
        "left_out": report["left_out"],
    }
    return environment().get_template("check.html.jinja").render(**facts).lstrip()


def check_title(name: str) -> str:
    """The name of a check for people: `Personal data`."""
    return name[:1].upper() + name[1:].replace("_", " ")


def severity_in_words(severity: str) -> str:
    """What a severity means: `blocks training`."""
    return _IN_WORDS[severity]


def _finding(found: JsonObject, texts: Sequence[str]) -> JsonObject:
    names = distinct_names(row["file"] for row in found["rows"])
    rows = [
        {
            "location": f"{names[row['file']]}:{row['line']} ({row['split']})",
            "note": row["note"],
            "excerpt": text,
        }
        for row, text in zip(found["rows"], texts, strict=False)
    ]
    split = found["evidence"].get("split", "")
    return {
        **found,
        "title": check_title(found["check"]) + (f" ({split})" if split else ""),
        "severity_in_words": _IN_WORDS[found["severity"]],
        "figures": [(name.replace("_", " "), _value(value)) for name, value in found["evidence"].items()],
        "rows": rows,
        "n_listed": len(found["rows"]),
    }


def _value(value: object) -> str:
    """A figure of the evidence on one line."""
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, dict):
        return "; ".join(f"{key}: {_value(one)}" for key, one in value.items())
    if isinstance(value, list):
        return ", ".join(f"({_value(one)})" if isinstance(one, dict) else _value(one) for one in value)
    return str(value)


def _counts(findings: Sequence[JsonObject]) -> str:
    counts = Counter(found["severity"] for found in findings)
    return ", ".join(f"{counts[kind]} {word}" for kind, word in _COUNTED.items() if counts[kind]) or "nothing"


def _summary(findings: Sequence[JsonObject]) -> list[JsonObject]:
    """The worst findings as sentences."""
    if not findings:
        return [{"text": "nothing was found that you should know of", "css": "verdict better"}]
    said = [{"text": it["text"], "css": _CSS[it["severity"]]} for it in findings[:_MOST_SENTENCES]]
    more = len(findings) - len(said)
    return [*said, *([{"text": f"and {more} more, below", "css": "soft"}] if more else [])]
