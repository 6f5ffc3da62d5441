"""How a process opens a search: its rows, its storage, and what all trials share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunesmith.data.preparing import PreparedData
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
from tunesmith.tasks import TASKS, Task
from tunesmith.training.loop import never
from tunesmith.training.processes import Processes
from tunesmith.tuning.folder import SearchFolder
from tunesmith.tuning.running import Search, name_of
from tunesmith.tuning.soup import refuse_soup
from tunesmith.tuning.space import Space, read_space
from tunesmith.tuning.storage import open_journal, open_server
from tunesmith.tuning.trial import Shared
from tunesmith.tuning.untrained import Untrained

if TYPE_CHECKING:
    from optuna.storages import BaseStorage


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


@dataclass(frozen=True)
class Request:
    """A search that is asked for, with its rows; nothing is written yet.

    Args:
        recipe: recipe that the search begins from, with the splits that a folder holds.
        task: task that is learned.
        data: rows by split.
        fingerprint: SHA-256 over the data files.
        space: space that the recipe names; empty for the default one.
        server: storage on a server, if one is asked for.
    """

    recipe: Recipe
    task: Task
    data: PreparedData
    fingerprint: str
    space: Space
    server: BaseStorage | None


def prepare_search(
    recipe: Recipe, data_fingerprint: str, options: Options, events: Events, *, checks: bool = True
) -> Request:
    """Reads the rows, and looks for whatever is wrong with the request; writes nothing.

    Args:
        recipe: recipe that the search begins from, with the splits that a folder holds.
        data_fingerprint: SHA-256 over the data files.
        options: how the search is run.
        events: listeners.
        checks: whether the texts are checked, which the first process does for its workers.

    Raises:
        UserError: the recipe, the data, the model, the space or the storage cannot be used.
        CheckBlockedError: the check of the data blocks.
    """
    files = resolve_model(recipe.model, events.note)
    task = task_of_model(TASKS.get(recipe.task), files.path)
    refuse_options_without_effect(task, recipe)
    notices: list[str] = []
    space = read_space(recipe, task, notices)
    for notice in notices:
        events.note(notice)
    refuse_soup(recipe, has_server=options.storage is not None)
    server = None if options.storage is None else open_server(options.storage)
    work = Work(Run(recipe.output_dir), task, recipe, recipe, events, False, Processes(), options.should_stop)
    data = prepare_data(work)
    if checks:
        check_texts(work, data)
    _refuse_no_validation(len(data.splits["validation"]))
    return Request(recipe, task, data, data_fingerprint, space, server)


def open_search(
    folder: SearchFolder,
    request: Request,
    options: Options,
    listeners: tuple[Listener, ...],
    clock: Callable[[], float],
) -> Search:
    """The search as a process knows it: its storage, and what all trials share.

    Args:
        folder: folder of the search.
        request: what is asked for.
        options: how the search is run.
        listeners: called with every event.
        clock: function that gives the seconds since the search began.
    """
    shared = Shared(
        request.task,
        _of_trials(request.recipe),
        request.data,
        Untrained(folder.untrained),
        (_Movements(listeners),),
        options.should_stop,
    )
    storage = open_journal(folder.journal) if request.server is None else request.server
    name = name_of(request.recipe, request.fingerprint)
    return Search(folder, storage, name, shared, request.recipe.tune, Events(listeners), clock)


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
