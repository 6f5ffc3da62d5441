"""What a continued classifier still knows of the task of the run that it began from.

The rows are those that the earlier run was scored on; they stand in its folder. Two questions are asked of the new
encoder: does the head of the earlier run still work on its features, and would a new linear head? The first says
what happens if the new model takes the place of the old one; the second whether the knowledge itself is gone. A
probe answers the rows of one half after it was fitted on the other half. Where outputs are those of tokens
(entities), the features are too, and the halves are of rows all the same.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tunesmith.data.examples import Examples
from tunesmith.data.splits import rows_among, text_keys
from tunesmith.encoded import Ragged
from tunesmith.errors import UserError
from tunesmith.evaluation.baselines import RowStatistics
from tunesmith.evaluation.previous import Previous
from tunesmith.inference.embedder import head_outputs
from tunesmith.inference.predictor import Predictor
from tunesmith.models.resolve import resolve_model
from tunesmith.pipeline.head_of import head_of
from tunesmith.pipeline.work import Work
from tunesmith.run import Run
from tunesmith.tasks import EvalPredictions
from tunesmith.training.probe import Features, ProbeHead, fit_probe, take_features

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from tunesmith.encoded import Encoded
    from tunesmith.types import Model

MOST_ROWS = 2_000
FEWEST_ROWS = 40
_VALIDATION_SHARE = 5
"""One row in five of those that a probe is fitted on chooses its regularisation."""


def previous_task(work: Work, model: Model, train: Examples, seed: int) -> Previous | None:
    """The previous task as the earlier run and a model after the training answer it.

    None where the base model is no run, both have not linear heads of one kind (a vector a row, or a token), there
    are too few rows, a row is read in windows, or the recipe does not want it.

    Args:
        work: what was done.
        model: the saved model, loaded.
        train: rows of this training; held-out rows with the text of one of them are left out.
        seed: random seed of the choice of rows, and of the halves.
    """
    head = head_of(work.task, model, per_token=True)
    if work.recipe.evaluate.previous == "none" or head is None:
        return None
    try:
        if resolve_model(work.recipe.model).kind != "run":
            return None
        run = Run.open(work.recipe.model)
        predictor = Predictor.from_run(run.path)
        if predictor.task.outputs_per_token != work.task.outputs_per_token:
            return None
        old_head = head_of(predictor.task, predictor.model, per_token=True)
        examples = _rows(run, predictor, train, seed)
    except (UserError, OSError) as error:
        work.events.warn(f"what was forgotten of the previous task is not measured: {error}")
        return None
    if old_head is None or examples is None or old_head.in_features != head.in_features:
        return None
    encoded = predictor.encode_to_score(examples)
    if len(encoded) != len(examples):
        return None
    rows = _Rows(predictor, examples, encoded, seed)
    before, after = rows.features(predictor.model, old_head, work), rows.features(model, head, work)
    heads = (rows.answered(head_outputs(old_head, before)), rows.answered(head_outputs(old_head, after)))
    probes = (rows.answered(rows.probed(before)), rows.answered(rows.probed(after)))
    return Previous(str(work.recipe.model), predictor.task, len(examples), heads, probes)


def _rows(run: Run, predictor: Predictor, train: Examples, seed: int) -> Examples | None:
    """Rows that the earlier run was scored on; None for a task of another kind, or too few rows."""
    task, path = predictor.task, run.predictions / f"{run.metrics['primary']['split']}.jsonl"
    if not path.is_file():
        return None
    with path.open(encoding="utf-8") as file:
        lines = [line for line in map(json.loads, file) if not line.get("left_out")]
    names = [name for name in task.shown if lines and name in lines[0]]
    rows = [
        task.read({**{name: line[name] for name in names}, task.outputs[0]: line["gold"]}) for line in lines
    ]
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}
    n = len(rows)
    held = Examples(columns, (path.name,), np.zeros(n, dtype=np.int32), np.arange(1, n + 1))
    held = replace(held, inputs=tuple(names))
    if task.outputs_per_token:  # the file has the texts alone, without the places of their words
        train = replace(train, inputs=tuple(names))
    unseen = np.setdiff1d(np.arange(n), rows_among(held, text_keys(train)))
    if len(unseen) < FEWEST_ROWS:
        return None
    return held.take(np.sort(np.random.default_rng(seed).permutation(unseen)[:MOST_ROWS]))


class _Rows:
    """Held-out rows of the previous task.

    Args:
        predictor: predictor of the earlier run.
        examples: rows with labels.
        encoded: their sequences, one a row.
        seed: random seed of the halves.
    """

    def __init__(self, predictor: Predictor, examples: Examples, encoded: Encoded, seed: int) -> None:
        self.task, self.schema = predictor.task, predictor.label_schema
        self.pad_token_id = predictor.tokenizer.pad_token_id
        self.examples, self.encoded = examples, encoded
        self.order = np.random.default_rng(seed).permutation(len(examples))

    def features(self, model: Model, head: nn.Linear, work: Work) -> Features:
        """What the head of a model reads: [rows, d], or a vector for each token."""
        return take_features(
            self.task,
            model,
            self.encoded,
            head=head,
            pad_token_id=self.pad_token_id,
            bf16=False,
            location=self.examples.location,
            advance=work.events.progress("texts of the previous task"),
        )

    def answered(self, outputs: object) -> RowStatistics:
        """The rows with the outputs of a head."""
        evaluated = EvalPredictions(self.examples.columns, self.encoded, outputs)
        return RowStatistics.of(self.task, evaluated, self.schema)

    def probed(self, features: Features) -> Features:
        """Outputs of a probe for each half of the rows, which was fitted on the other one."""
        found: list[Features] = []
        halves = np.array_split(self.order, 2)
        for own, other in (halves, halves[::-1]):
            cut = max(len(other) // _VALIDATION_SHARE, 1)
            validation, train = np.sort(other[:cut]), np.sort(other[cut:])
            head = fit_probe(
                self.task,
                self.schema,
                (_of(features, train), self.encoded.of_rows(train)),
                (_of(features, validation), self._evaluated(validation)),
                by_loss=True,
            )
            found.append(_outputs(head, _of(features, own)))
        places = np.argsort(np.concatenate(halves))
        ragged = [part for part in found if isinstance(part, Ragged)]
        if ragged:
            return Ragged.join(ragged).take(places)
        return np.asarray(np.concatenate([np.asarray(part) for part in found])[places])

    def _evaluated(self, rows: NDArray[np.int64]) -> EvalPredictions:
        return EvalPredictions(self.examples.take(rows).columns, self.encoded.of_rows(rows))


def _of(features: Features, rows: NDArray[np.int64]) -> Features:
    """The features of some rows."""
    return features.take(rows) if isinstance(features, Ragged) else features[rows]


def _outputs(head: ProbeHead, features: Features) -> Features:
    """The outputs of a probe for features."""
    if isinstance(features, Ragged):
        return Ragged(head.logits(features.values), features.offsets)
    return head.logits(features)
