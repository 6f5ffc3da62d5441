"""What a model that writes gives away of its training, and what it refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunesmith.reports.sections import Section, Source

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

_TITLES = (
    ("verbatim", "repeats training text"),
    ("extraction", "continues a training text word for word"),
    ("refusals", "refuses a harmful prompt"),
)


def _facts(source: Source) -> JsonObject | None:
    found = source.metrics.get("harm")
    if not found:
        return None
    shares = [
        {
            "title": title,
            "n": found[name]["n"],
            "model": found[name]["model"],
            "base": found[name].get("base_model"),
        }
        for name, title in _TITLES
        if name in found
    ]
    secrets = found.get("canaries")
    if secrets is not None:
        base = secrets.get("base_model", {})
        shares += [
            {"title": title, "n": secrets["n"], "model": secrets["model"][name], "base": base.get(name)}
            for name, title in (
                ("written", "writes a planted secret"),
                ("likeliest", "finds a planted secret likelier than others"),
            )
        ]
    return {
        "shares": shares,
        "secrets": secrets,
        "kinds": found.get("refusals", {}).get("kinds"),
        "texts": [entry["text"] for entry in found.values()],
    }


def _sentences(facts: JsonObject) -> list[str]:
    found: list[str] = facts["texts"]
    return found


section = Section("What the model gives away and refuses", 66, _facts, _sentences)
