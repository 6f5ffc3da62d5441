"""The search space: which keys of a recipe a search changes, and between which values.

The default space lies around the values that the default recipe has for these data, this model and this machine.
A recipe's own `tune.space` takes its place as a whole. Every corner of a space must be a valid recipe, so that a
search does not end in the middle with an error that could have been seen before.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tunesmith.effects import METHODS_OF, not_for_method, not_for_task, without_effect
from tunesmith.errors import RecipeError, UserError, did_you_mean
from tunesmith.recipe import METHODS, SYNONYMS, RangeRecipe, Recipe, RecipeDraft, recipe_keys, yaml_value
from tunesmith.tasks import Task

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

    from tunesmith.types import JsonObject

_OF_DATA = ("data.max_length", "data.too_long", "data.overlap_tokens", "data.packing", "data.instruction")
"""Keys of `data` that leave the rows as they are, so that all trials are scored on the same ones."""
_OF_TRAIN = tuple(f"train.{key}" for key in METHODS_OF if key not in ("report_to", "logging_steps"))
SEARCHABLE = ("model", *_OF_DATA, *_OF_TRAIN)
"""Keys that a search may change."""

_KEPT_SHARE = 1 / 3
_FEWEST_KEPT = 3
_MARGIN = 0.15
EPOCHS = "train.num_train_epochs"
_DOUBLING = ("train.r_drop_alpha", "train.augment")
_WORD_DROPOUT = {"word_dropout": 0.1}


@dataclass(frozen=True)
class Dimension:
    """One key of the space.

    Args:
        key: dotted key of the recipe.
        low: smallest value of a range.
        high: largest value of a range.
        log: whether values are drawn evenly on a logarithmic scale.
        choices: values to choose from, instead of a range.
    """

    key: str
    low: float = 0
    high: float = 0
    log: bool = False
    choices: tuple[Any, ...] = ()

    @property
    def is_integer(self) -> bool:
        """Whether the key takes whole numbers only."""
        return not self.choices and isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def is_open(self) -> bool:
        """Whether there is something to choose."""
        return len(self.choices) > 1 if self.choices else self.low < self.high

    def distribution(self) -> BaseDistribution:
        """The distribution that Optuna draws from; a choice is drawn as its JSON text."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.choices:
            return CategoricalDistribution([json.dumps(choice, sort_keys=True) for choice in self.choices])
        if self.is_integer:
            return IntDistribution(int(self.low), int(self.high), log=self.log)
        return FloatDistribution(float(self.low), float(self.high), log=self.log)

    def value(self, drawn: Any) -> Any:
        """The recipe's value of what Optuna has drawn; fractions have three significant digits."""
        if self.choices:
            return json.loads(drawn)
        return drawn if self.is_integer else min(max(float(f"{drawn:.3g}"), self.low), self.high)

    def drawn(self, value: Any) -> Any:
        """What Optuna draws for a value, moved into the range; None for a choice that is not offered."""
        if self.choices:
            return json.dumps(value, sort_keys=True) if value in self.choices else None
        inside = min(max(value, self.low), self.high)
        return round(inside) if self.is_integer else float(inside)

    def values(self) -> Sequence[Any] | None:
        """All values; None for a range of fractions."""
        if self.choices:
            return self.choices
        return range(int(self.low), int(self.high) + 1) if self.is_integer else None

    def to_json(self) -> JsonObject:
        """As a recipe's `tune.space` would have it."""
        if self.choices:
            return {"choices": list(self.choices)}
        return {"low": self.low, "high": self.high, "log": self.log}

    @classmethod
    def from_json(cls, key: str, found: Mapping[str, Any]) -> Dimension:
        """The dimension that `to_json` wrote."""
        choices = tuple(found.get("choices", ()))
        return cls(key, choices=choices) if choices else cls(key, found["low"], found["high"], found["log"])


Space = tuple[Dimension, ...]


