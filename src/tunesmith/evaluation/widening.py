"""A model's answers among more labels than it knows: what it does not know, it never answers.

So a model can be scored on rows whose true label is new to it, and compared with one that has learned the label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.encoded import Ragged
from tunesmith.errors import RunError
from tunesmith.tasks import OFFSETS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tunesmith.tasks import EvalPredictions, LabelSchema, Task

_NEVER = -1e4
"""The logit of a label that a model does not know."""
_THRESHOLD = 0.5


def labels_of_outputs(task: Task, label_schema: LabelSchema) -> list[str]:
    """The names of a head's outputs, in order; none where outputs have no names."""
    return list(task.config(label_schema).get("id2label", {}).values())


def widened_schema(task: Task, own: LabelSchema, wider: LabelSchema) -> LabelSchema:
    """A model's label schema with all labels of a wider one.

    Args:
        task: task of both.
        own: label schema of the model.
        wider: label schema with at least the labels of the model.

    Raises:
        RunError: the wider one lacks a label of the model.
    """
    names, all_names = (labels_of_outputs(task, schema) for schema in (own, wider))
    if names == all_names:
        return own
    if lacking := sorted(set(names) - set(all_names)):
        raise RunError(
            f"the label `{lacking[0]}` of one model is not known to the other.",
            remedy="Train both on rows with this label.",
        )
    found = {**own, "labels": wider["labels"]}
    for key, unknown in (("thresholds", _THRESHOLD), (OFFSETS, 0.0)):
        if key in own:
            known = dict(zip(names, own[key], strict=True))
            found[key] = [known.get(name, unknown) for name in all_names]
    return found


def widened(task: Task, evaluated: EvalPredictions, own: LabelSchema, wider: LabelSchema) -> EvalPredictions:
    """A model's predictions with an output for every label of a wider label schema.

    Args:
        task: task of the model.
        evaluated: predictions of the model; their sequences have the labels of the wider schema.
        own: label schema of the model.
        wider: what `widened_schema` gave.
    """
    names, all_names = (labels_of_outputs(task, schema) for schema in (own, wider))
    if names == all_names:
        return evaluated
    outputs = evaluated.outputs
    if isinstance(outputs, Ragged):
        return replace(evaluated, outputs=Ragged(_spread(outputs.values, names, all_names), outputs.offsets))
    return replace(evaluated, outputs=_spread(np.asarray(outputs), names, all_names))


def _spread(
    outputs: NDArray[np.float32], names: Sequence[str], all_names: Sequence[str]
) -> NDArray[np.float32]:
    """Outputs [n, k] as [n, K], each in the column of its name."""
    found = np.full((len(outputs), len(all_names)), _NEVER, dtype=outputs.dtype)
    found[:, [all_names.index(name) for name in names]] = outputs
    return found
