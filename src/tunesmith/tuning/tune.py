"""`tune`: the search from the request to the trained model and the report, or the rest of one that was stopped."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from tunesmith import pipeline
from tunesmith.data.preparing import all_sources, data_fingerprint_of, find_splits
from tunesmith.data.reading import is_in_memory
from tunesmith.errors import RecipeError, RunError
from tunesmith.events import Events, Listener
from tunesmith.masking import masked_values
from tunesmith.recipe import Recipe, TuneRecipe
from tunesmith.reports.tuning import write_tuning_report
from tunesmith.run import Run, write_json
from tunesmith.run.comparison import differing_keys, request_entries
from tunesmith.run.locking import refuse_several_processes
from tunesmith.tuning.budget import Budget
from tunesmith.tuning.folder import SearchFolder
from tunesmith.tuning.joining import join
from tunesmith.tuning.opening import ONE_PROCESS, Options, Request, open_search, prepare_search
from tunesmith.tuning.result import result_json, write_best_recipe
from tunesmith.tuning.running import DEFAULT, Search
from tunesmith.tuning.search import Found, first_trial, lead
from tunesmith.tuning.soup import ingredients_of, prune_weights, remove_weights, soup_of
from tunesmith.tuning.storage import closed_at_the_end
from tunesmith.tuning.workers import Workers, cores_of, use_cores

if TYPE_CHECKING:
    from tunesmith.types import JsonObject


def tune(recipe: Recipe, options: Options = ONE_PROCESS, listeners: Iterable[Listener] = ()) -> SearchFolder:
    """Searches for the best recipe, trains it and reports, or resumes a search that was stopped.

    Args:
        recipe: recipe that the search begins from; `output_dir` is the folder of the search.
        options: how the search is run.
        listeners: called with every event (`tunesmith.events`).

    Returns:
        The folder; without a result if another machine leads the search, which this one has joined.

    Raises:
        UserError: the recipe, the data, the model, the space or the storage must be corrected first.
        InterruptedRunError: a signal or `should_stop` stopped the search; the same call resumes it.
    """
    refuse_several_processes()
    events, folder = Events(listeners), SearchFolder(recipe.output_dir)
    cores = cores_of(options.workers)
    with folder.locked():
        folder.recover()
        asked, found = find_splits(recipe), data_fingerprint_of(recipe.data)
        if _is_finished(folder, recipe, found, options, events):
            events.note(f"the search in {folder.path} is finished; nothing to do")
            return folder
        request = prepare_search(asked, found, options, events)
        _begin(folder, recipe, found, options)
        with closed_at_the_end(request.server):
            with use_cores(cores[0]), _clock(folder) as clock:
                search = open_search(folder, request, options, tuple(listeners), clock)
                if options.force:
                    search.forget()
                workers = Workers(folder, cores[1:], _for_workers(request, options))
                result = _searched(search, request, workers)
            if result is not None:
                _finish(search, asked, result, tuple(listeners))
    return folder


def _for_workers(request: Request, options: Options) -> JsonObject:
    """What a worker must know of the search; it is never written to disk."""
    return {
        "recipe": request.recipe.model_dump(mode="json", exclude_unset=True),
        "storage": options.storage,
        "fingerprint": request.fingerprint,
    }


def _searched(search: Search, request: Request, workers: Workers) -> Found | None:
    """What the stages found; None if another machine leads the search, which this one has joined."""

    def between_trials() -> None:
        workers.check()
        prune_weights(search)
        search.folder.update(spent_s=round(search.clock(), 3))

    search = replace(search, between_trials=between_trials)
    with workers:
        default = first_trial(search)
        if default is not None:
            return lead(search, default, request.space, Budget.of(request.recipe), workers.start)
        search.events.note("another process leads this search; this one runs trials of it")
        workers.start()
        first = search.begun(DEFAULT)
        join(search, lambda: first is None or first.is_ended)
    search.events.note("the search has ended; its result is in the folder of the process that leads it")
    return None


def _is_finished(
    folder: SearchFolder, requested: Recipe, data_fingerprint: str, options: Options, events: Events
) -> bool:
    """Whether the folder holds this search, and it came to its end; nothing is written.

    Raises:
        RunError: the folder holds another search, or something else.
        RecipeError: the budget is none, or rows in memory are to be searched by several processes.
    """
    folder.refuse_other_content()
    Budget.of(requested)
    if options.workers > 1 and any(map(is_in_memory, all_sources(requested.data))):
        raise RecipeError(
            f"rows in memory are only in this process, and {options.workers} workers are asked for.",
            remedy="Write the rows into a file, or use one worker.",
        )
    if options.force or not folder.has_begun:
        return False
    _refuse_another(folder, folder.search(), requested, data_fingerprint)
    if not folder.is_finished:
        events.note(f"resuming the search in {folder.path}")
    return folder.is_finished


def _begin(folder: SearchFolder, requested: Recipe, data_fingerprint: str, options: Options) -> None:
    """Writes a new search into its folder, in the place of another one; one that resumes stays as it is."""
    known = folder.search()
    is_same = bool(known) and not _differences(known, requested, data_fingerprint)
    if is_same and not options.force:
        return
    folder.clear()
    folder.update(
        **masked_values(request_entries(requested)),
        tune=requested.tune.model_dump(mode="json"),
        fingerprint=data_fingerprint,
        spent_s=0.0,
    )


def _differences(known: JsonObject, requested: Recipe, data_fingerprint: str) -> list[str]:
    """The keys in which a recipe differs from that of a search; `the data` if their content does."""
    has_same_data = known["fingerprint"] == data_fingerprint
    differing = [f"`{key}`" for key in differing_keys(requested, known, has_same_data=has_same_data)]
    asked = requested.tune.model_dump(mode="json")
    differing += [
        f"`tune.{key}`"
        for key, value in asked.items()
        if known["tune"].get(key, TuneRecipe.model_fields[key].default) != value
    ]
    return differing or ([] if has_same_data else ["the content of the data"])


def _refuse_another(
    folder: SearchFolder, known: JsonObject, requested: Recipe, data_fingerprint: str
) -> None:
    if differing := _differences(known, requested, data_fingerprint):
        raise RunError(
            f"the folder `{folder.path}` belongs to another search; it differs in {', '.join(differing)}.",
            remedy="Choose another `--output-dir`, or give `--force` to clear this search.",
        )


@contextmanager
def _clock(folder: SearchFolder) -> Iterator[Callable[[], float]]:
    """Gives the seconds that the search has taken, over all starts; what it took is kept when it ends."""
    before, began = float(folder.search()["spent_s"]), time.monotonic()

    def clock() -> float:
        return before + time.monotonic() - began

    try:
        yield clock
    finally:
        folder.update(spent_s=round(clock(), 3))


def _finish(search: Search, recipe: Recipe, found: Found, listeners: tuple[Listener, ...]) -> None:
    """Trains the chosen recipe, compares it with the default one on the test rows, and reports."""
    folder, winner = search.folder, found.choice.winner
    best = write_best_recipe(search, recipe, winner.values)
    search.events.stage("best", "Training the best recipe")
    after_fit = pipeline.as_fitted
    if search.asked.soup:
        after_fit = soup_of(ingredients_of(search, found), seed=recipe.seed)
    pipeline.train(best, listeners=listeners, should_stop=search.shared.should_stop, after_fit=after_fit)
    if search.asked.soup:
        write_best_recipe(search, recipe, winner.values, folder.best.manifest()["soup"]["reason"])
    compared = None
    if not winner.is_default and "test" in search.shared.data.splits:
        compared = _against_default(search, recipe, listeners)
    result = result_json(search, found, compared)
    write_json(folder.result_file, result)
    write_tuning_report(folder.report_file, result)
    shutil.rmtree(folder.untrained, ignore_errors=True)
    remove_weights(search)
    folder.update(finished=True)


def _against_default(search: Search, recipe: Recipe, listeners: tuple[Listener, ...]) -> JsonObject:
    """The best model and that of the default recipe on the test rows."""
    default = Run(search.folder.path / DEFAULT)
    search.events.stage(DEFAULT, "Training the default recipe, to compare the test scores")
    own = recipe.model_copy(update={"output_dir": str(default.path), "tune": type(recipe.tune)()})
    pipeline.train(own, listeners=listeners, should_stop=search.shared.should_stop)
    return pipeline.compare([search.folder.best.path, default.path])
