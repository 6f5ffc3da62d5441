"""A search as one of its processes knows it, and how it runs trials of a stage."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tunesmith.errors import InterruptedRunError, RecipeError
from tunesmith.events import Events, Note, Progress
from tunesmith.recipe import Recipe, TuneRecipe
from tunesmith.tuning.folder import SearchFolder
from tunesmith.tuning.outcome import Result
from tunesmith.tuning.space import EPOCHS, with_values
from tunesmith.tuning.stages import Claim, Done, Settings, Stage
from tunesmith.tuning.trial import Request, Shared, run_trial

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

    from tunesmith.types import JsonObject

DEFAULT, COARSE, FINE, FINALISTS = "default", "coarse", "fine", "finalists"
VALUES, SEED = "values", "seed"
"""Keys of the space of the finalists."""

_EXPECTED_SHARE = 0.75
_SECONDS_BETWEEN_LOOKS = 0.3


@dataclass(frozen=True)
class Search:
    """A search in progress, as one of its processes knows it.

    Args:
        folder: folder of the search.
        storage: storage of the trials.
        name: name of the search in the storage.
        shared: what all trials have in common.
        asked: `tune` of the recipe.
        events: listeners of the search.
        clock: seconds that the search has taken, over all starts.
        between_trials: called after each trial, and while this process waits for others.
    """

    folder: SearchFolder
    storage: BaseStorage
    name: str
    shared: Shared
    asked: TuneRecipe
    events: Events
    clock: Callable[[], float]
    between_trials: Callable[[], None] = lambda: None

    @property
    def recipe(self) -> Recipe:
        """The recipe that the search began from."""
        return self.shared.recipe

    @property
    def maximize(self) -> bool:
        """Whether greater values of the metric are better."""
        return self.shared.metric[1]

    @cached_property
    def first(self) -> Result:
        """The result of the first trial, that of the default recipe."""
        begun = self.begun(DEFAULT)
        assert begun is not None, "the first trial comes before all others"
        return begun.done()[0].result

    @property
    def used(self) -> JsonObject:
        """The default recipe as the first trial used it, every value filled in."""
        return self.first.used

    @property
    def usual_epochs(self) -> float | None:
        """Epochs of the default recipe, by which the work of trials is limited; None in a user's own space."""
        epochs = default_value(self, EPOCHS)
        is_free = self.asked.space or self.recipe.train.max_steps is not None or epochs == "auto"
        return None if is_free else float(epochs)

    @property
    def expected_s(self) -> float:
        """Seconds that a trial on all rows usually takes at least."""
        return _EXPECTED_SHARE * self.first.seconds

    def stage(self, settings: Settings) -> Stage:
        """A stage of this search."""
        return Stage(self.storage, self.name, settings, seed=self.recipe.seed, maximize=self.maximize)

    def begun(self, name: str) -> Stage | None:
        """A stage that a process has begun; None if there is none."""
        return Stage.begun(self.storage, self.name, name, seed=self.recipe.seed, maximize=self.maximize)

    def in_one_precision(self, recipe: Recipe) -> Recipe:
        """A recipe with the precision of the first trial: `auto` times it, which may differ between processes."""
        return recipe.replace(train={"bf16": self.used["train"]["bf16"]})

    def forget(self) -> None:
        """Removes all stages from the storage: a server keeps them when the folder is cleared."""
        for name in (DEFAULT, COARSE, FINE, FINALISTS):
            if (stage := self.begun(name)) is not None:
                stage.forget()

    def at(self, seconds: float) -> float:
        """The time of day at which the search will have taken so many seconds."""
        return time.time() + seconds - self.clock()


def name_of(recipe: Recipe, data_fingerprint: str) -> str:
    """The name of a search in a storage: the same for every process that gives the same recipe and data."""
    keys = recipe.model_dump(mode="json", exclude={"output_dir"})
    for split in ("train", "validation", "test"):
        keys["data"].pop(split)  # a file may lie in another folder on another machine
    text = json.dumps([keys, data_fingerprint], sort_keys=True)
    return f"tunesmith-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def work_off(search: Search, stage: Stage) -> None:
    """Runs trials of a stage until none is left, and waits for those that other processes run."""
    said = {it.number for it in stage.done()}
    while True:
        with stage.claim(search.folder.trials, search.folder.path / "claims.lock") as claim:
            if claim is not None:
                _run(search, stage, claim)
        said |= _report(search, stage, said)
        search.between_trials()
        if claim is None:
            if not stage.running():
                return
            if search.shared.should_stop():
                raise _stopped()
            time.sleep(_SECONDS_BETWEEN_LOOKS)


