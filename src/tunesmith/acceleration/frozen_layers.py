"""The frozen lowest layers of a model: their number, their outputs, and the model without them.

Frozen embeddings and layers have the same outputs for a text each time, so these are computed only once.
`states_below` computes them and stops there. `begin_above` replaces the embeddings by a function that reads the
outputs, and makes the frozen layers return their inputs. Both change only the instance, until they end: names,
weights, checkpoints and the saved model stay the same. Code that calls the layers itself must ask
`is_passed_through`.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NoReturn

from tunesmith.acceleration.patching import installed, is_installed
from tunesmith.models import heads

if TYPE_CHECKING:
    import torch
    from torch import nn

Read = Callable[["torch.Tensor"], "torch.Tensor"]
"""Function from the numbers that replace token ids, [b, s], to hidden states [b, s, d]."""


def frozen_layers(model: nn.Module) -> int:
    """Number of lowest layers without trainable weights; 0 if the embeddings are trainable."""
    if _learns(heads.embeddings(model)):
        return 0
    n_layers = 0
    for layer in heads.encoder_layers(model):
        if _learns([layer]):
            break
        n_layers += 1
    return n_layers


def frozen_tensors(model: nn.Module, n_layers: int) -> Iterator[tuple[str, torch.Tensor]]:
    """Names and values of all tensors of the embeddings and the lowest layers."""
    parts = [*heads.embeddings(model), *heads.encoder_layers(model)[:n_layers]]
    for number, part in enumerate(parts):
        for name, tensor in part.state_dict().items():
            yield f"{number}.{name}", tensor


def body_tensors(model: nn.Module, head: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Names and values of all tensors except the head's."""
    of_head = {id(parameter) for parameter in head.parameters()}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in of_head:
            yield name, tensor.detach()


def fingerprint(tensors: Iterable[tuple[str, torch.Tensor]]) -> str:
    """SHA-256 over names, types, shapes and values."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in tensors:
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def states_below(
    model: nn.Module, n_layers: int, token_ids: Read, compute: Callable[[], object]
) -> tuple[torch.Tensor, torch.Tensor]:
    """The outputs of the frozen layers for one batch; the layers above are not computed.

    Args:
        model: model of transformers.
        n_layers: number of frozen layers, at least one.
        token_ids: function from the numbers that replace token ids in the batch to token ids.
        compute: function that runs the model on the batch.

    Returns:
        The numbers that replace token ids, [b, s], and the hidden states [b, s, d].
    """
    layers = heads.encoder_layers(model)
    first = heads.embeddings(model)[0]
    embed, given = first.forward, []

    def embed_token_ids(
        _: nn.Module, input_ids: torch.Tensor, *others: object, **named: object
    ) -> torch.Tensor:
        given.append(input_ids)
        embedded: torch.Tensor = embed(token_ids(input_ids), *others, **named)
        return embedded

    def stop(_: nn.Module, hidden_states: torch.Tensor, *__: object, **___: object) -> NoReturn:
        raise _ReachedError(hidden_states)

    def stop_after(_: nn.Module, *inputs: object, **named: object) -> NoReturn:
        output = last_forward(*inputs, **named)
        raise _ReachedError(output[0] if isinstance(output, tuple) else output)

    above, last = _layer_above(model, n_layers), layers[n_layers - 1]
    last_forward = last.forward
    stopping = installed(last, stop_after) if above is None else installed(above, stop)
    with installed(first, embed_token_ids), stopping:
        try:
            compute()
        except _ReachedError as reached:
            return given[0], reached.states
    raise RuntimeError("the model has not gone through its layers")


@contextlib.contextmanager
def begin_above(model: nn.Module, n_layers: int, read: Read) -> Iterator[None]:
    """A context in which the model starts above its frozen layers, with hidden states from `read`.

    Args:
        model: model of transformers.
        n_layers: number of frozen layers.
        read: function from `input_ids` to hidden states.
    """
    import torch

    first, *others = heads.embeddings(model)

    def give_states(_: nn.Module, input_ids: torch.Tensor, *__: object, **___: object) -> torch.Tensor:
        return read(input_ids)

    def add_nothing(*_: object, **__: object) -> torch.Tensor:
        return torch.zeros((), device=next(model.parameters()).device)

    with contextlib.ExitStack() as stack:
        stack.enter_context(installed(first, give_states))
        for table in others:  # of positions, which are already in the states
            stack.enter_context(installed(table, add_nothing))
        for layer in heads.encoder_layers(model)[:n_layers]:
            stack.enter_context(installed(layer, _pass_through))
        yield


def is_above(model: nn.Module) -> bool:
    """Whether the model currently starts above its frozen layers."""
    return any(is_passed_through(layer) for layer in heads.encoder_layers(model))


def is_passed_through(layer: nn.Module) -> bool:
    """Whether a layer returns its input, because the model starts above it."""
    return is_installed(layer, _pass_through)


class _ReachedError(Exception):
    """Ends a forward pass after the frozen layers; it is not an error."""

    def __init__(self, states: torch.Tensor) -> None:
        super().__init__("reached the end of the frozen layers")
        self.states = states


def _learns(modules: Iterable[nn.Module]) -> bool:
    return any(parameter.requires_grad for module in modules for parameter in module.parameters())


def _layer_above(model: nn.Module, n_layers: int) -> nn.Module | None:
    """The layer above the frozen ones, which may be the pooling layer; None if there is none."""
    layers = heads.all_layers(model)
    return layers[n_layers] if n_layers < len(layers) else None


def _pass_through(_: nn.Module, hidden_states: torch.Tensor, *__: object, **___: object) -> torch.Tensor:
    return hidden_states
