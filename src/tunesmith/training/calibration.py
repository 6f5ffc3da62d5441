"""A head's scale and shift from the validation rows, so that a score is the probability of being right.

Temperature scaling divides all outputs by one number (Guo et al. 2017, arXiv 1706.04599); no answer changes.
Vector scaling has a factor and a shift for each output, drawn towards those of the temperature; for independent
outputs this is Platt's scaling of each (Platt 1999). Answers that are no labels of a row (entities, passages) have
a temperature that fits their own scores.

What is used is chosen by cross-validation over groups of rows, in log loss. Temperature must be better than
nothing. Vector scaling must be better than temperature by more than a standard error of the difference, since it
has more to fit. Where it can change answers, it must also earn that: more answers must be right on rows that were
held out, by more than a standard error, and no metric of the task may be lower there or on all validation rows. On
trec, the gain in log loss alone (2.8 standard errors) was one of the validation rows: on the test rows, the log
loss was 0.164 instead of the 0.151 of the temperature, and the accuracy 95.8 % instead of 96.6 %.

A few rows cannot make a model certain: what is true counts as n + 1 in n + 2, and what is false as 1 in n + 2
(Platt 1999, section 2.2). So 30 right answers of 30 do not give a probability of 1. A label with fewer than three
validation rows keeps the common factor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tunesmith.tasks import Calibration, EvalPredictions, GivenAnswers, LabelSchema, Scaling
from tunesmith.training.randomness import numpy_generator

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

LEAST_ANSWERS = 20
"""Answers that a scale is fitted on; with fewer, the head stays as it is."""

Floats = NDArray[np.float64]

_FOLDS = 5
_MOST_ITEMS = 20_000
_LEAST_OF_LABEL = 3
_RIDGES = (1.0, 10.0, 100.0)
_WIDEST = 3.0  # of the logarithm of the factor: temperatures from 0.05 to 20
_GRID = 25
_MOST_APART = 20.0  # a factor from the common one
_TINY = 1e-12
_DIGITS = 6


@dataclass(frozen=True)
class Calibrated:
    """What was chosen, and why.

    Args:
        method: `none`, `temperature` or `vector`.
        scaling: what the head's outputs get.
        reason: why, in a few words.
        n: answers that it was fitted on.
        log_loss: mean log loss of each method on the rows that were held out.
    """

    method: str = "none"
    scaling: Scaling = field(default_factory=Scaling)
    reason: str = ""
    n: int = 0
    log_loss: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> JsonObject:
        """The entry of the manifest."""
        entry: JsonObject = {"method": self.method, **self.scaling.to_json()}
        if self.method == "temperature":
            entry["temperature"] = _rounded(1 / self.scaling.scale[0])
        return {**entry, "reason": self.reason, "n": self.n, "cross_validated_log_loss": dict(self.log_loss)}


@dataclass(frozen=True)
class Question:
    """What a scale is to be fitted on.

    Args:
        calibration: what the task says of its answers.
        evaluated: validation rows as the trained model answers them.
        label_schema: the task's label schema, with fitted thresholds.
        groups: [rows], rows that stay together; None where each is alone.
        seed: random seed of the folds.
        has_bias: whether the head can hold a shift.
        scores: every metric of some predictions, the greater the better.
    """

    calibration: Calibration
    evaluated: EvalPredictions
    label_schema: LabelSchema
    groups: NDArray[np.int64] | None
    seed: int
    has_bias: bool
    scores: Callable[[EvalPredictions], Mapping[str, float]]


def choose_scaling(question: Question, asked: str) -> Calibrated:
    """The scale and shift for the head.

    Args:
        question: what it is fitted on.
        asked: `evaluate.calibration` of the recipe.
    """
    if asked == "none":
        return Calibrated(reason="asked for")
    items = Items.of(question)
    if len(items) < LEAST_ANSWERS:
        return Calibrated(reason=f"{len(items)} answers are too few to fit it on", n=len(items))
    folds = _folds(items.groups, question.seed)
    if folds is None:
        return Calibrated(reason="all validation rows are of one group", n=len(items))
    wants_vector = asked != "temperature" and items.targets is not None and question.has_bias
    held_out = _cross_validate(items, folds, with_vector=wants_vector)
    method, reason = _choose(question, items, held_out) if asked == "auto" else (asked, "asked for")
    scaling = held_out[method].fit(items) if method != "none" else Scaling()
    losses = {name: _rounded(float(found.losses.mean())) for name, found in held_out.items()}
    return Calibrated(method, scaling, reason, len(items), losses)


@dataclass(frozen=True)
class Items:
    """What is fitted on: the outputs of rows with their targets, or answers.

    Args:
        groups: [items], the group of each.
        logits: [items, k], outputs of the head; None for answers.
        targets: [items, k]; of answers, what their scores should be, where that is not whether they are right.
        independent: see `Calibration`.
        given: answers.
    """

    groups: NDArray[np.int64]
    logits: Floats | None = None
    targets: Floats | None = None
    independent: bool = False
    given: GivenAnswers | None = None

    @classmethod
    def of(cls, question: Question) -> Items:
        """The validation rows, or the answers that were given for them."""
        calibration, evaluated = question.calibration, question.evaluated
        groups = np.arange(evaluated.encoded.n_rows) if question.groups is None else question.groups
        if calibration.targets is None:
            given = calibration.given(evaluated, question.label_schema)
            return cls(groups[given.rows], given=given)
        logits = np.asarray(evaluated.outputs, dtype=np.float64)
        return cls(groups, logits, calibration.targets(evaluated), calibration.independent)

    def __len__(self) -> int:
        return len(self.groups)

    def take(self, chosen: NDArray[np.int64]) -> Items:
        """Some of the items."""
        if self.given is not None:
            return Items(self.groups[chosen], given=self.given.take(chosen))
        assert self.logits is not None
        assert self.targets is not None
        return Items(self.groups[chosen], self.logits[chosen], self.targets[chosen], self.independent)

    def smoothed(self) -> Items:
        """With Platt's targets: of n of a kind, 1 in n + 2 is otherwise."""
        if self.given is not None:
            return replace(self, targets=_smoothed(self.given.is_right.astype(np.float64)))
        assert self.targets is not None
        if self.independent:
            return replace(self, targets=_smoothed(self.targets))
        n, k = self.targets.shape
        other = 1 / (n + 2) / max(k - 1, 1)
        return replace(self, targets=np.where(self.targets > 0, 1 - 1 / (n + 2), other))

    def losses(self, scaling: Scaling) -> Floats:
        """[items], the log loss of each; of independent outputs, the mean over them."""
        if self.given is not None:
            right = self.given.is_right.astype(np.float64) if self.targets is None else self.targets
            return _answer_losses(self.given.scores(scaling.scale[0]), right)
        assert self.logits is not None
        assert self.targets is not None
        return _losses(scaling(self.logits), self.targets, independent=self.independent)


