"""`report.html`: one file that opens without a network and can be sent to other people.

Every number in it is in the files of the run. Shares are percentages everywhere. This file makes the frame and the
summary; each section is a file of `reports/sections`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.evaluation.result import warnings
from tunesmith.reports.filters import FILTERS, duration
from tunesmith.reports.sections import SECTIONS, Source
from tunesmith.reports.sources import named_sources
from tunesmith.run import Run, write_atomically

if TYPE_CHECKING:
    from jinja2 import Environment

    from tunesmith.types import JsonObject


def write_report(run: Run) -> None:
    """Writes `report.html` from the files of the run folder."""
    page = environment().get_template("report.html.jinja").render(**_facts(run))
    write_atomically(run.report_file, page.lstrip())


def environment() -> Environment:
    """What reads the templates of this folder."""
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(FILTERS)
    return made


def _facts(run: Run) -> JsonObject:
    manifest, metrics = run.manifest(), run.metrics
    return {
        "title": run.path.name,
        "manifest": manifest,
        "metrics": metrics,
        "primary": metrics["primary"],
        "recipe": manifest["used"],
        "warnings": warnings(metrics),
        "trained_on": _trained_on(manifest, metrics),
        "sections": _sections(Source(run, manifest, metrics)),
    }


def _sections(source: Source) -> list[JsonObject]:
    """The sections that have something to show, in order."""
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


def _trained_on(manifest: JsonObject, metrics: JsonObject) -> str:
    """What it was trained on, how, and how long."""
    used, train = manifest["used"], metrics["train"]
    rows = f"{manifest['data']['rows']['train']:,} rows of {named_sources(used['data']['train'])}"
    if used["train"]["method"] == "probe":
        return (
            f"A linear head on the frozen model {used['model']}, trained on {rows} in "
            f"{duration(train['seconds'])}."
        )
    method = {"full": "all weights", "lora": "a LoRA adapter"}.get(
        used["train"]["method"], used["train"]["method"]
    )
    return f"{used['model']}, trained on {rows}: {method}, {train['steps']:,} steps, {duration(train['seconds'])}."
