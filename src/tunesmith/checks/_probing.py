"""The probe, cross-validated: every item is answered by a probe that saw neither it nor a copy of it.

An item is a row, or a token where the task has outputs per token. Rows of equal text, and rows of one group, are
in one fold. The folds are a function of the texts, the labels and the seed, so they do not depend on the order
of the rows. The strength of the regularisation is chosen by the loss on the first fold, climbing from the middle
of the grid; within a fold, each fit starts from the one before. It never starts from a fit of another fold,
which has seen what this fold holds out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.splits import text_keys, units
from tunesmith.encoded import Ragged
from tunesmith.tasks import IGNORED, PLAIN_LOSS, LabelSchema, Task
from tunesmith.training.probe import solver, standardisation

if TYPE_CHECKING:
    from tunesmith.checks import CheckedData
    from tunesmith.data.examples import Examples
    from tunesmith.encoded import Encoded
    from tunesmith.training.probe import Features
    from tunesmith.types import Array

N_FOLDS = 5
STRENGTHS = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
"""Inverse regularisation strengths C; finer than those of the head start, since the order of rows depends on C."""

_FIRST = 3
_MOST_FITTED = 20_000
"""Items that one probe is fitted on; more items cost time and hardly change the answers of a linear head."""
FEWEST_ROWS = 50
"""With fewer rows, the answers of a cross-validated probe say nothing about single rows."""


@dataclass(frozen=True)
class Items:
    """What a head classifies in the training rows.

    Args:
        rows: [items], row of each.
        features: [items, d], standardised.
        labels: [items, …], as the task's loss takes them.
        words: [items], word of each within its row, from 0; None where an item is a row.
    """

    rows: NDArray[np.int64]
    features: NDArray[np.float32]
    labels: Array
    words: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class CrossValidated:
    """The answers of a cross-validated probe.

    Args:
        items: what was answered.
        logits: [items, k], by the probe that did not see the item.
        folds: [rows], fold of each training row.
        strength: inverse regularisation strength C.
    """

    items: Items
    logits: NDArray[np.float32]
    folds: NDArray[np.int64]
    strength: float


def cross_validated(data: CheckedData) -> CrossValidated | None:
    """The training rows as a cross-validated probe answers them; computed once. None where there are too few.

    Args:
        data: rows, and their features.
    """
    if "cross_validated" not in data.memo:
        data.memo["cross_validated"] = _cross_validate(data)
    found: CrossValidated | None = data.memo["cross_validated"]
    return found


def _cross_validate(data: CheckedData) -> CrossValidated | None:
    train = data.splits["train"]
    if data.features is None or len(train) < FEWEST_ROWS:
        return None
    items = items_of(*data.features("train"))
    folds = folds_of(data.task, train, data.recipe.data.group_by, data.seed)
    if len(np.unique(folds[items.rows])) < N_FOLDS:
        return None
    logits, strength = held_out_logits(data.task, data.label_schema, items, folds[items.rows], data.seed)
    return CrossValidated(items, logits, folds, strength)


def items_of(features: Features, encoded: Encoded) -> Items:
    """The items of the training rows.

    Args:
        features: inputs of the head.
        encoded: sequences of the rows.
    """
    if not isinstance(features, Ragged):
        return Items(encoded.rows, _standardised(features), encoded.dense["labels"])
    labels = np.asarray(encoded.ragged["labels"].values, dtype=np.int64)
    counted = np.flatnonzero(labels != IGNORED)
    rows = np.repeat(encoded.rows, features.lengths)[counted]
    words = np.asarray(encoded.ragged["word_of_token"].values, dtype=np.int64)[counted] - 1
    return Items(rows, _standardised(features.values[counted]), labels[counted], words)


def _standardised(features: NDArray[np.float32]) -> NDArray[np.float32]:
    mean, deviation = standardisation(features)
    return ((features - mean) / deviation).astype(np.float32)


def folds_of(
    task: Task, examples: Examples, group_by: str | None, seed: int, n_folds: int = N_FOLDS
) -> NDArray[np.int64]:
    """[rows], the fold of each row; copies and groups stay together, and each fold has its share of every label.

    Args:
        task: task whose columns are read.
        examples: rows.
        group_by: the recipe's `data.group_by`.
        seed: random seed.
        n_folds: number of folds.
    """
    keys = text_keys(examples)
    unit, first = _units(task, examples, group_by, keys)
    order = np.lexsort((shuffled(keys[first], seed), _strata(task, examples)[first]))
    fold = np.empty(len(first), dtype=np.int64)
    fold[order] = np.arange(len(first)) % n_folds
    return fold[unit]


def independent_rows(
    task: Task, examples: Examples, group_by: str | None, seed: int, most: int
) -> NDArray[np.int64]:
    """One row of each text and of each group, in the order of chance; at most so many.

    Args:
        task: task whose columns are read.
        examples: rows.
        group_by: the recipe's `data.group_by`.
        seed: random seed.
        most: number of rows.
    """
    keys = text_keys(examples)
    _, first = _units(task, examples, group_by, keys)
    return first[np.argsort(shuffled(keys[first], seed), kind="stable")][:most]


def _units(
    task: Task, examples: Examples, group_by: str | None, keys: NDArray[np.bytes_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """[rows], number of each row's unit; and of each unit, the row with the least key."""
    together = [column.name for column in task.columns if column.together and column.name in examples.columns]
    unit = units(examples, group_by if group_by in examples.extra else None, together, keys)
    by_key = np.lexsort((keys, unit))
    names, first = np.unique(unit[by_key], return_index=True)
    return np.searchsorted(names, unit), by_key[first]