@dataclass(frozen=True)
class _HeldOut:
    """A method under cross-validation.

    Args:
        fit: fits it on some items, of which the given ones are used.
        losses: [items], log loss of each item where it was held out.
        scalings: what was fitted without each fold.
        folds: [items], fold of each item.
    """

    fit: Callable[..., Scaling]
    losses: Floats
    scalings: tuple[Scaling, ...]
    folds: NDArray[np.int64]


def _folds(groups: NDArray[np.int64], seed: int) -> NDArray[np.int64] | None:
    """[items], a fold for each, the same for all items of a group; None for a single group."""
    _, members = np.unique(groups, return_inverse=True)
    n = int(members.max()) + 1
    if n < 2:
        return None
    return numpy_generator(seed, "calibration folds").permutation(n)[members] % min(_FOLDS, n)


def _cross_validate(items: Items, folds: NDArray[np.int64], *, with_vector: bool) -> dict[str, _HeldOut]:
    """Each method on the items that it was not fitted on."""
    methods: dict[str, Callable[..., Scaling]] = {"none": _identity, "temperature": fit_temperature}
    found = {name: _held_out(fit, items, folds) for name, fit in methods.items()}
    if with_vector:
        tried = [_held_out(_vector_with(ridge), items, folds) for ridge in _RIDGES]
        found["vector"] = min(tried, key=lambda one: float(one.losses.mean()))
    return found