def default_space(task: Task, used: Recipe, *, n_layers: int) -> Space:
    """The space around a recipe whose every value is filled in.

    Args:
        task: task that is learned.
        used: recipe of the first trial, without `auto`.
        n_layers: number of layers of the model.
    """
    train = used.train
    found = [
        *_around_rate_and_length(used),
        Dimension("train.warmup_steps", 0.0, 0.3),
        Dimension("train.weight_decay", 0.001, 0.3, log=True),
        Dimension("train.layer_lr_decay", 0.7, 1.0),
        Dimension("train.lr_scheduler_type", choices=("linear", "cosine")),
        Dimension("train.label_smoothing_factor", 0.0, 0.2),
        Dimension("train.r_drop_alpha", choices=(0.0, 1.0)),
        Dimension("train.augment", choices=({}, _WORD_DROPOUT)),
        Dimension("train.average_last", choices=(0.0, 0.25)),
    ]
    if train.dropout != "auto":  # where the model has one dropout probability
        found.append(Dimension("train.dropout", 0.0, max(0.3, train.dropout)))
    if train.method == "full":
        found.append(Dimension("train.freeze_layers", 0, n_layers // 2))
    if train.method == "lora":
        found += [Dimension("train.lora_r", 4, 64, log=True), Dimension("train.lora_dropout", 0.0, 0.2)]
    if train.pooling == "mean":
        found.append(Dimension("train.pooling", choices=("mean", "first")))
    idle = {*not_for_task(task), *not_for_method(train.method)}
    return tuple(it for it in found if it.key not in idle and it.is_open)


def _around_rate_and_length(used: Recipe) -> list[Dimension]:
    """The learning rate, the passes over the data and the batch, which matter most."""
    train = used.train
    rate = float(train.learning_rate) if train.learning_rate != "auto" else 0.0
    found = [Dimension("train.learning_rate", rate / 8, min(rate * 4, 1.0), log=True)] if rate else []
    if train.max_steps is None and train.num_train_epochs != "auto":
        epochs = max(1, round(float(train.num_train_epochs)))
        found.append(Dimension("train.num_train_epochs", max(1, epochs // 2), 2 * epochs))
    rows, tokens = train.per_device_train_batch_size, train.tokens_per_batch
    if rows is not None:
        found.append(Dimension("train.per_device_train_batch_size", max(1, rows // 4), 2 * rows, log=True))
    elif tokens != "auto":
        found.append(Dimension("train.tokens_per_batch", max(1, int(tokens) // 4), 2 * int(tokens), log=True))
    return found


def read_space(recipe: Recipe, task: Task, notices: list[str]) -> Space:
    """The recipe's own space; empty if it names none.

    Args:
        recipe: recipe with `tune.space`.
        task: task that is learned.
        notices: list to which keys that were given under another name are appended.

    Raises:
        RecipeError: a key is unknown or cannot be searched, or a value is wrong.
    """
    found = []
    for name, given in recipe.tune.space.items():
        key = _known_key(name, notices)
        found.append(_dimension(key, given, recipe))
    _refuse_twice(found)
    if found:
        _refuse_idle(found, recipe, task)
        _refuse_empty(found)
        _refuse_invalid(found, recipe)
    return tuple(found)


def _known_key(name: str, notices: list[str]) -> str:
    key = SYNONYMS.get(name, name if name in SEARCHABLE else f"train.{name}")
    if key in SEARCHABLE:
        if key != name:
            notices.append(f"tune.space: `{name}` is called `{key}` here")
        return key
    if name in recipe_keys():
        raise RecipeError(
            f"tune.space: `{name}` cannot be searched: trials with other values of it could not be compared, or "
            "would not differ.",
            remedy="Search `model`, a key of `train`, or how texts are encoded (`data.max_length`).",
        )
    raise RecipeError(
        f"tune.space: `{name}` is not a key of the recipe.",
        remedy=did_you_mean(name, SEARCHABLE) or "`docs/recipe.md` lists every key and its values.",
    )


def _dimension(key: str, given: RangeRecipe | Sequence[Any], recipe: Recipe) -> Dimension:
    if not isinstance(given, RangeRecipe):
        choices = tuple(value for at, value in enumerate(given) if value not in given[:at])
        return Dimension(key, choices=choices)
    if not given.low < given.high:
        raise RecipeError(
            f"tune.space: `low` of `{key}` must be below `high`, got {given.low} and {given.high}.",
            remedy="Swap them, or give a list of values.",
        )
    if given.log and given.low <= 0:
        raise RecipeError(
            f"tune.space: a logarithmic range must begin above zero, and that of `{key}` begins at {given.low}.",
            remedy="Give a `low` above zero, or leave `log` out.",
        )
    takes_fractions = _is_valid(recipe, {key: float(given.low) + 0.5 * float(given.high - given.low) + 1e-7})
    if takes_fractions:
        return Dimension(key, float(given.low), float(given.high), given.log)
    return Dimension(key, given.low, given.high, given.log)


def _refuse_twice(found: Sequence[Dimension]) -> None:
    keys = [it.key for it in found]
    if twice := [key for at, key in enumerate(keys) if key in keys[:at]]:
        raise RecipeError(
            f"tune.space: `{twice[0]}` is given twice, under two names.", remedy="Keep one of them."
        )


def _refuse_idle(found: Sequence[Dimension], recipe: Recipe, task: Task) -> None:
    """Raises RecipeError for a key that changes nothing, whatever the methods of the space."""
    methods = next((it.choices for it in found if it.key == "train.method"), (recipe.train.method,))
    for it in found:
        reasons = [without_effect(task, _of_method(recipe, method)).get(it.key) for method in methods]
        if all(reasons):
            raise RecipeError(
                f"tune.space: `{it.key}` has no effect on {reasons[0]}.", remedy="Leave it out of the space."
            )


def _of_method(recipe: Recipe, method: object) -> Recipe:
    return recipe.replace(train={"method": method}) if method in METHODS else recipe


def _refuse_empty(found: Sequence[Dimension]) -> None:
    if not any(it.is_open for it in found):
        raise RecipeError(
            "tune.space holds one value for each of its keys, so that there is nothing to search.",
            remedy="Give a range, or several values; or leave `tune.space` out for the default space.",
        )


def _refuse_invalid(found: Sequence[Dimension], recipe: Recipe) -> None:
    """Raises RecipeError if a value of the space, or its values together, are no valid recipe."""
    for it in found:
        for value in it.choices or (it.low, it.high):
            _validated(recipe, {it.key: value})
    first = {it.key: it.choices[0] if it.choices else it.low for it in found}
    _validated(recipe, first)


def _is_valid(recipe: Recipe, values: Mapping[str, Any]) -> bool:
    try:
        _validated(recipe, values)
    except UserError:
        return False
    return True


def _validated(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """The recipe with other values.

    Raises:
        RecipeError: a value is wrong.
    """
    draft = RecipeDraft(tree=recipe.model_dump(mode="json", exclude_unset=True))
    for key, value in values.items():
        draft.set(key, value, f"tune.space, {key}={yaml_value(value)}")
    return draft.validate()


def within_work(values: Mapping[str, Any], usual_epochs: float) -> dict[str, Any]:
    """Values with so few epochs that a trial does at most twice the work of the default recipe.

    R-Drop and noisy copies double the work of an epoch.

    Args:
        values: value of each key of the space.
        usual_epochs: epochs of the default recipe.
    """
    doubled = sum(bool(values.get(key)) for key in _DOUBLING)
    most = max(1.0, 2 * usual_epochs / 2**doubled)
    if EPOCHS not in values or values[EPOCHS] <= most:
        return dict(values)
    return {**values, EPOCHS: round(most, 2)}


def with_values(recipe: Recipe, values: Mapping[str, Any], task: Task) -> Recipe:
    """A recipe with the values of a trial; those that have no effect beside the others are left out.

    Args:
        recipe: recipe that the search began from.
        values: value of each key of the space.
        task: task that is learned.

    Raises:
        RecipeError: the values do not go together.
    """
    method = values.get("train.method", recipe.train.method)
    idle = {*not_for_method(method), *not_for_task(task)}
    kept = {key: value for key, value in values.items() if key not in idle}
    if "train.per_device_train_batch_size" in kept:
        kept.setdefault("train.tokens_per_batch", "auto")
    return _validated(recipe, kept)


def narrowed(space: Space, ranked: Sequence[Mapping[str, Any]]) -> Space:
    """The space around the best trials: a third of them, at least three.

    Args:
        space: space of these trials.
        ranked: values of each trial by key, the best first.
    """
    best = ranked[: max(_FEWEST_KEPT, round(_KEPT_SHARE * len(ranked)))]
    if not best:
        return space
    return tuple(_narrowed(it, [values[it.key] for values in best if it.key in values]) for it in space)


def _narrowed(dimension: Dimension, values: Sequence[Any]) -> Dimension:
    if not values:
        return dimension
    if dimension.choices:
        kept = tuple(choice for choice in dimension.choices if choice in values)
        return replace(dimension, choices=kept or dimension.choices)
    low, high = _widened(dimension, min(values), max(values))
    if dimension.is_integer:
        low, high = int(low), max(int(low), round(high))
    return replace(dimension, low=max(low, dimension.low), high=min(high, dimension.high))


def _widened(dimension: Dimension, low: float, high: float) -> tuple[float, float]:
    """A range with a margin at both ends: a share of the whole range, on its scale."""
    if dimension.log:
        factor = (dimension.high / dimension.low) ** _MARGIN
        return low / factor, high * factor
    margin = _MARGIN * (dimension.high - dimension.low)
    return low - margin, high + margin


def combinations(space: Space, most: int) -> list[dict[str, Any]]:
    """All combinations of a space's values; none if there are more than so many, or infinitely many."""
    columns = [it.values() for it in space]
    if any(values is None for values in columns) or math.prod(len(it or ()) for it in columns) > most:
        return []
    keys = [it.key for it in space]
    return [
        dict(zip(keys, values, strict=True)) for values in itertools.product(*(it or () for it in columns))
    ]


def space_to_json(space: Iterable[Dimension]) -> JsonObject:
    """The space by key."""
    return {it.key: it.to_json() for it in space}


def space_from_json(found: Mapping[str, Mapping[str, Any]]) -> Space:
    """The space that `space_to_json` wrote."""
    return tuple(Dimension.from_json(key, it) for key, it in found.items())
