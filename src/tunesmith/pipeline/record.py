"""What a run is made from, written into its folder before anything is learned."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tunesmith.data.examples import list_realigned
from tunesmith.data.invalid_rows import set_invalid_rows_aside
from tunesmith.data.preparing import PreparedData, all_sources, sources_of
from tunesmith.data.reading import is_in_memory, source_files
from tunesmith.data.train_texts import write_train_texts
from tunesmith.environment import DECISIVE_PACKAGES, describe_environment
from tunesmith.events import Events
from tunesmith.models.resolve import resolve_model
from tunesmith.pipeline.open_model import OpenedModel
from tunesmith.pipeline.work import Work
from tunesmith.recipe import Recipe
from tunesmith.run import Run, request_entries, write_atomically

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

_FROM_MEMORY = "the rows came from memory: this run can be made again only with the same objects"


def record(work: Work, opened: OpenedModel, data_fingerprint: str, *, prepare_s: float) -> Work:
    """Writes the manifest and the rows of the splits.

    Args:
        work: what is to be done.
        opened: data and model.
        data_fingerprint: SHA-256 over the data files.
        prepare_s: seconds until the data and the model were there.

    Returns:
        The work, with the recipe of the earlier start where the run resumes: what was chosen by what the machine
        has stays as it was.
    """
    run = work.run
    before = run.manifest() if work.resumes else {}
    if "used" in before:
        moved = {"output_dir": str(run.path), "model": work.recipe.model}
        used = Recipe.model_validate({**before["used"], **moved})
        work = replace(work, recipe=used.replace(data=sources_of(work.recipe.data)))
    if not work.processes.is_first:
        return work
    from_memory = any(map(is_in_memory, all_sources(work.recipe.data)))
    if from_memory:
        work.events.note(_FROM_MEMORY)
    run.update_manifest(
        **({} if "requested" in before else request_entries(work.requested)),
        data=_describe(opened.data, data_fingerprint, from_memory=from_memory),
        label_schema=opened.data.label_schema,
        model={**opened.base, "parameters": opened.model.num_parameters()},
        seed=work.requested.seed,
        processes=work.processes.world,
        **({"hooks": work.hooks.describe()} if work.hooks.given else {}),
        **_environment(before, work.events),
        stages_s={"prepare": round(prepare_s, 3)},
    )
    _write_rows(run, opened.data)
    return work


def refuse_own_files(work: Work) -> None:
    """Raises RunError when the run would be made from files that it replaces."""
    sources = [path for source in all_sources(work.recipe.data) for path in source_files(source)]
    work.run.refuse_own_files([resolve_model(work.recipe.model).path, *sources])


def _describe(data: PreparedData, data_fingerprint: str, *, from_memory: bool) -> JsonObject:
    return {
        "fingerprint": data_fingerprint,
        "columns": data.chosen,
        "read_as": data.views,
        "rows": {name: len(examples) for name, examples in data.splits.items()},
        "set_aside": len(data.invalid_rows),
        "from_memory": from_memory,
        "notices": [*data.notices, *data.notices_without_check, *([_FROM_MEMORY] if from_memory else [])],
    }


def _write_rows(run: Run, data: PreparedData) -> None:
    write_atomically(run.data / "splits.json", data.row_ids_as_json())
    write_train_texts(run.data, data.splits["train"])
    if data.invalid_rows:
        set_invalid_rows_aside(data.invalid_rows, run.data / "bad_rows.jsonl")
    if data.realigned:
        list_realigned(data.realigned, run.data / "realigned_answers.jsonl")


def _environment(before: JsonObject, events: Events) -> JsonObject:
    """Where the run began stays on record; where it resumes is noted beside it."""
    now = describe_environment()
    if "started" not in before:
        return now
    changed = [
        (name, then, here)
        for name, then, here in (
            *((name, before["versions"].get(name), now["versions"][name]) for name in DECISIVE_PACKAGES),
            ("the number of threads", before["machine"].get("threads"), now["machine"]["threads"]),
        )
        if then != here
    ]
    if changed:
        named = " and ".join(name for name, _, _ in changed)
        listed = ", ".join(f"{then} → {here}" for _, then, here in changed)
        events.warn(f"{named} changed since the run began ({listed}): the weights may differ")
    return {"continued": [*before.get("continued", []), now]}
