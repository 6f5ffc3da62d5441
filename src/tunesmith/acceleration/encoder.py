"""Faster code for the layers of BERT and similar encoders, on a CPU; weights and results stay the same.

`install` replaces the forward pass of a stock encoder (one of the classes in `_LAYERS`) by the blocks of
`encoder_blocks`, which compute real tokens only. Names, weights and the saved model stay those of the stock class.
In unsupported cases, the stock code runs: another class or activation, an adapter inside a layer, another device,
gradient checkpointing.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from tunesmith.acceleration import patching
from tunesmith.acceleration.dropout import Masks
from tunesmith.acceleration.encoder_blocks import (
    OPERATORS,
    AttentionBlock,
    AttentionWeights,
    FeedForwardBlock,
    FeedForwardWeights,
    Layout,
)
from tunesmith.acceleration.frozen_layers import is_passed_through
from tunesmith.acceleration.operators import note_of_absent
from tunesmith.acceleration.packed_linear import Affine, Linear, PackedLinear, can_pack
from tunesmith.acceleration.pooling import real_tokens
from tunesmith.models.trial import is_close, trying, two_texts

if TYPE_CHECKING:
    # As its relatives have them.
    from transformers.models.bert.modeling_bert import BertEncoder as Encoder
    from transformers.models.bert.modeling_bert import BertLayer as Layer
    from transformers.utils import ModelOutput

    from tunesmith.types import Model

# Encoder classes of transformers, and the class of their layers, which compute the same as `encoder_blocks`. They
# are recognised by name and module: RemBERT, XMOD and RoFormer have modules of the same names that compute more.
_LAYERS = {
    f"transformers.models.{module}.{encoder}": f"transformers.models.{module}.{layer}"
    for module, encoder, layer in (
        ("bert.modeling_bert", "BertEncoder", "BertLayer"),
        ("camembert.modeling_camembert", "CamembertEncoder", "CamembertLayer"),
        ("data2vec.modeling_data2vec_text", "Data2VecTextEncoder", "Data2VecTextLayer"),
        ("distilbert.modeling_distilbert", "Transformer", "TransformerBlock"),
        ("electra.modeling_electra", "ElectraEncoder", "ElectraLayer"),
        ("ernie.modeling_ernie", "ErnieEncoder", "ErnieLayer"),
        ("roberta.modeling_roberta", "RobertaEncoder", "RobertaLayer"),
        ("roc_bert.modeling_roc_bert", "RoCBertEncoder", "RoCBertLayer"),
        ("xlm_roberta.modeling_xlm_roberta", "XLMRobertaEncoder", "XLMRobertaLayer"),
    )
}

_TOLERANCE = 2e-5
"""Share of the largest hidden state; equal computations differ by less than 1e-6, others by 1e-2 and more."""

# Not stored in the layers, because a packed weight cannot be copied with its model.
_COPIES: weakref.WeakKeyDictionary[nn.Module, _Copies] = weakref.WeakKeyDictionary()


@dataclass(frozen=True)
class Parts:
    """The modules of one layer, by their role.

    Args:
        query: linear layer of the queries.
        key: linear layer of the keys.
        value: linear layer of the values.
        out: linear layer after the attention.
        attention_norm: normalisation after the attention.
        up: first linear layer of the feed-forward block.
        down: second linear layer of the feed-forward block.
        output_norm: normalisation after the feed-forward block.
        attention_dropout: dropout of the attention weights.
        out_dropout: dropout of the attention's output; None if the model has none.
        down_dropout: dropout of the feed-forward block's output.
        heads: number of attention heads.
        activation: activation between `up` and `down`.
    """

    query: nn.Linear
    key: nn.Linear
    value: nn.Linear
    out: nn.Linear
    attention_norm: nn.LayerNorm
    up: nn.Linear
    down: nn.Linear
    output_norm: nn.LayerNorm
    attention_dropout: nn.Dropout
    out_dropout: nn.Dropout | None
    down_dropout: nn.Dropout
    heads: int
    activation: nn.Module

    @property
    def linear(self) -> tuple[nn.Linear, ...]:
        """The six linear layers."""
        return self.query, self.key, self.value, self.out, self.up, self.down

    def is_known(self) -> bool:
        """Whether the blocks compute the same: no module was replaced, and the activation is exact GELU."""
        norms = (self.attention_norm, self.output_norm)
        return (
            all(type(module) is nn.Linear and module.bias is not None for module in self.linear)
            and all(type(module) is nn.LayerNorm for module in norms)
            and _is_gelu(self.activation)
        )


def install(model: Model) -> str:
    """Replaces the forward pass of the model's encoder, if its class is supported.

    The outputs for two short texts are compared with the stock code, which is used if they differ.

    Returns:
        A note if a supported class has to run with the stock code; otherwise an empty string.
    """
    absent = note_of_absent(OPERATORS, "the fast encoder")
    if absent or not use_fast_encoder(model):
        return absent if _encoder(model) is not None else ""
    fast = _last_states(model)
    use_stock_encoder(model)
    if is_close(fast, _last_states(model), _TOLERANCE):
        use_fast_encoder(model)
        return ""
    return (
        f"the fast encoder computes something else than `{type(model.base_model).__name__}` of this version of "
        "transformers: the stock code runs, and is slower"
    )


def use_fast_encoder(model: Model) -> bool:
    """Replaces the forward pass without a comparison; returns False if the encoder is not supported."""
    encoder = _encoder(model)
    if encoder is None or not any(_parts(layer).is_known() for layer in encoder.layer):
        return False
    if any(
        parameter.is_inference() for parameter in encoder.parameters()
    ):  # torch does not count their changes
        return False
    patching.install(encoder, _forward)
    return True


def use_stock_encoder(model: Model) -> None:
    """Undoes `use_fast_encoder`."""
    encoder = _encoder(model)
    if encoder is not None:
        patching.remove(encoder, _forward)


def _last_states(model: Model) -> torch.Tensor:
    """Outputs of the model's body for the real tokens of two texts, [tokens, d], without dropout."""
    batch = two_texts(model)
    with trying(model):
        states: torch.Tensor = model.base_model(**batch)[0]
    real = batch["attention_mask"].bool()
    return (
        states[real] if states.shape[1] == real.shape[1] else states[:, 0]
    )  # after a pooling layer there is one token


