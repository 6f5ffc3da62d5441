"""`report.html`: one file that opens without a network and can be sent to other people.

Every number in it is in the files of the run. Shares are percentages everywhere. This file makes the frame and the
summary; each section is a file of `reports/sections`.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.evaluation.result import warnings
from tunesmith.reports.filters import FILTERS, duration
from tunesmith.reports.sections import Source, shown_sections
from tunesmith.reports.sources import named_sources
from tunesmith.run import Run, write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from jinja2 import Environment

    from tunesmith.types import JsonObject


def write_report(run: Run) -> None:
    """Writes `report.html` from the files of the run folder."""
    source = Source(run, run.manifest(), run.metrics)
    _write(source, run.report_file, run.path.name, _trained_on(source.manifest, source.metrics))


def write_evaluation(
    run: Run,
    metrics: JsonObject,
    answers: Callable[[], Iterator[JsonObject]],
    sources: Sequence[str],
    path: Path,
) -> None:
    """Writes the report of an evaluation on other rows.

    Args:
        run: the run that answered them.
        metrics: what was found.
        answers: gives the rows with their answers, as lines of the predictions file.
        sources: where the rows come from.
        path: the file to write.
    """
    manifest = run.manifest()
    trained = _trained_on(manifest, run.metrics)
    said = f"The rows of {named_sources(sources)}, answered by the run {run.path.name}. That is {trained}"
    _write(
        Source(run, manifest, metrics, answers), path, f"{run.path.name} on {named_sources(sources)}", said
    )


def _write(source: Source, path: Path, title: str, said: str) -> None:
    metrics = source.metrics
    page = (
        environment()
        .get_template("report.html.jinja")
        .render(
            title=title,
            manifest=source.manifest,
            metrics=metrics,
            primary=source.primary,
            recipe=source.manifest["used"],
            warnings=warnings(metrics),
            trained_on=said,
            sections=shown_sections(source),
        )
    )
    write_atomically(path, page.lstrip())


@cache
def environment() -> Environment:
    """What reads the templates of this folder, each once in a process."""
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


def _trained_on(manifest: JsonObject, metrics: JsonObject) -> str:
    """What it was trained on, how, and how long."""
    used, train = manifest["used"], metrics["train"]
    rows = f"{manifest['data']['rows']['train']:,} rows of {named_sources(used['data']['train'])}"
    if used["train"]["method"] == "probe":
        return (
            f"A linear head on the frozen model {used['model']}, trained on {rows} in "
            f"{duration(train['seconds'])}."
        )
    method = {"full": "all weights", "lora": "a LoRA adapter", "contrastive": "contrastive, then a head"}.get(
        used["train"]["method"], used["train"]["method"]
    )
    return f"{used['model']}, trained on {rows}: {method}, {train['steps']:,} steps, {duration(train['seconds'])}."
