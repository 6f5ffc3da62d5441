"""`tune`: from a recipe to the best recipe, coarse first, then fine.

    default recipe → coarse stage → fine stage → finalists with other seeds → choice → final training

1. The default recipe is trained on all rows: the first trial, and what all others are compared with.
2. The coarse stage tries many trials in the whole space, on a part of the rows; the worse half ends early.
3. The fine stage trains the best of them on all rows, and others in the space around them.
4. The best of these and the default recipe are trained again with other seeds, and one is chosen.
5. The chosen recipe is trained as `tunesmith train` would. Only then are the test rows scored, once.

A process that joins a search (`joining.py`), on this machine or another, runs trials of the stages that the first
process begins.
"""

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
from tunesmith.tuning.budget import Budget, Division, divide
from tunesmith.tuning.choice import Choice, Finalist, choose
from tunesmith.tuning.folder import SearchFolder
from tunesmith.tuning.outcome import Result, read_result
from tunesmith.tuning.space import Space, combinations, default_space, narrowed, with_values
from tunesmith.tuning.stages import Claim, Done, Settings, Stage
from tunesmith.tuning.trial import Request, Shared, read_statistics, run_trial

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

    from tunesmith.types import JsonObject

DEFAULT, COARSE, FINE, FINALISTS = "default", "coarse", "fine", "finalists"
_VALUES, _SEED = "values", "seed"
_LEAST_SHARE, _MOST_SHARE, _ROWS_OF_A_PART = 0.25, 0.5, 1_000
_EPOCHS, _DOUBLING = "train.num_train_epochs", ("train.r_drop_alpha", "train.augment")
_CARRIED_TO_FINE = 3
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
    def used(self) -> JsonObject:
        """The default recipe as the first trial used it, every value filled in."""
        first = self.begun(DEFAULT)
        assert first is not None, "the first trial comes before all others"
        return first.done()[0].result.used

    def stage(self, settings: Settings) -> Stage:
        """A stage of this search."""
        return Stage(self.storage, self.name, settings, seed=self.recipe.seed, maximize=self.maximize)

    def begun(self, name: str) -> Stage | None:
        """A stage that a process has begun; None if there is none."""
        return Stage.begun(self.storage, self.name, name, seed=self.recipe.seed, maximize=self.maximize)

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
    while True:
        with stage.claim(search.folder.trials, search.folder.path / "claims.lock") as claim:
            if claim is not None:
                _run(search, stage, claim)
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
        )
        result = _known(stage, claim) or run_trial(search.shared, request)
    stage.tell(claim, result)
    _report(search, stage, claim, result)


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
    if stage == COARSE:
        return with_values(search.recipe, _shorter(search, values), search.shared.task)
    if stage != FINALISTS:
        return with_values(search.recipe, values, search.shared.task)
    own = with_values(search.recipe, values[_VALUES], search.shared.task)
    return own.model_copy(update={"seed": values[_SEED]})


