"""A head that knows some of the labels grows: the outputs that it has are kept, and only the others are new."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunesmith.models.heads import find_head
from tunesmith.models.weights import is_head

if TYPE_CHECKING:
    from tunesmith.types import JsonObject, Model


def new_outputs(config: JsonObject, wanted: JsonObject, *, may_grow: bool) -> tuple[int, ...] | None:
    """The outputs that a model's head lacks for the wanted labels; None where the head is no use for them.

    It is of use where it has some of the labels and no others. Labels in the same order need no new output.

    Args:
        config: config of the model.
        wanted: the task's entries of a config.
        may_grow: whether a head with some of the labels is of use.
    """
    if "id2label" not in wanted:
        return ()
    named = config.get("id2label") or {}
    known, labels = [named.get(str(i)) for i in range(len(named))], list(wanted["id2label"].values())
    if known == labels:
        return ()
    if not may_grow or not known or len(set(known)) < len(known) or not set(known) < set(labels):
        return None
    return tuple(number for number, label in enumerate(labels) if label not in known)


def lacks_head(model: Model, missing: set[str], n_outputs: int, *, grows: bool) -> bool:
    """Whether weights of the head are missing; those of its last layer are not, if that is about to grow.

    Args:
        model: model with a head for all labels.
        missing: names of weights that the files lack.
        n_outputs: number of labels; 0 for a task without labels.
        grows: whether the last layer of the head grows.
    """
    own = set()
    if grows:
        layer = find_head(model, n_outputs)
        parts = {id(parameter) for parameter in layer.parameters()}
        own = {name for name, parameter in model.named_parameters() if id(parameter) in parts}
    return any(is_head(model, name) for name in missing - own)


def take_outputs(model: Model, before: Model) -> None:
    """Copies the outputs of a head that has some of the labels into one that has all of them.

    Args:
        model: model with a head for all labels.
        before: the model with the head that it had before.
    """
    import torch

    labels, known = (list(one.config.id2label.values()) for one in (model, before))
    head, old = find_head(model, len(labels)), find_head(before, len(known))
    at = torch.tensor([labels.index(label) for label in known])
    with torch.no_grad():
        head.weight[at] = old.weight.to(head.weight)
        if head.bias is not None and old.bias is not None:
            head.bias[at] = old.bias.to(head.bias)