def _encoder(model: Model) -> Encoder | None:
    """The module that runs one layer after the other, if it and its layers are of supported classes."""
    body = model.base_model
    encoder: Encoder = getattr(body, "encoder", None) or getattr(body, "transformer", None)
    layer_class = _LAYERS.get(_class_name(encoder))
    if layer_class is None or getattr(model.config, "is_decoder", False):
        return None
    return encoder if all(_class_name(layer) == layer_class for layer in encoder.layer) else None


def _class_name(module: nn.Module) -> str:
    return f"{type(module).__module__}.{type(module).__qualname__}"


def _forward(
    encoder: Encoder,
    hidden_states: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    **options: object,
) -> ModelOutput:
    """Replaces the stock forward pass, for hidden states [b, s, d] and a mask of transformers."""
    if hidden_states.device.type != "cpu" or _is_checkpointing(encoder):
        return type(encoder).forward(encoder, hidden_states, attention_mask, **options)
    from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions as Output

    walk = _Walk(hidden_states, attention_mask)
    for layer in encoder.layer:
        if is_passed_through(layer):
            continue
        parts = None if "forward" in layer.__dict__ else _parts(layer)
        if parts is not None and parts.is_known():
            walk.through(layer, parts)
        else:
            walk.through_stock(layer, **options)
    return Output(last_hidden_state=walk.padded())


class _Walk:
    """The hidden states between the layers, without padding until a stock layer or the caller needs it."""

    def __init__(self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None) -> None:
        self._padded: torch.Tensor | None = hidden_states
        self._tokens: torch.Tensor | None = None
        self._mask, self._shape = attention_mask, hidden_states.shape
        self.dtype = _arithmetic(hidden_states)
        real = real_tokens(attention_mask)
        self.layout = Layout.of(real, self._shape[0], self._shape[1], self.dtype)
        self.masks: Masks | None = None

    def through(self, layer: Layer, parts: Parts) -> None:
        """Computes a layer with our blocks."""
        attention, feed_forward = _weights(layer, parts, self.dtype, learns=self._learns(layer))
        shares, first, second = self._draw(layer, parts)
        x = AttentionBlock.apply(  # type: ignore[no-untyped-call]
            self.tokens(), self.layout, attention, (shares, first),
            *_of(parts.query), *_of(parts.key), *_of(parts.value), *_of(parts.out), *_of(parts.attention_norm),
        )  # fmt: skip
        self._tokens = FeedForwardBlock.apply(  # type: ignore[no-untyped-call]
            x, feed_forward, second, *_of(parts.up), *_of(parts.down), *_of(parts.output_norm)
        )
        self._padded = None

    def through_stock(self, layer: Layer, **options: object) -> None:
        """Computes a layer with the stock code."""
        self._padded, self._tokens = layer(self.padded(), self._mask, **options), None

    def tokens(self) -> torch.Tensor:
        """Hidden states of the real tokens [t, d], not in half precision."""
        if self._tokens is None:
            assert self._padded is not None
            flat = self._padded.reshape(-1, self._shape[2])
            tokens = self.layout.enter(flat)
            self._tokens = tokens.float() if tokens.dtype.itemsize < 4 else tokens
        return self._tokens

    def padded(self) -> torch.Tensor:
        """Hidden states with padding [b, s, d]."""
        if self._padded is None:
            assert self._tokens is not None
            self._padded = self.layout.leave(self._tokens, self._shape[1]).view(self._shape)
        return self._padded

    def _learns(self, layer: Layer) -> bool:
        """Whether a backward pass through the layer is possible."""
        if not torch.is_grad_enabled():
            return False
        return self.tokens().requires_grad or any(p.requires_grad for p in layer.parameters())

    def _draw(self, layer: Layer, parts: Parts) -> tuple[torch.Tensor | None, ...]:
        if not layer.training:
            return None, None, None
        self.masks = self.masks or Masks(self.dtype)
        tokens, longest = self.tokens(), self.layout.longest
        shares = (self.layout.sequences * parts.heads, longest, longest)
        return (
            self.masks.draw(_probability(parts.attention_dropout), *shares),
            self.masks.draw(_probability(parts.out_dropout), *tokens.shape),
            self.masks.draw(_probability(parts.down_dropout), *tokens.shape),
        )


