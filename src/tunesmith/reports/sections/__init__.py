"""Sections of the report. A file in this folder is a section, and the template beside it draws it.

`NAME.py` says from the run's files what is shown, and `NAME.html.jinja` shows it, with these facts as `section`
and the filters of `reports/html.py`. A section also says its sentences for the summary at the top.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunesmith.registry import Registry

if TYPE_CHECKING:
    from tunesmith.run import Run
    from tunesmith.types import JsonObject


@dataclass(frozen=True)
class Source:
    """What sections read.

    Args:
        run: run folder.
        manifest: what `manifest.json` says.
        metrics: what `metrics.json` says.
    """

    run: Run
    manifest: JsonObject
    metrics: JsonObject


def _no_sentences(facts: JsonObject) -> list[str]:
    return []


@dataclass(frozen=True)
class Section:
    """One section.

    Args:
        title: heading, also in the contents.
        order: sections stand in the order of these numbers.
        facts: what its template draws; None where there is nothing to show.
        sentences: what the summary at the top says, from the facts, in plain words.
    """

    title: str
    order: int
    facts: Callable[[Source], JsonObject | None]
    sentences: Callable[[JsonObject], list[str]] = _no_sentences


SECTIONS: Registry[Section] = Registry("tunesmith.reports.sections", "section", Section, hyphens=False)