def shuffled(keys: NDArray[np.bytes_], seed: int) -> NDArray[np.uint64]:
    """[rows], numbers by which keys are in an order of chance, a function of the key and the seed.

    Args:
        keys: [rows], what `text_keys` gave.
        seed: random seed.
    """
    numbers = np.frombuffer(keys.tobytes(), dtype=np.uint64).reshape(len(keys), 2)[:, 0]
    factor = np.uint64(2 * int(np.random.default_rng(seed).integers(2**62)) + 1)
    return numbers * factor


def _strata(task: Task, examples: Examples) -> NDArray[np.int64]:
    """[rows], the number of each row's label, where it is one; else 0."""
    names = [column.name for column in task.columns if column.target and column.kind == "category"]
    if not names or names[0] not in examples.columns:
        return np.zeros(len(examples), dtype=np.int64)
    _, numbers = np.unique(
        np.array([str(value) for value in examples.columns[names[0]]]), return_inverse=True
    )
    return np.asarray(numbers, dtype=np.int64)


def held_out_logits(
    task: Task,
    label_schema: LabelSchema,
    items: Items,
    folds: NDArray[np.int64],
    seed: int,
    strength: float | None = None,
) -> tuple[NDArray[np.float32], float]:
    """[items, k], the logits of each item by a probe of the other folds, and the strength of these probes.

    Args:
        task: task with the loss.
        label_schema: the task's label schema.
        items: what is classified.
        folds: [items], fold of each.
        seed: random seed of the sample that a probe is fitted on.
        strength: inverse regularisation strength C; None chooses it.
    """
    n_outputs = task.config(label_schema)["num_labels"]
    logits = np.empty((len(items.rows), n_outputs), dtype=np.float32)
    for fold in range(int(folds.max()) + 1):
        held = np.flatnonzero(folds == fold)
        fit = _fitter(task, label_schema, items, np.flatnonzero(folds != fold), held, seed)
        if strength is None:
            strength = _climb(lambda c, fit=fit, held=held: loss_of(task, fit(c), items.labels[held]))  # type: ignore[misc]
        logits[held] = fit(strength)
    assert strength is not None
    return logits, strength


def _fitter(
    task: Task,
    label_schema: LabelSchema,
    items: Items,
    fitted: NDArray[np.int64],
    held: NDArray[np.int64],
    seed: int,
) -> Callable[[float], NDArray[np.float32]]:
    """From a strength to the logits of the items `held`, by a probe of the items `fitted`."""
    if len(fitted) > _MOST_FITTED:
        fitted = np.sort(np.random.default_rng(seed).choice(fitted, _MOST_FITTED, replace=False))
    solve = solver(task, label_schema, items.features[fitted], items.labels[fitted])
    known: dict[float, NDArray[np.float32]] = {}

    def logits(strength: float) -> NDArray[np.float32]:
        if strength not in known:
            weight, bias = (part.astype(np.float32) for part in solve(strength))
            known[strength] = items.features[held] @ weight.T + bias
        return known[strength]

    return logits


def logits_of_sample(
    task: Task,
    label_schema: LabelSchema,
    probed: CrossValidated,
    fitted: NDArray[np.int64],
    held: NDArray[np.int64],
) -> NDArray[np.float32]:
    """[held, k], the logits of some items by a probe of others, with the strength of the cross-validated probe.

    Args:
        task: task with the loss.
        label_schema: the task's label schema.
        probed: the cross-validated probe.
        fitted: items that the probe is fitted on.
        held: items that it answers.
    """
    return _fitter(task, label_schema, probed.items, fitted, held, seed=0)(probed.strength)


def loss_of(task: Task, logits: NDArray[np.float32], labels: Array) -> float:
    """The mean loss of items.

    Args:
        task: task with the loss.
        logits: [items, k].
        labels: [items, …].
    """
    import torch

    batch = {"labels": torch.from_numpy(np.array(labels))}
    return float(task.loss(torch.from_numpy(logits), batch, PLAIN_LOSS)) / max(1, len(labels))


def _climb(loss: Callable[[float], float], strengths: Sequence[float] = STRENGTHS) -> float:
    """The strength with the least loss, searched from the middle towards the better side."""
    here = loss(strengths[_FIRST])
    best, step = _FIRST, 1 if loss(strengths[_FIRST + 1]) < here else -1
    while 0 <= best + step < len(strengths):
        there = loss(strengths[best + step])
        if there >= here:
            break
        here, best = there, best + step
    return strengths[best]
