"""How a process opens a search: its rows, its storage, and what all trials share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tunesmith.errors import RecipeError
from tunesmith.events import Event, Events, Listener, Step
from tunesmith.models.resolve import resolve_model
from tunesmith.models.task_of_model import task_of_model
from tunesmith.pipeline.checking import check_texts
from tunesmith.pipeline.options import refuse_options_without_effect
from tunesmith.pipeline.prepare import prepare_data
from tunesmith.pipeline.work import Work
from tunesmith.recipe import Recipe
from tunesmith.run import Run
from tunesmith.tasks import TASKS
from tunesmith.training.loop import never
from tunesmith.training.processes import Processes
from tunesmith.tuning.folder import SearchFolder
from tunesmith.tuning.search import Search, name_of
from tunesmith.tuning.storage import open_storage
from tunesmith.tuning.trial import Shared
from tunesmith.tuning.untrained import Untrained


@dataclass(frozen=True)
class Options:
    """How a search is run; none of it changes what is searched.

    Args:
        workers: number of processes on this machine, each with its share of the cores.
        storage: URL of a PostgreSQL server that several machines share; None keeps the trials in the folder.
        force: replace another search that is in the folder.
        should_stop: asked at every step of every trial; when it is true, everything is saved and the search ends
            with InterruptedRunError.
    """

    workers: int = 1
    storage: str | None = None
    force: bool = False
    should_stop: Callable[[], bool] = never


ONE_PROCESS = Options()
"""A search by this process alone."""


def open_search(
    folder: SearchFolder,
    recipe: Recipe,
    data_fingerprint: str,
    options: Options,
    listeners: tuple[Listener, ...],
    clock: Callable[[], float],
) -> Search:
    """The search as a process knows it: its rows, its storage, and what all trials share.

    Args:
        folder: folder of the search.
        recipe: recipe that the search begins from, with the splits that a folder holds.
        data_fingerprint: SHA-256 over the data files.
        options: how the search is run.
        listeners: called with every event.
        clock: function that gives the seconds since the search began.

    Raises:
        UserError: the data, the model or the storage cannot be used.
    """
    events = Events(listeners)
    storage = open_storage(options.storage, folder.journal)
    files = resolve_model(recipe.model, events.note)
    task = task_of_model(TASKS.get(recipe.task), files.path)
    refuse_options_without_effect(task, recipe)
    processes = Processes()
    work = Work(Run(folder.path), task, recipe, recipe, events, False, processes, options.should_stop)
    data = prepare_data(work)
    check_texts(work, data)
    _refuse_no_validation(len(data.splits["validation"]))
    base = _of_trials(recipe)
    shared = Shared(
        task,
        base,
        data,
        Untrained(folder.untrained),
        processes,
        (_Movements(listeners),),
        options.should_stop,
    )
    return Search(folder, storage, name_of(recipe, data_fingerprint), shared, recipe.tune, events, clock)


def _refuse_no_validation(n_rows: int) -> None:
    if not n_rows:
        raise RecipeError(
            "a search needs validation rows, by which trials are compared, and there are none.",
            remedy="Give a file with rows as `data.validation`, or a share such as 0.1.",
        )


def _of_trials(recipe: Recipe) -> Recipe:
    """The recipe of every trial: without baselines and trackers, which are for the final training."""
    own = recipe.replace(evaluate={"baselines": False}, train={"report_to": []})
    return own.model_copy(update={"tune": type(own.tune)()})


class _Movements:
    """Passes on how far a trial is; its notes would be the same for every trial."""

    def __init__(self, listeners: tuple[Listener, ...]) -> None:
        self._listeners = listeners

    def __call__(self, event: Event) -> None:
        if isinstance(event, Step):
            for listener in self._listeners:
                listener(event)