def _held_out(fit: Callable[..., Scaling], items: Items, folds: NDArray[np.int64]) -> _HeldOut:
    losses = np.empty(len(items))
    scalings = []
    for fold in range(int(folds.max()) + 1):
        scaling = fit(items, folds != fold)
        losses[folds == fold] = items.losses(scaling)[folds == fold]
        scalings.append(scaling)
    return _HeldOut(fit, losses, tuple(scalings), folds)


def _identity(items: Items, used: NDArray[np.bool_] | None = None) -> Scaling:
    return Scaling()


def _vector_with(ridge: float) -> Callable[..., Scaling]:
    def fit(items: Items, used: NDArray[np.bool_] | None = None) -> Scaling:
        return fit_vector(items, used, ridge=ridge)

    return fit


def _choose(question: Question, items: Items, held_out: Mapping[str, _HeldOut]) -> tuple[str, str]:
    """The method, and why: see the module."""
    is_better = bool(held_out["temperature"].losses.mean() < held_out["none"].losses.mean())
    best = "temperature" if is_better else "none"
    vector = held_out.get("vector")
    if vector is not None and _is_clearly_less(vector.losses, held_out[best].losses, items.groups):
        if question.calibration.independent or _earns_changes(question, items, vector):
            return "vector", "the least log loss on rows that were held out"
        return best, "vector scaling changes answers without making clearly more of them right"
    if is_better:
        return best, "the least log loss on rows that were held out"
    return best, "no scaling lowers the log loss on rows that were held out"


def _is_clearly_less(one: Floats, other: Floats, groups: NDArray[np.int64]) -> bool:
    """Whether a mean is smaller by more than a standard error of the difference, over groups."""
    _, members = np.unique(groups, return_inverse=True)
    gained = np.bincount(members, other - one)
    return bool(gained.sum() > np.sqrt(len(gained)) * gained.std())


def _earns_changes(question: Question, items: Items, vector: _HeldOut) -> bool:
    """Whether changed answers are better: more of them right where held out, and no metric lower."""
    before, outputs = question.evaluated, np.array(question.evaluated.outputs, dtype=np.float32)
    for fold, scaling in enumerate(vector.scalings):
        outputs[vector.folds == fold] = scaling(outputs[vector.folds == fold])
    held_out = replace(before, outputs=outputs)
    wrong = [~question.calibration.given(rows, question.label_schema).is_right for rows in (held_out, before)]
    if not _is_clearly_less(wrong[0].astype(float), wrong[1].astype(float), items.groups):
        return False
    old = question.scores(before)
    new = [question.scores(rows) for rows in (held_out, vector.fit(items).applied(before))]
    return all(scores[name] >= value for scores in new for name, value in old.items())


def fit_temperature(items: Items, used: NDArray[np.bool_] | None = None) -> Scaling:
    """The factor of all outputs with the least log loss.

    Args:
        items: what it is fitted on.
        used: [items], which of them; all by default.
    """
    from scipy.optimize import minimize_scalar

    few = items.take(_drawn(len(items), used)).smoothed()

    def loss(logarithm: float) -> float:
        return float(few.losses(Scaling((float(np.exp(logarithm)),))).sum())

    grid = np.linspace(-_WIDEST, _WIDEST, _GRID)
    best = grid[int(np.argmin([loss(value) for value in grid]))]
    step = grid[1] - grid[0]
    bounds = max(best - step, -_WIDEST), min(best + step, _WIDEST)
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-7})
    return Scaling((_rounded(float(np.exp(found.x))),))


