"""Likelihoods of texts, for the tasks whose model predicts tokens."""

from __future__ import annotations

import copy
import inspect
import tempfile
import weakref
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.encoded import Lost
from tunesmith.metrics import Statistics, language_modelling
from tunesmith.tasks import (
    IGNORED,
    MODEL_INPUTS,
    TASKS,
    Batch,
    Encoded,
    EvalPredictions,
    LossOptions,
    Prediction,
)
from tunesmith.tasks._texts import classification_loss

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from tunesmith.tasks import Task
    from tunesmith.types import JsonObject, Model, Tokenizer

_MOST_ADDED = 200
_SAMPLES = 100
_TRIED_TOKENS = 16
_SAME = 1e-6
"""Tolerance relative to the largest logit: it is the same product in the same precision, and a cap changes small
logits little."""
_ENDS: weakref.WeakKeyDictionary[Model, bool] = weakref.WeakKeyDictionary()
"""Models that were tried, see `_ends_in_a_product`."""
_EVERYWHERE, _AT_THE_BEGINNING = '"prepend_scheme":"always"', '"prepend_scheme":"first"'


def summed_nll(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """[b, 2]: each sequence's negative log-likelihood in nats, and its number of scored tokens.

    Args:
        logits: [b, s, v], each at the position of its label.
        labels: [b, s].
    """
    import torch
    from torch.nn import functional as F

    precise = logits.float() if logits.dtype.itemsize < 4 else logits
    each = F.cross_entropy(precise.transpose(1, 2), labels, ignore_index=IGNORED, reduction="none")
    return torch.stack([each.sum(1), (labels != IGNORED).sum(1).to(each.dtype)], dim=1)


def plain_reader() -> Task:
    """The task that reads plain texts with a decoder, for their likelihood."""
    return TASKS.get("text-generation")


def forward_where_labelled(model: Model, batch: Batch) -> torch.Tensor:
    """Logits of the positions whose next token has a label; of all positions [b, s, v] without labels.

    The output layer of a small model takes a fifth of the time, and its logits a third of the memory. Prompts have
    no labels, so most of both is saved. Where the logits are the product of the last hidden states with the output
    layer and nothing else, exactly the needed ones are computed, [n, v] in the order of rows and tokens. Other
    classes compute the positions that any row needs, [b, k, v], or all.
    """
    inputs: JsonObject = {name: value for name, value in batch.items() if name in MODEL_INPUTS}
    if "position_ids" in inputs:
        inputs["use_cache"] = False  # see Task.forward
    plain = getattr(model, "module", model)
    if "labels" in batch and bool((labelled := _is_labelled(batch["labels"])).any()):
        if _ends_in_a_product(plain, inputs):
            hidden = plain.base_model(**{**inputs, "use_cache": False})[0]
            chosen: torch.Tensor = plain.get_output_embeddings()(hidden[:, :-1][labelled])
            return chosen
        if "logits_to_keep" in inspect.signature(type(plain).forward).parameters:
            inputs["logits_to_keep"] = labelled.any(0).nonzero()[:, 0]
    logits: torch.Tensor = model(**inputs).logits
    return logits


def _is_labelled(labels: torch.Tensor) -> torch.Tensor:
    """[b, s - 1], whether the next token of a position has a label."""
    return labels[:, 1:] != IGNORED


def _ends_in_a_product(model: Model, inputs: JsonObject) -> bool:
    """Whether the logits are the product of the last hidden states with the output layer; tried on a few tokens.

    Some classes scale their logits, or cap them.
    """
    if model not in _ENDS:
        _ENDS[model] = hasattr(model, "base_model") and _is_a_product(model, inputs)
    return _ENDS[model]


def _is_a_product(model: Model, inputs: JsonObject) -> bool:
    import torch

    body, head = model.base_model, model.get_output_embeddings()
    if body is model or head is None:
        return False
    few = {
        name: value[:1, :_TRIED_TOKENS] if isinstance(value, torch.Tensor) else value
        for name, value in {**inputs, "use_cache": False}.items()
    }
    modes = {module: module.training for module in model.modules()}
    model.eval()  # which draws no random number
    try:
        with torch.no_grad():
            expected, found = model(**few).logits, head(body(**few)[0])
    except (TypeError, AttributeError, RuntimeError, KeyError):  # the class takes other arguments
        return False
    finally:
        for module, mode in modes.items():
            module.training = mode
    return expected.shape == found.shape and bool(
        (expected - found).abs().max() <= _SAME * expected.abs().max()
    )


def next_token(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and labels, aligned: a position predicts the token after it.

    Args:
        logits: [b, s, v], or what `forward_where_labelled` gives.
        labels: [b, s].

    Returns:
        Logits [b, s - 1, v] and labels [b, s - 1]; or [b, k, v] and [b, k]; or [n, v] and [n].
    """
    if logits.ndim == 2:
        return logits, labels[:, 1:][_is_labelled(labels)]
    if logits.shape[1] == labels.shape[1]:
        return logits[:, :-1], labels[:, 1:]
    return logits, labels[:, 1:][:, _is_labelled(labels).any(0)]


def next_token_nll(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """[b, 2]: each sequence's negative log-likelihood in nats, and its number of scored tokens.

    Args:
        logits: as in `next_token`.
        labels: [b, s].
    """
    import torch
    from torch.nn import functional as F

    aligned, targets = next_token(logits, labels)
    if aligned.ndim == 3:
        return summed_nll(aligned, targets)
    precise = aligned.float() if aligned.dtype.itemsize < 4 else aligned
    each, labelled = F.cross_entropy(precise, targets, reduction="none"), _is_labelled(labels)
    sums = each.new_zeros(len(labels)).index_add(0, labelled.nonzero()[:, 0], each)
    return torch.stack([sums, labelled.sum(1).to(sums.dtype)], dim=1)


def next_token_loss(logits: torch.Tensor, batch: Batch, options: LossOptions) -> torch.Tensor:
    """The cross-entropy of each labelled token given the tokens before it, summed."""
    return classification_loss(*next_token(logits, batch["labels"]), options)


def supervised(encoded: Encoded) -> NDArray[np.int64]:
    """[sequences], number of tokens with a label and a token before them."""
    labels = encoded.ragged["labels"]
    counted = (labels.values != IGNORED).astype(np.int64)
    counted[labels.offsets[:-1][labels.lengths > 0]] = 0
    return labels.sums(counted)


def windows(
    ids: Sequence[int], labels: Sequence[int], max_length: int | None, overlap: int
) -> list[tuple[list[int], list[int]]]:
    """A long sequence in windows of at most `max_length`; shared tokens have labels in the first window only.

    So every token is predicted once, with at least `overlap` tokens before it (strided evaluation), and at least
    one: there is nothing before the first token of a window to predict it from.
    """
    overlap = max(overlap, 1)
    if max_length is None or len(ids) <= max_length:
        return [(list(ids), list(labels))]
    found = []
    step = max(max_length - overlap, 1)
    for start in range(0, max(len(ids) - overlap, 1), step):
        new = labels[start : start + max_length]
        seen_before = min(overlap if start else 0, len(new))
        found.append(
            (list(ids[start : start + max_length]), [IGNORED] * seen_before + list(new[seen_before:]))
        )
    return found


def encoded_windows(
    rows: Sequence[tuple[Sequence[int], Sequence[int], int]],
    max_length: int | None,
    overlap: int,
    lost: Lost | None = None,
) -> Encoded:
    """Rows of (ids, labels, bytes) in windows; the first window of a row has its bytes.

    Args:
        rows: rows in full, or as they were cut.
        max_length: most tokens of a window.
        overlap: number of tokens that windows share.
        lost: what was cut before, by kind.
    """
    parts = [
        (number, window, n_bytes * (position == 0))
        for number, (ids, labels, n_bytes) in enumerate(rows)
        for position, window in enumerate(windows(ids, labels, max_length, overlap))
    ]
    return Encoded.of(
        {"input_ids": [ids for _, (ids, _), _ in parts], "labels": [labels for _, (_, labels), _ in parts]},
        {"n_bytes": np.array([n for _, _, n in parts], dtype=np.int64)},
        rows=[number for number, _, _ in parts],
        n_rows=len(rows),
        lost=lost,
    )


def statistics_of_texts(evaluated: EvalPredictions) -> Statistics:
    """[rows, 4], statistics for `language_modelling.formula`."""
    nll, tokens = by_row(evaluated).T
    return language_modelling.statistics(
        nll, tokens, evaluated.encoded.sum_by_row(evaluated.encoded.dense["n_bytes"])
    )


def bits_per_byte(evaluated: EvalPredictions) -> NDArray[np.float64]:
    """[rows], bits per byte of each row."""
    nll, _ = by_row(evaluated).T
    n_bytes = evaluated.encoded.sum_by_row(evaluated.encoded.dense["n_bytes"])
    return np.asarray(nll / np.log(2) / np.maximum(n_bytes, 1.0))


def scored_texts(evaluated: EvalPredictions, key: str) -> list[Prediction]:
    """One answer per row: its bits per byte, and the generated text if there is one."""
    texts = list(evaluated.texts or ())
    return [
        {"bits_per_byte": round(float(bits), 4)} | ({key: texts[row]} if row < len(texts) else {})
        for row, bits in enumerate(bits_per_byte(evaluated))
    ]


def by_row(evaluated: EvalPredictions) -> NDArray[np.float64]:
    """[rows, 2]: negative log-likelihood and scored tokens, over all windows of each row."""
    return evaluated.encoded.sum_by_row(np.asarray(evaluated.outputs, dtype=np.float64)[:, :2])


def mean_nll(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Nats per token from sums [..., (nll, tokens, …)]; 0 if no token was scored."""
    return np.asarray(sums[..., 0] / np.maximum(sums[..., 1], 1.0))


def add_unknown_characters(rows: Sequence[str], tokenizer: Tokenizer) -> list[str]:
    """Adds characters of the texts that a tokenizer encodes as its unknown token.

    Only characters that occur in two rows or more are added, and only if the saved and reloaded tokenizer then
    decodes their texts correctly: some tokenizers put spaces around added tokens.

    Returns:
        The characters that were added.
    """
    if tokenizer.unk_token_id is None or not rows:
        return []
    counts = Counter(character for text in rows for character in set(text))
    often = sorted(character for character, n in counts.items() if n > 1)
    encoded = tokenizer(often, add_special_tokens=False, verbose=False)["input_ids"] if often else []
    missing = [c for c, ids in zip(often, encoded, strict=True) if tokenizer.unk_token_id in ids][
        :_MOST_ADDED
    ]
    if not missing:
        return []
    samples = [text for text in rows if set(text) & set(missing)][:_SAMPLES]
    changed = _read_again(_with_characters(tokenizer, missing))
    if _written_as_read(samples, changed) <= _written_as_read(samples, tokenizer):
        return []
    _with_characters(tokenizer, missing, in_place=True)
    return missing


def _with_characters(tokenizer: Tokenizer, characters: Sequence[str], *, in_place: bool = False) -> Tokenizer:
    """The tokenizer, or a copy of it, with characters added.

    A tokenizer that writes a space before every piece of text must do so only at the beginning: the text after an
    added character is not a new word.
    """
    import tokenizers

    changed = tokenizer if in_place else copy.deepcopy(tokenizer)
    state = tokenizer.backend_tokenizer.to_str()
    # Only the pre-tokenizer and the decoder have such a key.
    changed._tokenizer = tokenizers.Tokenizer.from_str(state.replace(_EVERYWHERE, _AT_THE_BEGINNING))
    changed.add_tokens(list(characters))
    return changed


def _read_again(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer after saving and loading: some classes then build their rules again."""
    from transformers import AutoTokenizer

    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def _written_as_read(texts: Sequence[str], tokenizer: Tokenizer) -> int:
    """Number of texts that the tokenizer decodes to the original."""
    ids = tokenizer(list(texts), verbose=False)["input_ids"]
    back = tokenizer.batch_decode(ids, skip_special_tokens=True)
    return sum(a.split() == b.split() for a, b in zip(texts, back, strict=True))
