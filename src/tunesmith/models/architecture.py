"""A model that a program changed or replaced, held to what plain transformers can load again.

A saved model is a config and weights. So the class of the model must be one of transformers for the task, a model
that is built from its config must have the same weights by name and shape, and must compute the same with them. A
head of another class, or a layer that the config does not describe, fails here and not when the run is opened.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tunesmith.errors import ModelError
from tunesmith.models.quiet import quiet
from tunesmith.models.trial import is_close, outputs, real_texts, trying
from tunesmith.tasks import Task

if TYPE_CHECKING:
    from tunesmith.types import JsonObject, Model, Tokenizer

_TOKENS = 24
_TOLERANCE = 1e-4
_REMEDY = "Change what the config describes too, such as `config.num_hidden_layers`, or return another class."


def changed_model(model: Model, model_init: Callable[..., Any], wanted: JsonObject, seed: int) -> Model:
    """The model that `Hooks.model_init` makes of a loaded one; its random weights follow from the seed.

    Args:
        model: model as it was loaded, with its head.
        model_init: function from model to model; one that returns None has changed the model in place.
        wanted: entries of the config that the task needs: its labels.
        seed: random seed.

    Raises:
        ModelError: it returned something else than a model of transformers.
    """
    import torch
    from transformers import PreTrainedModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = model_init(model)
    made = model if made is None else made
    if not isinstance(made, PreTrainedModel):
        raise ModelError(
            f"model_init(model) must return a model of transformers, and it returned a `{type(made).__name__}`.",
            remedy="Return a `PreTrainedModel`; or change the model in place, and return nothing.",
        )
    made.config.update(wanted)
    result: Model = made.float().cpu()
    return result


def refuse_unsavable(model: Model, tokenizer: Tokenizer, task: Task) -> None:
    """Refuses a model that would not be the same after plain transformers has loaded what is saved of it.

    Raises:
        ModelError: its class, its weights or its outputs would differ.
    """
    again = _from_config(model, task)
    if type(again) is not type(model):
        raise _lost(
            f"its class is `{type(model).__name__}`, and transformers would load `{type(again).__name__}`"
        )
    one, other = ({name: tuple(t.shape) for name, t in m.state_dict().items()} for m in (model, again))
    different = sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
    if different:
        name = different[0]
        raise _lost(
            f"{len(different)} weights differ from those that its config describes, `{name}` first: "
            f"{_shape(one.get(name))}, and {_shape(other.get(name))} by the config"
        )
    again.load_state_dict(model.state_dict())
    batch = real_texts(model, tokenizer, task, _TOKENS)
    with trying(model), trying(again):
        if not is_close(outputs(again, batch), outputs(model, batch), _TOLERANCE):
            raise _lost("it computes something else than a model of its class with the same weights")


def _from_config(model: Model, task: Task) -> Model:
    import torch
    import transformers

    auto = getattr(transformers, task.auto_class)
    try:
        with quiet(), torch.random.fork_rng(devices=[]):
            built: Model = auto.from_config(copy.deepcopy(model.config), dtype=torch.float32)
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        raise _lost(f"transformers cannot build it from its config: {error}".rstrip(".")) from None
    return built


def _shape(shape: tuple[int, ...] | None) -> str:
    return "absent" if shape is None else str(list(shape))


def _lost(why: str) -> ModelError:
    return ModelError(
        f"the model that model_init made cannot be saved so that plain transformers loads it: {why}.",
        remedy=_REMEDY,
    )
