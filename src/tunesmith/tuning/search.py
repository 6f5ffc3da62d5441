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

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tunesmith.errors import RecipeError
from tunesmith.recipe import Recipe
from tunesmith.tuning.budget import Budget, Division, divide
from tunesmith.tuning.choice import Choice, Finalist, choose
from tunesmith.tuning.outcome import Result, read_result
from tunesmith.tuning.running import (
    COARSE,
    DEFAULT,
    FINALISTS,
    FINE,
    SEED,
    VALUES,
    Search,
    by_merit,
    default_value,
    work_off,
)
from tunesmith.tuning.space import Dimension, Space, combinations, default_space, narrowed
from tunesmith.tuning.stages import Done, Settings
from tunesmith.tuning.trial import read_statistics

_LEAST_SHARE, _MOST_SHARE, _ROWS_OF_A_PART = 0.25, 0.5, 1_000
_CARRIED_TO_FINE = 3


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
    finals = 2 if has_test else 1  # that of the best recipe, and that of the default one, to compare
    found = divide(budget, search.clock(), default.seconds, finals)
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
    until = search.at(division.coarse_until)
    settings = Settings(COARSE, space, division.coarse_trials, until, share, usual_epochs=search.usual_epochs)
    return _worked_off(search, settings, [{it.key: default_value(search, it.key) for it in space}])


def share_of_rows(n_rows: int) -> float:
    """The share of the training rows for the coarse stage: a thousand rows, within a quarter and a half."""
    return min(max(_ROWS_OF_A_PART / n_rows, _LEAST_SHARE), _MOST_SHARE)


def _fine(search: Search, space: Space, division: Division, coarse: Sequence[Done]) -> list[Done]:
    ranked = [it.values for it in by_merit(coarse, maximize=search.maximize)]
    around = narrowed(space, ranked)
    search.events.stage(FINE, "Fine: around the best, on all training rows")
    until = search.at(division.fine_until)
    settings = Settings(
        FINE,
        around,
        division.fine_trials,
        until,
        expected_s=search.expected_s,
        usual_epochs=search.usual_epochs,
    )
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
    if len(values) < 2 or not seeds:
        return []
    search.events.stage(FINALISTS, f"Finalists: {len(values)} recipes with {len(seeds) + 1} seeds each")
    space = (
        Dimension(VALUES, choices=tuple(dict(it) for it in values)),
        Dimension(SEED, choices=tuple(seeds)),
    )
    first = [{VALUES: dict(it), SEED: seed} for seed in seeds for it in values]
    until = search.at(division.finalists_until)
    settings = Settings(FINALISTS, space, len(first), until, prunes=False, expected_s=search.expected_s)
    return _worked_off(search, settings, first)


def _finalist(search: Search, stage: str, first: Done, again: Sequence[Done]) -> Finalist:
    trials = {search.recipe.seed: (search.folder.trial(stage, first.number), first.result)}
    for it in again:
        if it.values[VALUES] == first.values and it.result.is_complete:
            trials[it.values[SEED]] = (search.folder.trial(FINALISTS, it.number), it.result)
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
        folders={seed: folder for seed, (folder, _) in trials.items()},
    )
