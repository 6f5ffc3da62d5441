"""Sections of the report. A file in this folder is a section, and the template beside it draws it.

`NAME.py` says from the run's files what is shown, and `NAME.html.jinja` shows it: these facts are `section`, with
the filters of `reports/filters.py` and the macros of `reports/macros.html.jinja`. A section also says sentences
for the summary at the top.

Sections stand in the order of their numbers: from 10 the result, from 100 what can be trusted of it, from 300 the
errors, from 900 what it was made from.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunesmith.models.task_of_model import task_of_model
from tunesmith.registry import Registry
from tunesmith.tasks import TASKS

if TYPE_CHECKING:
    from tunesmith.run import Run
    from tunesmith.tasks import Task
    from tunesmith.types import JsonObject


@dataclass(frozen=True)
class Source:
    """What sections read.

    Args:
        run: run folder.
        manifest: what `manifest.json` says.
        metrics: what `metrics.json` says, or what an evaluation on other rows found.
        answers: gives the rows of an evaluation with their answers; None where `predictions/` has them.
    """

    run: Run
    manifest: JsonObject
    metrics: JsonObject
    answers: Callable[[], Iterator[JsonObject]] | None = None

    @property
    def task(self) -> Task:
        """The task of the run, as its model learned it."""
        return task_of_model(TASKS.get(self.metrics["task"]), self.run.model)

    @property
    def primary(self) -> JsonObject:
        """The score that counts."""
        found: JsonObject = self.metrics["primary"]
        return found

    def lines(self) -> Iterator[JsonObject]:
        """Every scored row with its answer, a line of the predictions file each."""
        if self.answers is not None:
            yield from self.answers()
            return
        path = self.run.predictions / f"{self.primary['split']}.jsonl"
        with path.open(encoding="utf-8") as handle:
            yield from map(json.loads, handle)


def _no_sentences(facts: JsonObject) -> list[str]:
    return []


@dataclass(frozen=True)
class Section:
    """One section.

    Args:
        title: heading, also in the contents; an entry `title` of the facts takes its place.
        order: sections stand in the order of these numbers.
        facts: what its template draws; None where there is nothing to show.
        sentences: what the summary at the top says, from the facts, in plain words.
    """

    title: str
    order: int
    facts: Callable[[Source], JsonObject | None]
    sentences: Callable[[JsonObject], list[str]] = _no_sentences


SECTIONS: Registry[Section] = Registry("tunesmith.reports.sections", "section", Section, hyphens=False)


def section_of(key: str, title: str, order: int) -> Section:
    """A section that draws an entry of metrics.json as it is, and says its `text`.

    Args:
        key: name of the entry.
        title: heading.
        order: place among the sections.
    """

    def facts(source: Source) -> JsonObject | None:
        found: JsonObject | None = source.metrics.get(key)
        return found

    return Section(title, order, facts, lambda found: [found["text"]])


def shown_sections(source: Source) -> list[JsonObject]:
    """The sections that have something to show, in order, each with `id`, `title`, `facts` and `sentences`."""
    found = []
    for name in SECTIONS.names():
        section = SECTIONS.get(name)
        if (facts := section.facts(source)) is not None:
            found.append(
                {
                    "id": name.replace("_", "-"),
                    "title": facts.get("title", section.title),
                    "order": section.order,
                    "facts": facts,
                    "template": f"sections/{name}.html.jinja",
                    "sentences": section.sentences(facts),
                }
            )
    return sorted(found, key=lambda it: (it["order"], it["id"]))


def summary(source: Source) -> list[str]:
    """What the sections say of the result, in words."""
    speaking = [SECTIONS.get(name) for name in SECTIONS.names()]
    found: list[str] = []
    for section in sorted(speaking, key=lambda section: section.order):
        if section.sentences is not _no_sentences and (facts := section.facts(source)) is not None:
            found += section.sentences(facts)
    return found
