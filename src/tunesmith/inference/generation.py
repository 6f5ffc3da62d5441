"""Texts that a model writes: batches of similar length, padded on the left for decoders, order restored."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.batches import collate, plan_in_order
from tunesmith.encoded import Encoded
from tunesmith.inference.forward import Advance, arithmetic, evaluating, to_device

_TOKENS_PER_BATCH = 4096
_SAMPLING_SEED = 0


def generate(
    model: Any,
    tokenizer: Any,
    encoded: Encoded,
    *,
    tokens_per_batch: int = _TOKENS_PER_BATCH,
    bf16: bool = False,
    advance: Advance | None = None,
) -> list[str]:
    """One text a sequence, in the order of the sequences, as the model's generation settings say.

    Args:
        model: a decoder, or an encoder with a decoder.
        tokenizer: of the model.
        encoded: prompts, or what the encoder reads.
        tokens_per_batch: padded tokens of one batch, with those to come.
        bf16: compute in bfloat16.
        advance: called with sequences done and sequences in all.
    """
    import torch

    texts = [""] * len(encoded)
    prompts = Encoded({"input_ids": encoded.ragged["input_ids"]}, {}, encoded.rows, encoded.n_rows)
    written = int(model.generation_config.max_new_tokens or 0)
    done = 0
    draws = bool(model.generation_config.do_sample)
    with evaluating(model), arithmetic(model, bf16=bf16), torch.random.fork_rng(enabled=draws):
        if draws:
            torch.manual_seed(_SAMPLING_SEED)
        for sequences in plan_in_order(prompts.lengths + written, tokens_per_batch):
            for sequence, text in zip(sequences, _texts(model, tokenizer, prompts, sequences), strict=True):
                texts[sequence] = text
            done += len(sequences)
            if advance is not None:
                advance(done, len(encoded))
    return texts


def _texts(model: Any, tokenizer: Any, prompts: Encoded, sequences: NDArray[np.int64]) -> list[str]:
    is_decoder = not model.config.is_encoder_decoder
    batch = collate(
        prompts.take(sequences),
        pad_token_id=tokenizer.pad_token_id,
        padding_side="left" if is_decoder else "right",
    )
    tokens = model.generate(**to_device(batch, model), pad_token_id=tokenizer.pad_token_id)
    new = tokens[:, batch["input_ids"].shape[1] :] if is_decoder else tokens[:, 1:]
    ends = _end_tokens(model)
    written = [_until_the_end(row, ends) for row in new.tolist()]
    return list(tokenizer.batch_decode(written, skip_special_tokens=True))


def _end_tokens(model: Any) -> set[int]:
    ends = model.generation_config.eos_token_id
    return set(ends) if isinstance(ends, list) else {ends}


def _until_the_end(tokens: list[int], ends: set[int]) -> list[int]:
    """What stands before the first token that ends a text; some tokenizers do not know it for a special one."""
    stop = next((place for place, token in enumerate(tokens) if token in ends), len(tokens))
    return tokens[:stop]
