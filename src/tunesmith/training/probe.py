"""The probe: a regularised linear head on the features of the frozen model, also used as a head start.

Features are the inputs of the head, computed in one pass over the texts. If training starts from the probe's head
instead of a random one, the first steps do not distort the pretrained features (Kumar et al. 2022, arXiv
2202.10054). The strength of the regularisation is the one with the best validation metric. Few rows often give
several strengths the same metric; then the one with the least validation loss wins, since the strongest would give
flat probabilities to right answers.

Features are standardised for the fit, and a constant feature is left out: one had a standard deviation of 8e-33,
and dividing by it gave weights of 1e31.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tunesmith.encoded import Encoded, Ragged
from tunesmith.inference.embedder import passing_features_through
from tunesmith.inference.forward import Advance, forward
from tunesmith.metrics import METRICS
from tunesmith.models import heads
from tunesmith.tasks import IGNORED, PLAIN_LOSS, EvalPredictions, LabelSchema, Task, head_scale, point_scores
from tunesmith.training.guards import require_finite
from tunesmith.training.run_tensors import load_of_run, save_of_run

if TYPE_CHECKING:
    import torch
    from torch import nn

    from tunesmith.types import Array

STRENGTHS = (0.0001, 0.001, 0.01, 0.1, 1.0, 10.0)
"""Inverse regularisation strengths C, as in scikit-learn for three classes or more; the search starts between
the middle two."""

# Each fit starts from the result of the one before, so a few dozen steps are enough for the choice.
_MAX_ITERATIONS = 60
_TOLERANCE = 1e-5  # of the mean loss from step to step: on banking77 within 1 % of the least loss
_MOST_ITEMS = 100_000
_MIN_RELATIVE_DEVIATION = 1e-6


Features = NDArray[np.float32] | Ragged
"""Inputs of the head: [rows, d], or one row per token."""

Quality = tuple[float, float]
"""The validation metric and minus the validation loss; greater is better."""


@dataclass(frozen=True)
class ProbeHead:
    """A linear head for features that are not standardised.

    Args:
        weight: [k, d], weight of the head.
        bias: [k], bias of the head.
        strength: chosen inverse regularisation strength C.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    strength: float

    def save(self, path: Path, run_id: str) -> None:
        """Writes the head to a safetensors file that belongs to a run."""
        tensors = {"weight": self.weight, "bias": self.bias, "strength": np.array([self.strength])}
        save_of_run(path, tensors, run_id)

    @classmethod
    def load(cls, path: Path, run_id: str) -> ProbeHead | None:
        """Reads the file of `save`; None if it is missing or damaged, and the probe must be fitted again.

        Raises:
            RunError: it belongs to another run.
        """
        found = load_of_run(path, run_id)
        if found is None or not {"weight", "bias", "strength"} <= found.keys():
            return None
        return cls(found["weight"], found["bias"], float(found["strength"][0]))

    def with_outputs(self, other: ProbeHead, numbers: Sequence[int]) -> ProbeHead:
        """This head, with some outputs of another one."""
        weight, bias, at = self.weight.copy(), self.bias.copy(), list(numbers)
        weight[at], bias[at] = other.weight[at], other.bias[at]
        return ProbeHead(weight, bias, other.strength)

    def logits(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits [rows, k] of features [rows, d]."""
        return features @ self.weight.T + self.bias


def take_features(
    task: Task,
    model: nn.Module,
    encoded: Encoded,
    *,
    head: nn.Linear,
    pad_token_id: int,
    bf16: bool,
    location: Callable[[int], str],
    advance: Advance | None = None,
) -> Features:
    """The inputs of the head for each sequence, or for each token.

    Args:
        task: task with the forward pass.
        model: a model of transformers, with the head.
        encoded: sequences of the rows.
        head: last linear layer of the model.
        pad_token_id: padding token of the tokenizer.
        bf16: whether to compute in bfloat16.
        location: function from a row to its file and line, for messages.
        advance: function that is called with the progress.

    Raises:
        NonFiniteError: a feature is not a number.
    """
    with passing_features_through(head):
        features = forward(task, model, encoded, pad_token_id=pad_token_id, bf16=bf16, advance=advance)
    flat = features.values if isinstance(features, Ragged) else features
    wrong = np.flatnonzero(~np.isfinite(flat).all(axis=1))
    if len(wrong):
        value = float(flat[wrong[0]][~np.isfinite(flat[wrong[0]])][0])
        sequences = (
            np.searchsorted(features.offsets, wrong, "right") - 1 if isinstance(features, Ragged) else wrong
        )
        require_finite(
            {"feature of the frozen model": value},
            step=0,
            rows=np.unique(encoded.rows[sequences]),
            location=location,
            model=model,
            learning_rate=None,
        )
    return features


def fit_probe(
    task: Task,
    label_schema: LabelSchema,
    train: tuple[Features, Encoded],
    validation: tuple[Features, EvalPredictions],
    *,
    by_loss: bool = False,
    grown: tuple[ProbeHead, tuple[int, ...]] | None = None,
) -> ProbeHead:
    """The linear head with the best validation metric, or the least validation loss.

    Args:
        task: task with the metric and the loss.
        label_schema: the task's label schema.
        train: features of the training sequences, and the sequences.
        validation: features of the validation rows, and their predictions.
        by_loss: choose by the loss, where there are too few validation rows for the metric.
        grown: a head whose outputs stay as they are, but for those with these numbers.
    """
    features, labels = _items(train[0], train[1])
    mean, deviation = standardisation(features)
    scaled = ((features - mean) / deviation).astype(np.float32)
    kept = None if grown is None else Kept(grown[0].logits(features), grown[1])
    solve = solver(task, label_schema, scaled, labels, kept)

    def fit(tried: float) -> tuple[Quality, ProbeHead]:
        head = _unscaled(*solve(tried), mean, deviation, tried)
        head = head if grown is None else grown[0].with_outputs(head, grown[1])
        loss = _loss(task, head, *_items(validation[0], validation[1].encoded))
        if by_loss:
            return (0.0, -loss), head
        answered = probe_answers(head, *validation)
        value = point_scores(task, answered, label_schema)[task.primary_metric]
        return (value if METRICS.get(task.primary_metric).greater_is_better else -value, -loss), head

    return _climb(fit)


def _loss(task: Task, head: ProbeHead, features: NDArray[np.float32], labels: Array) -> float:
    """The loss of a head, summed over items."""
    import torch

    logits = torch.from_numpy(head.logits(features))
    return float(task.loss(logits, {"labels": torch.from_numpy(np.array(labels))}, PLAIN_LOSS))


def _items(features: Features, encoded: Encoded) -> tuple[NDArray[np.float32], Array]:
    """Features [items, d] and labels [items, …] of the items in the loss."""
    if not isinstance(features, Ragged):
        return features, encoded.dense["labels"]
    labels = np.asarray(encoded.ragged["labels"].values, dtype=np.int64)
    counted = np.flatnonzero(labels != IGNORED)
    if len(counted) > _MOST_ITEMS:
        counted = np.sort(np.random.default_rng(0).choice(counted, _MOST_ITEMS, replace=False))
    return features.values[counted], labels[counted]


def probe_answers(head: ProbeHead, features: Features, evaluated: EvalPredictions) -> EvalPredictions:
    """The predictions of the probe for the rows."""
    if isinstance(features, Ragged):
        return replace(evaluated, outputs=Ragged(head.logits(features.values), features.offsets))
    return replace(evaluated, outputs=head.logits(features))


@dataclass(frozen=True)
class Kept:
    """Outputs of a head that stay as they are while the others are fitted.

    Args:
        outputs: [items, k], outputs of the head as it is.
        new: numbers of the outputs that are fitted.
    """

    outputs: NDArray[np.float32]
    new: tuple[int, ...]

    def among(self, fitted: torch.Tensor) -> torch.Tensor:
        """Outputs [items, k] with those that are fitted in their places."""
        import torch

        is_new = torch.zeros(fitted.shape[1], dtype=torch.bool)
        is_new[list(self.new)] = True
        return torch.where(is_new, fitted, torch.from_numpy(self.outputs).to(fitted))


Weights = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Weight [k, d] and bias [k] of a head for standardised features."""


def solver(
    task: Task,
    label_schema: LabelSchema,
    scaled: NDArray[np.float32],
    labels: Array,
    kept: Kept | None = None,
) -> Callable[[float], Weights]:
    """A function from a strength C to the head; each strength starts from the result of the one before.

    It is L-BFGS over all items, of the task's loss with L2.

    Args:
        task: task with the loss.
        label_schema: the task's label schema.
        scaled: [items, d], standardised features.
        labels: [items, …], labels.
        kept: outputs that stay as they are; all are fitted when None.
    """
    import torch

    x, y = torch.from_numpy(scaled), torch.from_numpy(np.array(labels))
    n_outputs = task.config(label_schema)["num_labels"]
    weight = torch.zeros(n_outputs, x.shape[1], requires_grad=True)
    bias = torch.zeros(n_outputs, requires_grad=True)
    centre, scale = head_scale(task, label_schema)

    def solve(strength: float) -> Weights:
        optimizer = torch.optim.LBFGS(
            [weight, bias],
            max_iter=_MAX_ITERATIONS,
            tolerance_change=_TOLERANCE,
            history_size=10,
            line_search_fn="strong_wolfe",
        )

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            outputs = centre + scale * (x @ weight.T + bias)
            fit = task.loss(outputs if kept is None else kept.among(outputs), {"labels": y}, PLAIN_LOSS)
            loss = (fit + weight.square().sum() / (2 * strength)) / len(y)
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        optimizer.step(closure)  # type: ignore[no-untyped-call]
        return scale * weight.detach().double().numpy(), centre + scale * bias.detach().double().numpy()

    return solve


def _climb(fit: Callable[[float], tuple[Quality, ProbeHead]]) -> ProbeHead:
    """The best strength, searched from the middle pair towards the better side while the quality improves."""
    middle = len(STRENGTHS) // 2
    low, high = fit(STRENGTHS[middle - 1]), fit(STRENGTHS[middle])
    if high[0] > low[0]:
        best, further = high, STRENGTHS[middle + 1 :]
    else:
        best, further = low, STRENGTHS[middle - 2 :: -1]
    for strength in further:
        found = fit(strength)
        if found[0] < best[0] or (found[0] == best[0] and strength > best[1].strength):
            break
        best = found
    return best[1]


def put_head(model: nn.Module, head: ProbeHead) -> None:
    """Writes the probe's weights into the model's head."""
    import torch

    layer = heads.find_head(model, len(head.bias))
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(head.weight))
        if layer.bias is not None:
            layer.bias.copy_(torch.from_numpy(head.bias))


def head_of_model(model: nn.Module, n_outputs: int) -> ProbeHead:
    """The model's head as it is."""
    layer = heads.find_head(model, n_outputs)
    weight = layer.weight.detach().cpu().numpy().astype(np.float32)
    bias = np.zeros(n_outputs, np.float32) if layer.bias is None else layer.bias.detach().cpu().numpy()
    return ProbeHead(weight.copy(), bias.astype(np.float32), float("nan"))


def standardisation(features: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and deviation [d]; an infinite deviation removes a constant feature from the fit."""
    wide = features.astype(np.float64)
    mean, deviation = wide.mean(0), wide.std(0)
    scale = max(float(np.median(deviation)), float(np.finfo(np.float32).tiny))
    return mean, np.where(deviation < _MIN_RELATIVE_DEVIATION * scale, np.inf, deviation)


def _unscaled(
    weight: NDArray[np.float64],
    bias: NDArray[np.float64],
    mean: NDArray[np.float64],
    deviation: NDArray[np.float64],
    strength: float,
) -> ProbeHead:
    weight = weight / deviation
    return ProbeHead(weight.astype(np.float32), (bias - weight @ mean).astype(np.float32), strength)
