"""One trial: the phases of a training in order, up to the scores of the validation rows.

Trials share the rows, the cached encodings and what the untrained model computes. A trial has no baselines, test
scores or report. A trial on all rows keeps checkpoints, from which it resumes after a kill; one on a part of
the rows is short and begins again. When it ends, only its recipe and its result stay in its folder.
"""

from __future__ import annotations

import contextlib
import gc
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.data.preparing import PreparedData
from tunesmith.encoded import Encoded
from tunesmith.errors import InterruptedRunError, NonFiniteError, RunError, UserError
from tunesmith.evaluation.baselines import RowStatistics
from tunesmith.events import Events, Listener
from tunesmith.models.heads import encoder_layers
from tunesmith.models.resolve import resolve_model
from tunesmith.models.task_of_model import task_of_model
from tunesmith.pipeline.base_model import allow_targets, with_reference_of_base
from tunesmith.pipeline.encode import EncodedData, encode
from tunesmith.pipeline.fit import fit
from tunesmith.pipeline.open_model import open_model
from tunesmith.pipeline.plan import make_plan
from tunesmith.pipeline.predict_split import predict_split
from tunesmith.pipeline.probe import FeaturesOf, start_from_probe
from tunesmith.pipeline.training_plan import TrainingPlan
from tunesmith.pipeline.work import Work
from tunesmith.recipe import Recipe
from tunesmith.run import Run, write_json
from tunesmith.run.files import remove_unfinished, write_atomically
from tunesmith.run.manifest import recipe_in
from tunesmith.tasks import TASKS, LabelSchema, Task, best_metric
from tunesmith.training.processes import Processes
from tunesmith.tuning.outcome import RESULT, Result, read_result
from tunesmith.tuning.untrained import Untrained
from tunesmith.tuning.watching import Watch

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

STATISTICS, WEIGHTS = "statistics.npz", "weights.safetensors"
_SCORES_OF_A_PART = 4
_KEPT_FILES = frozenset({RESULT, STATISTICS, WEIGHTS, "recipe.yaml"})


@dataclass(frozen=True)
class Shared:
    """What all trials of a search have in common.

    Args:
        task: task that is learned.
        recipe: recipe that the search began from, with the splits that a folder holds.
        data: rows by split.
        untrained: what the untrained model computes, which trials share.
        listeners: called with every event of a trial.
        should_stop: asked at every step; the search ends with everything saved when it is true.
    """

    task: Task
    recipe: Recipe
    data: PreparedData
    untrained: Untrained
    listeners: tuple[Listener, ...]
    should_stop: Callable[[], bool]

    @property
    def metric(self) -> tuple[str, bool]:
        """The metric that trials are compared in, and whether greater is better."""
        return best_metric(self.task, self.data.label_schema)


def read_statistics(folder: Path, task: Task, label_schema: LabelSchema) -> RowStatistics | None:
    """The statistics of the validation rows as a trial answered them; None if there are none."""
    path = folder / STATISTICS
    if not path.is_file():
        return None
    from scipy import sparse

    with np.load(path, allow_pickle=False) as found:
        if "dense" in found:
            return RowStatistics(task, found["dense"], label_schema)
    return RowStatistics(task, sparse.load_npz(path), label_schema)


@dataclass(frozen=True)
class Request:
    """A trial to be run.

    Args:
        recipe: recipe of the trial.
        folder: folder of the trial.
        share: share of the training rows that it learns from.
        deadline: `time.time()` at which it is cut short; infinite without a limit.
        should_prune: function from the percentage of steps done, and the validation metric, to whether it is worse
            than others were then.
        keeps_weights: whether the weights of its best step stay in the folder.
    """

    recipe: Recipe
    folder: Path
    share: float = 1.0
    deadline: float = float("inf")
    should_prune: Callable[[int, float], bool] = lambda percent, value: False
    keeps_weights: bool = False


def run_trial(shared: Shared, request: Request) -> Result:
    """Runs a trial, or resumes it; what it leaves is written before this returns. The caller holds its folder.

    Raises:
        InterruptedRunError: a signal or `should_stop` stopped the search.
    """
    remove_unfinished(request.folder)
    if (known := read_result(request.folder)) is not None:
        _leave_little(request.folder)
        return known
    with _freed_at_the_end():
        result = _run(shared, request, Run(request.folder))
    write_json(request.folder / RESULT, asdict(result))
    _leave_little(request.folder)
    return result


