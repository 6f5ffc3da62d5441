"""`models`: which base models suit a task, its data and this machine, and why.

Candidates are the models of the list (`models/catalogue.py`), those in the local Hub cache or in packages, and
those that the user adds. Reasons come from facts first (`model_reasons`); what passes is measured
(`model_costs`), the likeliest first and within a time; a probe scores what is here (`model_probe`).
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tunesmith.data.preparing import find_splits, prepare
from tunesmith.errors import RecipeError, TunesmithError, UserError, first_line
from tunesmith.events import Events, Listener
from tunesmith.metrics import METRICS
from tunesmith.models.catalogue import KnownModel, catalogue, describe_files, find_known, refuse_unknown_model
from tunesmith.models.memory import free_memory
from tunesmith.models.packaged import installed_packages
from tunesmith.models.resolve import ModelFiles, cached_models, resolve_model
from tunesmith.models.task_of_model import task_of_family
from tunesmith.pipeline.data_facts import DataFacts, facts_of
from tunesmith.pipeline.model_costs import Cost, CostMeter
from tunesmith.pipeline.model_probe import ProbeScore, probe_model, sample_for_probe, why_not_probed
from tunesmith.pipeline.model_reasons import (
    AGAINST,
    POSSIBLE,
    RECOMMENDED,
    RULES_OUT,
    UNFIT,
    Reason,
    reasons_before_measuring,
    reasons_of_cost,
    verdict_of,
)
from tunesmith.pipeline.sample_rows import SampleRows
from tunesmith.recipe import Recipe
from tunesmith.tasks import TASKS, Task, task_name
from tunesmith.training.processes import Processes

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

MEASURING_S = 30.0
"""Seconds after which what is not measured is estimated."""
_ORDER = (RECOMMENDED, POSSIBLE, UNFIT)


@dataclass(frozen=True)
class Candidate:
    """A model, and what is said of it.

    Args:
        known: facts of the model.
        task: task as this model learns it.
        available: where it is on this machine: `package`, `cache`, `folder`, …; empty if it must be downloaded.
        reasons: reasons for it and against it.
        cost: what its training takes; None where that was not asked for.
        probe: score of the probe; None where it was not asked for, or cannot be.
    """

    known: KnownModel
    task: Task
    available: str = ""
    reasons: tuple[Reason, ...] = ()
    cost: Cost | None = None
    probe: ProbeScore | None = None

    @property
    def verdict(self) -> str:
        """`recommended`, `possible` or `unfit`."""
        return verdict_of(self.reasons)

    def because(self, *reasons: Reason) -> Candidate:
        """The candidate with more reasons."""
        return replace(self, reasons=(*self.reasons, *reasons))

    def to_json(self) -> JsonObject:
        """The entry for `--json`."""
        return {
            **self.known.facts(),
            "available": self.available or None,
            "verdict": self.verdict,
            "reasons": [reason.to_json() for reason in self.reasons],
            "cost": None if self.cost is None else self.cost.to_json(),
            "probe": None if self.probe is None else self.probe.to_json(),
        }


@dataclass
class _Here:
    """The models on this machine, which are opened when they are first asked for."""

    events: Events
    _files: dict[str, ModelFiles | None] = field(default_factory=dict)

    def names(self) -> list[str]:
        """Ids that are packaged or in the cache."""
        return list(dict.fromkeys([*installed_packages(), *cached_models()]))

    def files(self, name: str) -> ModelFiles | None:
        """The files of a model; None where they cannot be used, which is said once."""
        if name not in self._files:
            try:
                self._files[name] = resolve_model(name, self.events.note, download=False)
            except UserError as error:
                self.events.warn(f"{name} is left out: {error.rule}")
                self._files[name] = None
        return self._files[name]


def suggest_models(
    recipe: Recipe | None,
    *,
    task: str | None = None,
    add: Sequence[str] = (),
    probe: bool = False,
    max_seconds: float = MEASURING_S,
    listeners: Iterable[Listener] = (),
) -> JsonObject:
    """Base models for a task and its data, the recommended ones first; the content of `tunesmith models --json`.

    Args:
        recipe: recipe with the data; None where there are none, and so no times.
        task: task, where there is no recipe; None for every model.
        add: local folders, runs, GGUF files, or ids in the local cache, that join the list.
        probe: score the models on this machine by a probe on a sample of the rows.
        max_seconds: seconds for measurements; what is not measured then is estimated.
        listeners: called with every event (`tunesmith.events`).

    Raises:
        UserError: the task is unknown, the data cannot be read, or what is added is no model.
    """
    from tunesmith.environment import machine

    _refuse_unusable(recipe, probe=probe, max_seconds=max_seconds)
    events = Events(tuple(listeners))
    here = _Here(events)
    added = [_added(name) for name in add]
    if recipe is None:
        name = None if task is None else task_name(task)
        candidates = _candidates(None if name is None else TASKS.get(name), None, here, added)
        return _as_json(name, None, machine(), _sorted(candidates))
    recipe = find_splits(recipe)
    asked = TASKS.get(recipe.task)
    events.stage("read", "Reading the data")
    data = prepare(asked, recipe)
    facts = facts_of(asked, SampleRows(recipe, data, {}))
    candidates = _candidates(asked, facts, here, added)
    local = _local_files(candidates, here, added)
    candidates = _measured(candidates, SampleRows(recipe, data, local), events, max_seconds)
    if probe:
        candidates = _probed(candidates, SampleRows(recipe, data, local), events)
    left_out = why_not_probed(asked) if probe else ""
    return _as_json(recipe.task, facts, machine(), _sorted(candidates), not_probed=left_out)


def cost_of_model(recipe: Recipe, name: str) -> Cost:
    """What the training of one model on this machine takes here, with the data of a recipe.

    Args:
        recipe: recipe with the data.
        name: folder, run, GGUF file, or id in the local cache.

    Raises:
        UserError: the data cannot be read, or the model is not on this machine.
    """
    recipe, (known, files) = find_splits(recipe), _added(name)
    task = TASKS.get(recipe.task)
    rows = SampleRows(recipe, prepare(task, recipe), {known.id: files})
    return _meter_for(rows).cost(known, task_of_family(task, known.family))


def describe_model(name: str) -> JsonObject:
    """The facts of one model, with the source of each: of the list, or on this machine.

    Raises:
        UserError: it is neither in the list nor on this machine.
    """
    known = find_known(name)
    available = ""
    try:
        files = resolve_model(known.id if known else name, download=False)
        known, available = known or describe_files(files), files.origin
    except UserError as error:
        if known is None:
            raise (error if os.path.exists(name) else refuse_unknown_model(name)) from None
    return {
        **known.facts(),
        "available": available or None,
        "config": known.config,
        "sources": dict(known.sources),
    }


def _added(name: str) -> tuple[KnownModel, ModelFiles]:
    files = resolve_model(name, download=False)
    return describe_files(files), files


def _local_files(
    candidates: Sequence[Candidate], here: _Here, added: Sequence[tuple[KnownModel, ModelFiles]]
) -> dict[str, ModelFiles]:
    """The files of the candidates that are on this machine, by id; of those that can be used.

    A packaged copy may first have to be read from GGUF, which takes half a minute, so this is not done for a model
    that would hardly be chosen.
    """
    found = {known.id: files for known, files in added}
    for candidate in candidates:
        name = candidate.known.id
        worth = (RECOMMENDED,) if candidate.available == "package" else (RECOMMENDED, POSSIBLE)
        is_wanted = candidate.available and name not in found and candidate.verdict in worth
        if is_wanted and (files := here.files(name)) is not None:
            found[name] = files
    return found


def _candidates(
    task: Task | None,
    facts: DataFacts | None,
    here: _Here,
    added: Sequence[tuple[KnownModel, ModelFiles]],
) -> list[Candidate]:
    """Every model, with what its facts say."""
    names = here.names()
    of_added = {known.id: (known, files) for known, files in added}
    unlisted = [name for name in names if find_known(name) is None and name not in of_added]
    found = [describe_files(files) for name in unlisted if (files := here.files(name)) is not None]
    models = {known.id: known for known in (*catalogue(), *found, *(known for known, _ in added))}
    candidates = []
    for known in models.values():
        where = of_added[known.id][1].kind if known.id in of_added else _where(known.id, names)
        learned = TASKS.get("text-classification") if task is None else task_of_family(task, known.family)
        reasons = (
            [] if task is None else reasons_before_measuring(known, learned, facts, available=bool(where))
        )
        candidates.append(Candidate(known, learned, where, tuple(reasons)))
    return candidates


def _where(name: str, here: Sequence[str]) -> str:
    if name not in here:
        return ""
    return "package" if name in installed_packages() else "cache"


def _measured(
    candidates: Sequence[Candidate], rows: SampleRows, events: Events, max_seconds: float
) -> list[Candidate]:
    """The candidates with what they cost: measured in this order as long as there is time, then estimated."""
    meter = _meter_for(rows)
    waiting = sorted((it for it in candidates if it.verdict != UNFIT), key=_first_to_measure)
    events.stage("measure", f"Measuring what a training takes, for at most {max_seconds:.0f} s")
    advance, began = events.progress("models"), time.perf_counter()
    found: dict[str, Candidate] = {}
    for number, candidate in enumerate(waiting):
        if time.perf_counter() - began > max_seconds and any(it.cost for it in found.values()):
            break
        found[candidate.known.id] = _with_cost(candidate, lambda it: meter.cost(it.known, it.task))
        advance(number + 1, len(waiting))
    measured = [it for it in found.values() if it.cost is not None]
    for candidate in waiting[len(found) :]:
        found[candidate.known.id] = _with_cost(candidate, lambda it: _estimated(it, measured, meter))
    advance(len(waiting), len(waiting))
    return [found.get(it.known.id, it) for it in candidates]


def _meter_for(rows: SampleRows) -> CostMeter:
    from tunesmith.acceleration.bf16 import bf16_is_faster
    from tunesmith.environment import machine, versions

    device, asked = Processes().accelerator.device.type, rows.recipe.train.bf16
    bf16 = bf16_is_faster(device) if asked == "auto" else bool(asked)
    return CostMeter(rows.recipe, rows, device=device, bf16=bf16, machine={**machine(), **versions()})


def _first_to_measure(candidate: Candidate) -> tuple[int, bool, int]:
    return _ORDER.index(candidate.verdict), not candidate.available, candidate.known.parameters


def _with_cost(candidate: Candidate, find: Callable[[Candidate], Cost]) -> Candidate:
    """The candidate with its cost, or with the reason why it has none."""
    try:
        cost = find(candidate)
    except (TunesmithError, ValueError, RuntimeError, MemoryError) as error:
        return candidate.because(Reason(AGAINST, f"its training could not be tried: {first_line(error)}"))
    return replace(candidate, cost=cost).because(*reasons_of_cost(cost))


def _estimated(candidate: Candidate, measured: Sequence[Candidate], meter: CostMeter) -> Cost:
    """The cost by that of the model that is nearest in size, first of its family, then of its kind."""
    size = meter.size(candidate.known, candidate.task)

    def distance(other: Candidate) -> tuple[bool, bool, float]:
        known, cost = other.known, other.cost
        assert cost is not None, "a measured candidate has a cost"
        ratio = abs(math.log(size.operations / cost.operations))
        return known.family != candidate.known.family, known.kind != candidate.known.kind, ratio

    nearest = min(measured, key=distance)
    assert nearest.cost is not None, "a measured candidate has a cost"
    return nearest.cost.scaled(size, source=nearest.known.id)


def _probed(candidates: Sequence[Candidate], rows: SampleRows, events: Events) -> list[Candidate]:
    """The candidates with the score of the probe, for those on this machine."""
    data = sample_for_probe(rows.data, rows.recipe.seed)
    found = []
    for candidate in candidates:
        files = rows.local.get(candidate.known.id)
        if files is None or candidate.verdict == UNFIT or candidate.task.probe is None:
            found.append(candidate)
            continue
        events.stage("probe", f"Probing {candidate.known.id}")
        try:
            found.append(replace(candidate, probe=probe_model(rows.recipe, candidate.task, files, data)))
        except UserError as error:
            found.append(candidate.because(Reason(RULES_OUT, f"cannot be probed: {error.rule}")))
    return found


def _sorted(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The recommended ones first, then by the score of the probe, by what is here, and by time."""

    def key(candidate: Candidate) -> tuple[float, ...]:
        probe, cost = candidate.probe, candidate.cost
        score = math.inf
        if probe is not None:
            score = -probe.value if METRICS.get(probe.metric).greater_is_better else probe.value
        seconds = cost.epoch_s if cost is not None else float(candidate.known.parameters)
        return _ORDER.index(candidate.verdict), score, not candidate.available, seconds

    return sorted(candidates, key=key)


def _as_json(
    task: str | None,
    facts: DataFacts | None,
    machine: Mapping[str, object],
    candidates: Sequence[Candidate],
    *,
    not_probed: str = "",
) -> JsonObject:
    return {
        "task": task,
        "machine": {**machine, "free_bytes": free_memory()},
        "data": None if facts is None else facts.to_json(),
        "not_probed": not_probed or None,
        "models": [candidate.to_json() for candidate in candidates],
    }


def _refuse_unusable(recipe: Recipe | None, *, probe: bool, max_seconds: float) -> None:
    if probe and recipe is None:
        raise RecipeError(
            "a probe needs rows with labels, and no data are given.",
            remedy="Give a file: `tunesmith models reviews.csv --probe`.",
        )
    if max_seconds < 0:
        raise RecipeError(
            f"the seconds for measurements must be 0 or more, got {max_seconds:g}.",
            remedy=f"The default is {MEASURING_S:g}.",
        )
