"""Two short texts through a model, to see what it does before it is relied on.

Families differ in what their config does not say: how many positions of a table can be used, whether positions
keep packed texts apart, whether a class computes what its name suggests. A list of families would be wrong with
the next version of transformers; a pass over two texts of a few tokens takes milliseconds and is right.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn

LONGER, SHORTER = 9, 6
"""Tokens of the two texts."""
_SPECIAL = ("pad_token_id", "bos_token_id", "eos_token_id", "sep_token_id", "mask_token_id")


def two_texts(model: Any) -> dict[str, torch.Tensor]:
    """A batch of two texts [2, s] of ordinary tokens, the second one padded; the same ones for the same model."""
    import torch

    config = model.config
    size = int(model.get_input_embeddings().weight.shape[0])
    special = {value for name in _SPECIAL if isinstance(value := getattr(config, name, None), int)}
    ordinary = torch.tensor([token for token in range(size) if token not in special][: 1 << 14] or [0])
    drawn = torch.randint(len(ordinary), (2, LONGER), generator=torch.Generator().manual_seed(0))
    input_ids, mask = ordinary[drawn], torch.ones(2, LONGER, dtype=torch.long)
    pad = getattr(config, "pad_token_id", None)
    input_ids[1, SHORTER:] = pad if isinstance(pad, int) and 0 <= pad < size else 0
    mask[1, SHORTER:] = 0
    device = next(model.parameters()).device
    return {"input_ids": input_ids.to(device), "attention_mask": mask.to(device)}


def last_states(model: Any) -> torch.Tensor:
    """What the model's body makes of the real tokens of `two_texts`, [tokens, d], without dropout."""
    batch = two_texts(model)
    real = batch["attention_mask"].bool()
    inputs: dict[str, Any] = dict(batch)
    if getattr(model.config, "is_encoder_decoder", False):
        inputs |= {"decoder_input_ids": batch["input_ids"], "decoder_attention_mask": batch["attention_mask"]}
    with trying(model):
        states: torch.Tensor = model.base_model(**inputs)[0]
    if states.shape[1] != real.shape[1]:  # a pooling layer gives one token alone
        return states[:, 0]
    return states[real]


def is_close(one: torch.Tensor, other: torch.Tensor, tolerance: float) -> bool:
    """Whether two results differ by at most this share of their largest value; both finite in the same places."""
    if one.shape != other.shape or not one.isfinite().equal(other.isfinite()):
        return False
    difference = (one - other).nan_to_num(0.0, 0.0, 0.0).abs().max()
    return bool(difference <= tolerance * other.nan_to_num(0.0, 0.0, 0.0).abs().max())


@contextlib.contextmanager
def trying(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; every module is in the mode that it was in afterwards."""
    import torch

    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode
