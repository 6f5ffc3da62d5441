"""Freezes parts of a model: their weights are not trained, and their dropout is off."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tunesmith.errors import RecipeError, did_you_mean
from tunesmith.models import heads

if TYPE_CHECKING:
    from tunesmith.types import Model


def freeze_body(model: Model) -> None:
    """Freezes everything except the head."""
    head = heads.find_head(model, model.config.num_labels)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    head.requires_grad_(True)


def freeze_bottom(model: Model, n_layers: int) -> None:
    """Freezes the embeddings and the lowest layers.

    Args:
        model: model of transformers.
        n_layers: number of layers; 0 freezes nothing.

    Raises:
        RecipeError: the model has fewer layers.
    """
    if not n_layers:
        return
    layers = heads.encoder_layers(model)
    if n_layers > len(layers):
        raise RecipeError(
            f"train.freeze_layers must be at most {len(layers)}, the layers of this model, got {n_layers}.",
            remedy="Give a smaller number, or `train.method=probe` to train the head alone.",
        )
    for module in (*heads.embeddings(model), *layers[:n_layers]):
        module.requires_grad_(False)


def freeze_embeddings(model: Model) -> None:
    """Freezes the embeddings."""
    for module in heads.embeddings(model):
        module.requires_grad_(False)


def freeze_pooler(model: Model) -> None:
    """Keeps the pooler of a model whose vectors are not taken from it."""
    pooler = getattr(model, "pooler", None)
    if pooler is not None:
        pooler.requires_grad_(False)


def freeze_named(model: Model, patterns: Sequence[str]) -> None:
    """Freezes the parameters whose names match a pattern.

    Args:
        model: model of transformers.
        patterns: patterns of `fnmatch`; the name of a module matches everything below it.

    Raises:
        RecipeError: a pattern matches no parameter, or nothing is left to train.
    """
    names = dict(model.named_parameters())
    for pattern in patterns:
        found = [name for name in names if _fits(name, pattern)]
        if not found:
            raise RecipeError(
                f"no parameter of this model matches `{pattern}`.",
                location="train.freeze",
                remedy=did_you_mean(pattern, {part for name in names for part in name.split(".")}),
            )
        for name in found:
            names[name].requires_grad_(False)
    if not any(parameter.requires_grad for parameter in names.values()):
        raise RecipeError(
            "this leaves nothing to train.", location="train.freeze", remedy="Name fewer parameters."
        )


def freeze_unsaved(model: Model) -> None:
    """Freezes weights that `save_pretrained` leaves out, such as tables that are computed when a model is loaded.

    If these were trained, the saved model would differ (Marian).
    """
    patterns = [re.compile(pattern) for pattern in getattr(model, "_keys_to_ignore_on_save", None) or ()]
    named = list(model.named_parameters(remove_duplicate=False))
    left_out = {name for name, _ in named if any(pattern.search(name) for pattern in patterns)}
    saved = {id(parameter) for name, parameter in named if name not in left_out}
    for name, parameter in named:
        if name in left_out and id(parameter) not in saved:
            parameter.requires_grad_(False)


def keep_frozen_parts_still(model: Model) -> None:
    """Puts modules whose weights are all frozen into evaluation mode: no dropout where nothing learns."""
    for module in model.modules():
        parameters = list(module.parameters())
        if parameters and not any(p.requires_grad for p in parameters):
            module.eval()
    if not any(p.requires_grad for module in heads.embeddings(model) for p in module.parameters()):
        for dropout in heads.embedding_dropouts(model):
            dropout.eval()


def _fits(name: str, pattern: str) -> bool:
    return any(fnmatch.fnmatchcase(name, form) for form in (pattern, f"{pattern}.*", f"*.{pattern}.*"))
