"""A model soup: the mean of the weights of the finalists, which is one model and costs what one costs.

The greedy soup of Wortsman et al. (2022, arXiv 2203.05482). It begins with the chosen model. The other trainings
of finalists come in turn, the best on the validation rows first, and each stays in the mean if that is not worse
on these rows. The soup takes the place of the chosen model only if it is better beyond noise: by the rule of the
choice (`choice`), on the same rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.errors import RecipeError
from tunesmith.evaluation.baselines import RowStatistics
from tunesmith.pipeline.fit import AVERAGED_MODELS, FittedModel
from tunesmith.pipeline.training_plan import TrainingPlan
from tunesmith.pipeline.work import Work
from tunesmith.recipe import Recipe
from tunesmith.tasks import best_metric
from tunesmith.tuning.choice import Finalist, is_better
from tunesmith.tuning.running import FINE, Search, by_merit
from tunesmith.tuning.search import Found
from tunesmith.tuning.trial import WEIGHTS, validation_rows

if TYPE_CHECKING:
    import torch

    from tunesmith.types import JsonObject, Model

    Weights = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Ingredient:
    """A training of a finalist.

    Args:
        name: name of the finalist, and the seed.
        model: name of the model that it began from.
        folder: folder of its trial.
        value: its metric on the validation rows.
    """

    name: str
    model: str
    folder: Path
    value: float


@dataclass
class _Mean:
    """The mean of the members' weights, and what it scores."""

    weights: dict[str, torch.Tensor]
    scores: Mapping[str, float]
    rows: RowStatistics
    members: list[str]
    left_out: dict[str, str] = field(default_factory=dict)


def soup_of(ingredients: Sequence[Ingredient], *, seed: int) -> Callable[..., FittedModel]:
    """What is done with the chosen model when its training has ended.

    Args:
        ingredients: trainings of finalists, without that of the chosen model.
        seed: random seed for resampling.
    """

    def after_fit(work: Work, plan: TrainingPlan, fitted: FittedModel) -> FittedModel:
        decision = _cooked(work, plan, fitted, ingredients, seed)
        work.run.update_manifest(soup=decision)
        work.events.note(decision["reason"])
        if decision["kept"]:
            work.run.write_recipe(
                plan.recipe, f"{decision['reason']}; recipe.yaml alone does not make it again."
            )
        return fitted

    return after_fit


def _cooked(
    work: Work, plan: TrainingPlan, fitted: FittedModel, ingredients: Sequence[Ingredient], seed: int
) -> JsonObject:
    """Averages, compares, and leaves the better model in the plan; returns the decision."""
    if plan.opened.adapter is not None:
        return _decision(
            "no soup: the mean of two adapters is not an adapter of the mean", [], {}, kept=False
        )
    name, maximize = best_metric(work.task, plan.data.label_schema)
    sign = 1 if maximize else -1
    alone = {key: it.detach().clone() for key, it in plan.model.named_parameters()}
    scores, rows = validation_rows(work, plan)
    mean = _Mean(dict(alone), scores, rows, ["the chosen model"])
    for it in sorted(ingredients, key=lambda it: (-sign * it.value, it.name)):
        _try(work, plan, mean, it, lambda now, then: sign * (now[name] - then[name]) >= 0)
    single = _finalist("alone", scores[name], rows)
    soup = _finalist("soup", mean.scores[name], mean.rows)
    gain, error, is_kept = is_better(soup, single, maximize=maximize, seed=seed)
    is_kept = is_kept and len(mean.members) > 1
    _put(plan.model, mean.weights if is_kept else alone)
    if is_kept:
        _remember(fitted, mean, name)
    said = (
        f"a soup of {len(mean.members)} models: {name} {mean.scores[name]:.4f} instead of {scores[name]:.4f}"
    )
    if len(mean.members) == 1:
        reason = "no soup: the weights of no other finalist made the mean as good as the chosen model"
    elif is_kept:
        reason = f"{said}, better beyond noise (standard error {error:.4f}): kept"
    else:
        reason = f"{said}, within noise (standard error {error:.4f}): the chosen model stays"
    numbers = {"alone": scores[name], "soup": mean.scores[name], "gain": gain, "standard_error": error}
    return _decision(reason, mean.members, mean.left_out, kept=is_kept, **numbers)