@contextlib.contextmanager
def _freed_at_the_end() -> Iterator[None]:
    """A context whose objects are freed, as a model and what trains it refer to each other.

    Older objects are not looked at: those of torch alone would take as long as a small trial.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.collect()
        gc.unfreeze()


def _run(shared: Shared, request: Request, run: Run) -> Result:
    began = time.perf_counter()
    is_begun = run.manifest_file.is_file()
    before = float(run.manifest().get("trial_seconds", 0.0)) if is_begun else 0.0
    watch = Watch(request.deadline, request.should_prune, shared.should_stop)
    try:
        result = _trained(shared, request, run, watch, resumes=is_begun)
    except NonFiniteError as error:
        result = watch.ended_early("diverged", str(error).splitlines()[0])
    except InterruptedRunError:
        if watch.reason is None:
            run.update_manifest(trial_seconds=before + time.perf_counter() - began)
            raise
        result = watch.ended_early(*watch.reason)
    except RunError:
        raise
    except UserError as error:
        result = watch.ended_early("refused", str(error).splitlines()[0])
    if run.manifest_file.is_file():
        result = replace(result, used=run.manifest().get("used", {}))
    return replace(result, seconds=round(before + time.perf_counter() - began, 3))


def _trained(shared: Shared, request: Request, run: Run, watch: Watch, *, resumes: bool) -> Result:
    """The phases of a training, up to the scores of the validation rows."""
    files = resolve_model(request.recipe.model)
    task = task_of_model(TASKS.get(request.recipe.task), files.path)
    recipe = _as_begun(run, request.recipe) if resumes else request.recipe
    events = Events((*shared.listeners, watch))
    work = Work(run, task, request.recipe, recipe, events, resumes, Processes(), watch.should_stop)
    opened = open_model(work, files, shared.data)
    run.update_manifest(model={**opened.base, "parameters": opened.model.num_parameters()})
    encoded = _part_of(encode(work, opened), request.share, shared)
    plan = make_plan(work, opened, encoded)
    if request.share < 1:
        plan = _with_early_scores(plan)
    watch.higher_is_better = best_metric(task, shared.data.label_schema)[1]
    shared.untrained.lend(plan, request.share, run)
    plan = with_reference_of_base(work, plan)
    allow_targets(work, plan)
    probe = start_from_probe(work, plan, FeaturesOf.of_plan(work, plan))
    shared.untrained.keep(plan, request.share, run)
    fitted = fit(work, plan, probe)
    if request.keeps_weights and plan.opened.adapter is None:
        _write_weights(request.folder / WEIGHTS, plan)
    return _scored(work, plan, request.folder, fitted.summary())


def _as_begun(run: Run, recipe: Recipe) -> Recipe:
    """The recipe with the values that were chosen when the trial began."""
    manifest = run.manifest()
    if "used" not in manifest:
        return recipe
    used = recipe_in(manifest, "used", run.manifest_file)
    return used.replace(data=recipe.model_dump(mode="json", exclude_unset=True)["data"])


def _part_of(encoded: EncodedData, share: float, shared: Shared) -> EncodedData:
    """Without the test rows, and with a part of the training rows and their noisy copies, always the same."""
    splits = {name: it for name, it in encoded.splits.items() if name != "test"}
    if share >= 1:
        return replace(encoded, splits=splits)
    n_rows = len(shared.data.splits["train"])
    taken = np.random.default_rng([shared.recipe.seed, n_rows]).permutation(n_rows)
    is_taken = np.zeros(n_rows, dtype=bool)
    is_taken[taken[: max(1, round(share * n_rows))]] = True
    train: Encoded = encoded.splits["train"]
    kept = train.take(np.flatnonzero(is_taken[train.rows % n_rows]))
    return replace(encoded, splits={**splits, "train": kept})


def _with_early_scores(plan: TrainingPlan) -> TrainingPlan:
    """A short trial is scored some times on its way, so that a bad one ends early."""
    every = max(1, plan.batches.total_steps // _SCORES_OF_A_PART)
    return replace(plan, settings=replace(plan.settings, eval_steps=min(every, plan.settings.eval_steps)))


def _scored(work: Work, plan: TrainingPlan, folder: Path, trained: JsonObject) -> Result:
    """The scores of the validation rows by the model's best step, and their statistics in a file."""
    scores, rows = validation_rows(work, plan)
    _write_statistics(folder / STATISTICS, rows)
    name = best_metric(work.task, plan.data.label_schema)[0]
    return Result(
        "complete",
        scores[name],
        scores,
        train_seconds=trained["seconds"],
        steps=trained["steps"],
        history=trained["history"],
        layers=len(encoder_layers(plan.model)),
        parameters=plan.model.num_parameters(),
    )


def validation_rows(work: Work, plan: TrainingPlan) -> tuple[dict[str, float], RowStatistics]:
    """The scores of the model in training on the validation rows, and the statistics of each row."""
    schema = plan.data.label_schema
    answered = predict_split(work, plan, "validation", with_texts=False)
    if work.task.thresholds is not None:
        schema = work.task.thresholds.fit(answered, schema)
    scores = work.task.validation_scores(answered, plan.data.label_schema)
    return scores, RowStatistics.of(work.task, answered, schema)


def _write_weights(path: Path, plan: TrainingPlan) -> None:
    from safetensors.torch import save

    write_atomically(path, save({name: it.detach().cpu() for name, it in plan.model.named_parameters()}))


def _write_statistics(path: Path, rows: RowStatistics) -> None:
    import io

    from scipy import sparse

    buffer = io.BytesIO()
    if sparse.issparse(rows.statistics):
        sparse.save_npz(buffer, rows.statistics)
    else:
        np.savez_compressed(buffer, dense=np.asarray(rows.statistics))
    write_atomically(path, buffer.getvalue())


def _leave_little(folder: Path) -> None:
    """Removes what only a running trial needs: checkpoints, manifest, reports of truncation."""
    for entry in folder.iterdir():
        if entry.name in _KEPT_FILES or entry.name == ".lock":
            continue
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