def _shorter(search: Search, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a coarse trial: half the passes, and at most twice the work of the default recipe.

    R-Drop and noisy copies double the work of a pass.
    """
    usual = default_value(search, _EPOCHS)
    if search.recipe.train.max_steps is not None or usual == "auto":
        return dict(values)
    doubled = sum(bool(values.get(key, default_value(search, key))) for key in _DOUBLING)
    epochs = min(float(values.get(_EPOCHS, usual)) / 2, float(usual) / 2**doubled)
    return {**values, _EPOCHS: max(1.0, round(epochs, 2))}


def _report(search: Search, stage: Stage, claim: Claim, result: Result) -> None:
    """Says what a trial came to, how far the stage is, and what is the best so far."""
    done, metric = stage.done(), search.shared.metric[0]
    best = by_merit(done, maximize=search.maximize)
    said = [f"{stage.settings.name} {claim.number + 1}"]
    said.append(f"{metric} {result.value:.4f}" if result.value is not None else "no score")
    said.append(result.state.replace("_", " ") if not result.is_complete else f"{result.seconds:.0f} s")
    if best and best[0].result.value is not None:
        said.append(f"best {best[0].result.value:.4f}")
    search.events.emit(Note(", ".join(said)))
    until = stage.settings.until
    left = "" if until == float("inf") else f", {max(0, round(until - time.time()))} s left"
    total = min(stage.settings.most_trials, 9_999)
    search.events.emit(Progress(len(done), total, f"trials of the {stage.settings.name} stage{left}"))


def by_merit(done: Sequence[Done], *, maximize: bool) -> list[Done]:
    """Trials with a value, the best first; those that were trained to their end before those that were not."""
    sign = -1 if maximize else 1
    with_value = [it for it in done if it.result.value is not None]
    return sorted(
        with_value,
        key=lambda it: (not it.result.is_complete, sign * float(it.result.value or 0.0), it.number),
    )


def lead(
    search: Search, default: Done, space: Space, budget: Budget, start_workers: Callable[[], None]
) -> Found:
    """Runs every stage of a search after the first trial, and chooses.

    Args:
        search: search.
        default: first trial.
        space: space that the user gave; empty for the default space.
        budget: limits of the search.
        start_workers: starts the processes that run trials beside this one; called after the first trial.
    """
    used = Recipe.model_validate(search.used)
    space = space or default_space(search.shared.task, used, n_layers=default.result.layers)
    _refuse_nothing_to_search(space)
    division = _division(search, budget, default.result)
    start_workers()
    coarse = _coarse(search, space, division)
    fine = _fine(search, space, division, coarse)
    finalists = _finalists(search, division, default, fine)
    if (first := search.begun(DEFAULT)) is not None:
        first.end()
    choice = choose(finalists, maximize=search.maximize, seed=search.recipe.seed)
    return Found(space, default, tuple(coarse), tuple(fine), tuple(finalists), choice)


@dataclass(frozen=True)
class Found:
    """What the stages of a search found.

    Args:
        space: space that was searched.
        default: first trial.
        coarse: trials of the coarse stage.
        fine: trials of the fine stage.
        finalists: recipes that were trained with several seeds.
        choice: finalist that was chosen.
    """

    space: Space
    default: Done
    coarse: tuple[Done, ...]
    fine: tuple[Done, ...]
    finalists: tuple[Finalist, ...]
    choice: Choice


def first_trial(search: Search) -> Done | None:
    """The trial of the default recipe on all rows; None if another process ran it, which leads the search.

    Raises:
        RecipeError: the default recipe itself cannot be trained.
    """
    search.events.stage(DEFAULT, "Training the default recipe on all rows")
    stage = search.stage(Settings(DEFAULT, (), 1, float("inf"), prunes=False, keeps_used=True))
    stage.begin()
    work_off(search, stage)
    [first] = stage.done()
    if not first.result.is_complete:
        raise RecipeError(
            f"the recipe that the search begins from cannot be trained: {first.result.reason}",
            remedy="Correct it; `tunesmith train` with the same recipe says more.",
        )
    return first if read_result(search.folder.trial(DEFAULT, 0)) is not None else None


def _refuse_nothing_to_search(space: Space) -> None:
    if not space:
        raise RecipeError(
            "the default space is empty: with this method, nothing that is learned depends on the recipe.",
            remedy="Use `train.method=full` or `lora`, or name keys in `tune.space`.",
        )


def _division(search: Search, budget: Budget, default: Result) -> Division:
    """How the budget is divided; decided once, and kept for a search that resumes."""
    known = search.folder.search().get("division")
    if known is not None:
        return Division.from_json(known)
    has_test = "test" in search.shared.data.splits
    at_the_end = 2 if has_test else 1  # trainings: of the best recipe, and of the default one, to compare
    found = divide(budget, search.clock() + (at_the_end - 1) * default.seconds, default.seconds)
    if budget.seconds is not None and found.finalists_until <= search.clock():
        raise RecipeError(
            f"the time is over before the search can begin: a training takes {default.seconds:.0f} s, and "
            f"`tune.time` allows {budget.seconds:.0f} s for it, for the search and for the final training.",
            remedy="Give more time, or limit the number of trials instead.",
        )
    search.folder.update(division=found.to_json())
    return found


def _coarse(search: Search, space: Space, division: Division) -> list[Done]:
    if not division.coarse_trials:
        search.events.note("no coarse stage: the budget allows too few trainings")
        return []
    share = share_of_rows(len(search.shared.data.splits["train"]))
    search.events.stage(COARSE, f"Coarse: many trials on {share:.0%} of the training rows")
    settings = Settings(COARSE, space, division.coarse_trials, search.at(division.coarse_until), share)
    return _worked_off(search, settings, [{it.key: default_value(search, it.key) for it in space}])


def default_value(search: Search, key: str) -> Any:
    """The value of the default recipe, as it was used."""
    section, _, name = key.rpartition(".")
    return search.used[section][name] if section else search.used[name]


def share_of_rows(n_rows: int) -> float:
    """The share of the training rows for the coarse stage: a thousand rows, within a quarter and a half."""
    return min(max(_ROWS_OF_A_PART / n_rows, _LEAST_SHARE), _MOST_SHARE)


def _fine(search: Search, space: Space, division: Division, coarse: Sequence[Done]) -> list[Done]:
    ranked = [it.values for it in by_merit(coarse, maximize=search.maximize)]
    around = narrowed(space, ranked)
    search.events.stage(FINE, "Fine: around the best, on all training rows")
    settings = Settings(FINE, around, division.fine_trials, search.at(division.fine_until))
    best = [it.values for it in by_merit(coarse, maximize=search.maximize) if it.number > 0]
    return _worked_off(search, settings, best[:_CARRIED_TO_FINE])


def _worked_off(search: Search, settings: Settings, first: Sequence[Mapping[str, Any]]) -> list[Done]:
    """The trials of a stage, which this process begins and works off with the others.

    Of a small space, every combination is tried once.
    """
    every = combinations(settings.space, settings.most_trials)
    if every:
        settings = replace(settings, most_trials=len(every))
    stage = search.stage(settings)
    stage.begin([*[it for it in first if not every or it in every], *[it for it in every if it not in first]])
    work_off(search, stage)
    return stage.done()


def _finalists(search: Search, division: Division, default: Done, fine: Sequence[Done]) -> list[Finalist]:
    """The best recipes and the default one, each with the scores of its seeds."""
    best = [it for it in by_merit(fine, maximize=search.maximize) if it.result.is_complete]
    candidates = [(DEFAULT, default), *((FINE, it) for it in best[: search.asked.finalists])]
    others = list(range(search.recipe.seed + 1, search.recipe.seed + search.asked.seeds))
    again = _other_seeds(search, division, [it.values for _, it in candidates], others)
    return [_finalist(search, stage, it, again) for stage, it in candidates]


def _other_seeds(
    search: Search, division: Division, values: Sequence[Mapping[str, Any]], seeds: Sequence[int]
) -> list[Done]:
    """Trials of each recipe with other seeds; every recipe has one seed before any has the next."""
    from tunesmith.tuning.space import Dimension

    if len(values) < 2 or not seeds:
        return []
    search.events.stage(FINALISTS, f"Finalists: {len(values)} recipes with {len(seeds) + 1} seeds each")
    space = (
        Dimension(_VALUES, choices=tuple(dict(it) for it in values)),
        Dimension(_SEED, choices=tuple(seeds)),
    )
    first = [{_VALUES: dict(it), _SEED: seed} for seed in seeds for it in values]
    settings = Settings(FINALISTS, space, len(first), search.at(division.finalists_until), prunes=False)
    return _worked_off(search, settings, first)


def _finalist(search: Search, stage: str, first: Done, again: Sequence[Done]) -> Finalist:
    trials = {search.recipe.seed: (search.folder.trial(stage, first.number), first.result)}
    for it in again:
        if it.values[_VALUES] == first.values and it.result.is_complete:
            trials[it.values[_SEED]] = (search.folder.trial(FINALISTS, it.number), it.result)
    rows = {
        seed: read_statistics(folder, search.shared.task, search.shared.data.label_schema)
        for seed, (folder, _) in trials.items()
    }
    seconds = [result.train_seconds for _, result in trials.values()]
    return Finalist(
        DEFAULT if stage == DEFAULT else f"{stage} {first.number + 1}",
        first.values,
        {seed: float(result.value or 0.0) for seed, (_, result) in trials.items()},
        {seed: it for seed, it in rows.items() if it is not None},
        sum(seconds) / len(seconds),
        is_default=stage == DEFAULT,
    )


def _stopped() -> InterruptedRunError:
    return InterruptedRunError(
        "the search was stopped; everything is saved.", remedy="The same command resumes from there."
    )
