"""Generation of texts in batches of similar length, padded on the left for decoders, with the order restored."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tunesmith.acceleration.evaluating import evaluating
from tunesmith.data.batches import collate, plan_in_order
from tunesmith.encoded import Encoded
from tunesmith.inference.forward import Advance
from tunesmith.models.device import autocast, device_of, to_device, without_plans
from tunesmith.models.padding import padding_matters
from tunesmith.models.quiet import quiet
from tunesmith.models.trial import is_close, two_texts

if TYPE_CHECKING:
    import torch

    from tunesmith.types import Model, Tokenizer

_FEWEST_TOKENS, _MOST_TOKENS = 4096, 32_768
_CACHE_BYTES = 1e9
"""What the keys and values of one batch may take."""
_SAMPLING_SEED = 0
_TOLERANCE = 1e-4
"""Tolerance relative to the largest score: wrongly counted positions change 1e-2 of it and more."""

_PADDED: weakref.WeakKeyDictionary[Model, bool] = weakref.WeakKeyDictionary()


class Generated(NamedTuple):
    """What a model wrote: the texts, and whether each ended by itself."""

    texts: list[str]
    ended: list[bool]


def generate(
    model: Model,
    tokenizer: Tokenizer,
    encoded: Encoded,
    *,
    tokens_per_batch: int | None = None,
    bf16: bool = False,
    advance: Advance | None = None,
) -> Generated:
    """One text per prompt, in the order of the prompts, with the model's generation settings.

    Args:
        model: a decoder, or an encoder with a decoder.
        tokenizer: tokenizer of the model.
        encoded: prompts, or the inputs of the encoder.
        tokens_per_batch: most padded tokens in one batch, including those to generate; None for as many as have
            their keys and values in a gigabyte.
        bf16: whether to compute in bfloat16.
        advance: function that is called with the number of finished sequences and of all sequences.
    """
    import torch

    texts, ended = [""] * len(encoded), [False] * len(encoded)
    prompts = Encoded({"input_ids": encoded.ragged["input_ids"]}, {}, encoded.rows, encoded.n_rows)
    written = int(model.generation_config.max_new_tokens or 0)
    done = 0
    draws = bool(model.generation_config.do_sample)
    same_length = padding_matters(model) or not reads_past_padding(model, tokenizer)
    with (
        evaluating(model),
        without_plans(device_of(model)),
        autocast(model, bf16=bf16),
        torch.random.fork_rng(enabled=draws),
    ):
        if draws:
            torch.manual_seed(_SAMPLING_SEED)
        most = tokens_per_batch or cached_tokens(model)
        for sequences in plan_in_order(prompts.lengths + written, most, same_length=same_length):
            made = _texts(model, tokenizer, prompts, sequences)
            for sequence, text, ends in zip(sequences, *made, strict=True):
                texts[sequence], ended[sequence] = text, ends
            done += len(sequences)
            if advance is not None:
                advance(done, len(encoded))
    return Generated(texts, ended)


def cached_tokens(model: Model) -> int:
    """As many tokens as have their keys and values in a gigabyte: each step reads all weights, for any number."""
    config = model.config.get_text_config(decoder=True)
    layers = getattr(config, "num_hidden_layers", 0) or 0
    width = getattr(config, "hidden_size", 0) or 0
    heads = getattr(config, "num_attention_heads", 0) or 0
    if not (layers and width and heads):
        return _FEWEST_TOKENS
    cached = width * (getattr(config, "num_key_value_heads", None) or heads) / heads
    return int(np.clip(_CACHE_BYTES / (2 * layers * cached * 4), _FEWEST_TOKENS, _MOST_TOKENS))


def reads_past_padding(model: Model, tokenizer: Tokenizer) -> bool:
    """Whether a prompt that is padded on the left gives the same result as alone.

    Classes that count positions from the first token of a batch, or carry a state through the padding, give
    another result; their prompts are only batched with prompts of the same length.
    """
    if model.config.is_encoder_decoder:
        return True
    if model not in _PADDED:
        _PADDED[model] = _same_alone(model, tokenizer)
    return _PADDED[model]


def _same_alone(model: Model, tokenizer: Tokenizer) -> bool:
    """Compares the scores of the first generated token of two prompts, together and alone."""
    texts = two_texts(model)
    rows = [ids[mask.bool()].tolist() for ids, mask in zip(*texts.values(), strict=True)]
    prompts = Encoded.of({"input_ids": rows}, rows=[0, 1], n_rows=2)

    def scores(which: list[int]) -> tuple[torch.Tensor, ...]:
        batch = collate(
            prompts.take(np.array(which)), pad_token_id=tokenizer.pad_token_id, padding_side="left"
        )
        written = model.generate(
            **to_device(batch, model), max_new_tokens=1, min_new_tokens=1, num_beams=1, do_sample=False,
            output_logits=True, return_dict_in_generate=True, pad_token_id=tokenizer.pad_token_id,
        )  # fmt: skip
        steps: tuple[torch.Tensor, ...] = written.logits
        return steps

    with evaluating(model), quiet():
        together = scores([0, 1])
        alone = [scores([row]) for row in (0, 1)]
    return all(is_close(together[0][row], alone[row][0][0], _TOLERANCE) for row in (0, 1))


def _texts(
    model: Model, tokenizer: Tokenizer, prompts: Encoded, sequences: NDArray[np.int64]
) -> tuple[list[str], list[bool]]:
    is_decoder = not model.config.is_encoder_decoder
    batch = collate(
        prompts.take(sequences),
        pad_token_id=tokenizer.pad_token_id,
        padding_side="left" if is_decoder else "right",
    )
    tokens = model.generate(**to_device(batch, model), pad_token_id=tokenizer.pad_token_id)
    new = tokens[:, batch["input_ids"].shape[1] :] if is_decoder else tokens[:, 1:]
    ends = end_tokens(model)
    written = [_until_the_end(row, ends) for row in new.tolist()]
    ended = [len(row) < new.shape[1] for row in written]
    return list(tokenizer.batch_decode(written, skip_special_tokens=True)), ended


def end_tokens(model: Model) -> set[int]:
    """The tokens that end a text."""
    ends = model.generation_config.eos_token_id
    return set(ends) if isinstance(ends, list) else {ends}


def _until_the_end(tokens: list[int], ends: set[int]) -> list[int]:
    """The tokens before the first one that ends a text; some tokenizers do not mark it as special."""
    stop = next((position for position, token in enumerate(tokens) if token in ends), len(tokens))
    return tokens[:stop]