def _arithmetic(hidden_states: torch.Tensor) -> torch.dtype:
    """The type of autocast, or else of the hidden states."""
    if torch.is_autocast_enabled("cpu"):
        return torch.get_autocast_dtype("cpu")
    return hidden_states.dtype


def _weights(
    layer: Layer, parts: Parts, dtype: torch.dtype, *, learns: bool
) -> tuple[AttentionWeights, FeedForwardWeights]:
    """The layer's weights in this type; they are copied again only after a change."""
    kind = (dtype, not learns and can_pack(dtype))
    kept = _COPIES.get(layer)
    if kept is None or kept.kind != kind:
        kept = _COPIES[layer] = _Copies(*kind)
    return kept.fresh(parts)


class _Copies:
    """Copies of a layer's weights in the type of the products; query, key and value are one matrix.

    For inference, they are packed.
    """

    def __init__(self, dtype: torch.dtype, is_packed: bool) -> None:
        self.kind = (dtype, is_packed)
        self._linear: list[Affine] = []
        self._versions: tuple[tuple[int, int], ...] = ()

    def fresh(self, parts: Parts) -> tuple[AttentionWeights, FeedForwardWeights]:
        """The current weights."""
        versions = tuple((p.data_ptr(), p._version) for module in parts.linear for p in _of(module))
        if versions != self._versions:
            # The copies are ordinary tensors, also if the first pass is in inference mode.
            with torch.inference_mode(False), torch.no_grad():
                self._copy(parts)
            self._versions = versions
        qkv, out, up, down = self._linear
        first, second = parts.attention_norm, parts.output_norm
        return (
            AttentionWeights(qkv, out, _detached(first), float(first.eps), parts.heads),
            FeedForwardWeights(up, down, _detached(second), float(second.eps)),
        )

    def _copy(self, parts: Parts) -> None:
        groups = ((parts.query, parts.key, parts.value), (parts.out,), (parts.up,), (parts.down,))
        dtype, is_packed = self.kind
        if is_packed:
            self._linear = [PackedLinear(*_filled(_room(group, dtype), group)) for group in groups]
        else:
            rooms = [(kept.weight, kept.bias) for kept in self._linear if isinstance(kept, Linear)]
            rooms = rooms or [_room(group, dtype) for group in groups]
            self._linear = [Linear(*_filled(room, group)) for room, group in zip(rooms, groups, strict=True)]


Pair = tuple[torch.Tensor, torch.Tensor]


def _room(modules: Sequence[nn.Linear], dtype: torch.dtype) -> Pair:
    """Empty tensors for the weights and the biases of linear layers, one below the other."""
    rows = sum(module.out_features for module in modules)
    return torch.empty(rows, modules[0].in_features, dtype=dtype), torch.empty(rows, dtype=dtype)


def _filled(room: Pair, modules: Sequence[nn.Linear]) -> Pair:
    for which in (0, 1):
        for position, module in zip(room[which].chunk(len(modules)), modules, strict=True):
            position.copy_(_of(module)[which])
    return room


def _of(module: nn.Linear | nn.LayerNorm) -> Pair:
    return module.weight, module.bias


def _detached(module: nn.LayerNorm) -> Pair:
    return module.weight.detach(), module.bias.detach()


def _probability(dropout: nn.Dropout | None) -> float:
    return float(dropout.p) if dropout is not None and dropout.training else 0.0


def _is_checkpointing(encoder: Encoder) -> bool:
    return any(getattr(layer, "gradient_checkpointing", False) for layer in encoder.layer)


def _is_gelu(activation: nn.Module) -> bool:
    name = type(activation).__name__
    return name == "GELUActivation" or (name == "GELU" and activation.approximate == "none")


def _parts(layer: Layer) -> Parts:
    if hasattr(layer, "sa_layer_norm"):  # DistilBERT
        attention, inner = layer.attention, layer.ffn
        return Parts(
            attention.q_lin, attention.k_lin, attention.v_lin, attention.out_lin, layer.sa_layer_norm,
            inner.lin1, inner.lin2, layer.output_layer_norm, attention.dropout, None, inner.dropout,
            attention.n_heads, inner.activation,
        )  # fmt: skip
    own, after = layer.attention.self, layer.attention.output
    return Parts(
        own.query, own.key, own.value, after.dense, after.LayerNorm,
        layer.intermediate.dense, layer.output.dense, layer.output.LayerNorm,
        own.dropout, after.dropout, layer.output.dropout,
        own.num_attention_heads, layer.intermediate.intermediate_act_fn,
    )  # fmt: skip