def _try(
    work: Work,
    plan: TrainingPlan,
    mean: _Mean,
    it: Ingredient,
    is_as_good: Callable[[Mapping[str, float], Mapping[str, float]], bool],
) -> None:
    """Takes an ingredient into the mean, if it fits and the mean stays as good."""
    from safetensors.torch import load_file

    path = it.folder / WEIGHTS
    if it.model != plan.recipe.model or not path.is_file():
        mean.left_out[it.name] = (
            "it began from another model" if path.is_file() else "its weights are not there"
        )
        return
    weights = load_file(path)
    if problem := _misfit(plan.model, weights):
        mean.left_out[it.name] = problem
        return
    share = 1 / (len(mean.members) + 1)
    mixed = {key: value.lerp(weights[key].to(value.device), share) for key, value in mean.weights.items()}
    _put(plan.model, mixed)
    scores, rows = validation_rows(work, plan)
    if not is_as_good(scores, mean.scores):
        mean.left_out[it.name] = "the mean was better without it"
        return
    mean.weights, mean.scores, mean.rows = mixed, scores, rows
    mean.members.append(it.name)


def _misfit(model: Model, weights: Weights) -> str:
    """Why weights cannot be averaged with those of the model; empty if they can."""
    import torch

    own = dict(model.named_parameters())
    if {key: it.shape for key, it in own.items()} != {key: it.shape for key, it in weights.items()}:
        return "its weights have other names or shapes"
    frozen = {key: it for key, it in own.items() if not it.requires_grad}
    if not all(torch.equal(it.detach().cpu(), weights[key]) for key, it in frozen.items()):
        return "it has learned weights that the chosen recipe has frozen"
    return ""


def _put(model: Model, weights: Weights) -> None:
    import torch

    with torch.no_grad():
        for key, parameter in model.named_parameters():
            parameter.copy_(weights[key])


def _finalist(name: str, value: float, rows: RowStatistics) -> Finalist:
    return Finalist(name, {}, {0: value}, {0: rows}, 0.0)


def _remember(fitted: FittedModel, mean: _Mean, name: str) -> None:
    """The soup is one more step of the run's history, and its best one."""
    state = fitted.state
    step = max([state.step, *(int(it["step"]) for it in state.history)]) + 1
    state.best_step, state.best_value = step, mean.scores[name]
    state.history.append({"step": step, **mean.scores, AVERAGED_MODELS: len(mean.members)})


def _decision(
    reason: str, members: Iterable[str], left_out: Mapping[str, str], *, kept: bool, **numbers: Any
) -> JsonObject:
    return {"kept": kept, "reason": reason, "members": list(members), "left_out": dict(left_out), **numbers}


def ingredients_of(search: Search, found: Found) -> list[Ingredient]:
    """The trainings of the finalists with every seed, but not that which gives the chosen model."""
    winner = found.choice.winner
    return [
        Ingredient(
            f"{it.name}, seed {seed}",
            str(it.values.get("model", search.recipe.model)),
            it.folders[seed],
            value,
        )
        for it in found.finalists
        for seed, value in it.by_seed.items()
        if (it.name, seed) != (winner.name, search.recipe.seed)
    ]


def refuse_soup(recipe: Recipe, *, has_server: bool) -> None:
    """Raises RecipeError where no weights could be averaged: of adapters, or of trials on other machines."""
    if not recipe.tune.soup:
        return
    if recipe.train.method == "lora" and "train.method" not in recipe.tune.space:
        raise RecipeError(
            "tune.soup averages weights, and the mean of two adapters is not an adapter of the mean.",
            remedy="Leave `tune.soup` out, or use `train.method=full`.",
        )
    if has_server:
        raise RecipeError(
            "tune.soup averages the weights of trials, and those of other machines are not here.",
            remedy="Leave `tune.soup` or `--storage` out.",
        )


def prune_weights(search: Search) -> None:
    """Removes the weights of fine trials that can be no finalists any more."""
    stage = search.begun(FINE) if search.asked.soup else None
    if stage is None:
        return
    for it in by_merit(stage.done(), maximize=search.maximize)[search.asked.finalists :]:
        (search.folder.trial(FINE, it.number) / WEIGHTS).unlink(missing_ok=True)


def remove_weights(search: Search) -> None:
    """Removes the weights of all trials, when the search has ended."""
    for path in search.folder.trials.glob(f"*/{WEIGHTS}"):
        path.unlink()