def fit_vector(items: Items, used: NDArray[np.bool_] | None = None, *, ridge: float) -> Scaling:
    """A factor and a shift for each output, drawn towards those of the temperature.

    Args:
        items: outputs of rows, with their targets.
        used: [items], which of them; all by default.
        ridge: weight of the squared distance from the temperature.
    """
    from scipy.optimize import minimize

    few = items.take(_drawn(len(items), used))
    assert few.logits is not None
    assert few.targets is not None
    logits, targets, k = few.logits, few.smoothed().targets, few.logits.shape[1]
    assert targets is not None
    factor = fit_temperature(few).scale[0]
    start = np.concatenate([np.full(k, factor), np.zeros(k)])

    def loss(values: Floats) -> tuple[float, Floats]:
        scaled = values[:k] * logits + values[k:]
        wrong = _probabilities(scaled, independent=few.independent) - targets
        away = (values - start) / np.repeat([factor, 1.0], k)
        total = (
            _losses(scaled, targets, independent=few.independent, mean=False).sum() + ridge * away @ away / 2
        )
        gradient = np.concatenate([(wrong * logits).sum(0), wrong.sum(0)])
        return float(total), gradient + ridge * away / np.repeat([factor, 1.0], k)

    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=_bounds(few.targets, factor))
    return Scaling(*(tuple(_rounded(value) for value in part) for part in np.split(found.x, 2)))


def _bounds(targets: Floats, factor: float) -> list[tuple[float | None, float | None]]:
    """Factors stay positive; a label with few rows keeps the common factor and no shift."""
    n_true = targets.sum(0)
    is_known = (n_true >= _LEAST_OF_LABEL) & (len(targets) - n_true >= _LEAST_OF_LABEL)
    factors = [
        (factor / _MOST_APART, factor * _MOST_APART) if known else (factor, factor) for known in is_known
    ]
    return [*factors, *((None, None) if known else (0.0, 0.0) for known in is_known)]


def _drawn(n: int, used: NDArray[np.bool_] | None) -> NDArray[np.int64]:
    """The items that are fitted on: the used ones, or as many of them as are needed."""
    chosen = np.arange(n) if used is None else np.flatnonzero(used)
    if len(chosen) <= _MOST_ITEMS:
        return chosen
    return np.sort(np.random.default_rng(0).choice(chosen, _MOST_ITEMS, replace=False))


def _losses(logits: Floats, targets: Floats, *, independent: bool, mean: bool = True) -> Floats:
    """[items], the cross-entropy with the targets; of independent outputs the mean over them, or the sum."""
    if independent:
        each = np.logaddexp(0.0, logits) - targets * logits
        return np.asarray(each.mean(-1) if mean else each.sum(-1))
    # By hand: scipy's function takes nine times as long for some dozen rows, and a fit calls it often.
    top = logits.max(-1, keepdims=True)
    return np.asarray(np.log(np.exp(logits - top).sum(-1)) + top[:, 0] - (targets * logits).sum(-1))


def _probabilities(logits: Floats, *, independent: bool) -> Floats:
    from scipy.special import expit, softmax

    return np.asarray(expit(logits) if independent else softmax(logits, axis=-1))


def _answer_losses(scores: Floats, right: Floats) -> Floats:
    """[answers], the log loss of each score as the probability that the answer is right."""
    scores = np.clip(scores, _TINY, 1 - _TINY)
    return np.asarray(-right * np.log(scores) - (1 - right) * np.log1p(-scores))


def _smoothed(targets: Floats) -> Floats:
    """Targets of 0 and 1 [n] or [n, k], each a little nearer to the other; by column."""
    n_true = targets.sum(0)
    return np.asarray(np.where(targets > 0, 1 - 1 / (n_true + 2), 1 / (len(targets) - n_true + 2)))


def _rounded(value: float) -> float:
    """To six digits, so that it is the same on machines that add up in another order."""
    return float(f"{value:.{_DIGITS}g}")
