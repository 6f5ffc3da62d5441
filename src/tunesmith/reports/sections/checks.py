"""What the checks of the data found, a line a finding; data/check.html has their rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunesmith.reports.check_page import check_title, severity_in_words
from tunesmith.reports.sections import Section, Source
from tunesmith.run import read_json

if TYPE_CHECKING:
    from tunesmith.types import JsonObject


def _facts(source: Source) -> JsonObject | None:
    file = source.run.data / "check.json"
    if not file.is_file():
        return None
    findings = [
        {
            "title": check_title(found["check"]),
            "severity": severity_in_words(found["severity"]),
            "is_fact": found["severity"] == "note",
            "text": found["text"],
            "remedy": found["remedy"],
        }
        for found in read_json(file)["findings"]
    ]
    return {"findings": findings} if findings else None


section = Section("Check of the data", order=890, facts=_facts)