def _run(search: Search, stage: Stage, claim: Claim) -> None:
    settings = stage.settings
    try:
        recipe = recipe_of(search, settings.name, claim.values)
    except RecipeError as error:
        result = Result("refused", None, reason=str(error).splitlines()[0])
    else:
        request = Request(
            recipe,
            claim.folder,
            settings.share,
            settings.until,
            lambda percent, value: stage.should_prune(claim, percent, value),
            keeps_weights=search.asked.soup and settings.name != COARSE,
        )
        result = _known(stage, claim) or run_trial(search.shared, request)
    stage.tell(claim, result)


def _known(stage: Stage, claim: Claim) -> Result | None:
    """The result of an earlier trial with the same values: training again would give it again."""
    same = [it for it in stage.done() if it.values == claim.values and it.result.is_complete]
    if not same:
        return None
    return replace(same[0].result, seconds=0.0, reason=f"the same values as trial {same[0].number + 1}")


def recipe_of(search: Search, stage: str, values: Mapping[str, Any]) -> Recipe:
    """The recipe of a trial.

    Args:
        search: search.
        stage: name of the stage.
        values: values that were drawn.

    Raises:
        RecipeError: the values do not go together.
    """
    if stage == DEFAULT:
        return search.recipe
    base, task = search.in_one_precision(search.recipe), search.shared.task
    if stage == COARSE:
        return with_values(base, _shorter(search, values), task)
    if stage != FINALISTS:
        return with_values(base, values, task)
    own = with_values(base, values[VALUES], task)
    return own.model_copy(update={"seed": values[SEED]})


def _shorter(search: Search, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a coarse trial: half the epochs, at least one."""
    epochs = values.get(EPOCHS, default_value(search, EPOCHS))
    if search.recipe.train.max_steps is not None or epochs == "auto":
        return dict(values)
    return {**values, EPOCHS: max(1.0, round(float(epochs) / 2, 2))}


def _report(search: Search, stage: Stage, said: set[int]) -> set[int]:
    """Says what trials came to that have ended, in whichever process, and how far the stage is.

    Returns:
        The numbers of these trials.
    """
    done = stage.done()
    new = [it for it in done if it.number not in said]
    for it in new:
        search.events.emit(Note(_in_words(search, stage, it, done)))
    if new:
        until, most = stage.settings.until, min(stage.settings.most_trials, 9_999)
        left = "" if until == float("inf") else f", {max(0, round(until - time.time()))} s left"
        search.events.emit(Progress(len(done), most, f"trials of the {stage.settings.name} stage{left}"))
    return {it.number for it in new}


def _in_words(search: Search, stage: Stage, trial: Done, done: Sequence[Done]) -> str:
    result, best = trial.result, by_merit(done, maximize=search.maximize)
    metric = search.shared.metric[0]
    said = [f"{stage.settings.name} {trial.number + 1}"]
    said.append(f"{metric} {result.value:.4f}" if result.value is not None else "no score")
    said.append(result.state.replace("_", " ") if not result.is_complete else f"{result.seconds:.0f} s")
    if best and best[0].result.value is not None:
        said.append(f"best {best[0].result.value:.4f}")
    return ", ".join(said)


def by_merit(done: Sequence[Done], *, maximize: bool) -> list[Done]:
    """Trials with a value, the best first; those that were trained to their end before those that were not."""
    sign = -1 if maximize else 1
    with_value = [it for it in done if it.result.value is not None]
    return sorted(
        with_value,
        key=lambda it: (not it.result.is_complete, sign * float(it.result.value or 0.0), it.number),
    )


def default_value(search: Search, key: str) -> Any:
    """The value of the default recipe, as it was used."""
    section, _, name = key.rpartition(".")
    return search.used[section][name] if section else search.used[name]


def _stopped() -> InterruptedRunError:
    return InterruptedRunError(
        "the search was stopped; everything is saved.", remedy="The same command resumes from there."
    )
