"""How likely a language model finds each of two sentences that differ in a few words.

A masked model scores pairs as CrowS-Pairs does (Nangia et al. 2020, section 3): each token that both
sentences share is masked in turn, and the log probabilities of these tokens are added up. So the words that
differ are only read. For pronouns (WinoBias), the tokens that differ are masked and scored instead, since
what is asked is which of them the model expects. A model that predicts the next token scores whole sentences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.acceleration.evaluating import evaluating
from tunesmith.models.device import device_of

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from tunesmith.data.sentence_pairs import SentencePair
    from tunesmith.types import Model, Tokenizer

_TOKENS_AT_ONCE = 4096

Advance = Callable[[int, int], None]


@dataclass(frozen=True)
class _Question:
    """A sequence with one masked token whose probability is asked."""

    ids: list[int]
    place: int
    token: int
    of: tuple[int, int]


def pair_likelihoods(
    model: Model,
    tokenizer: Tokenizer,
    pairs: Sequence[SentencePair],
    *,
    masked: bool,
    advance: Advance | None = None,
) -> NDArray[np.float64]:
    """[pairs, 2], the score of the more and of the less stereotypical sentence, in nats.

    Args:
        model: a masked language model, or one that predicts the next token.
        tokenizer: tokenizer of the model.
        pairs: sentences.
        masked: whether it is a masked model.
        advance: function that is called with the number of finished pairs and of all pairs.
    """
    scores = np.zeros((len(pairs), 2))
    for number, pair in enumerate(pairs):
        sides = [tokenizer(text, verbose=False)["input_ids"] for text in (pair.more, pair.less)]
        if masked:
            for question, value in _answered(model, tokenizer, _questions(number, pair, sides, tokenizer)):
                scores[question.of] += value
        else:
            scores[number] = _whole(model, tokenizer, sides)
        if advance is not None:
            advance(number + 1, len(pairs))
    return scores


def shared_places(one: Sequence[int], other: Sequence[int]) -> tuple[list[int], list[int]]:
    """The places of the tokens that two sequences share, in each of them."""
    found: tuple[list[int], list[int]] = ([], [])
    for tag, a, b, c, d in SequenceMatcher(None, list(map(str, one)), list(map(str, other))).get_opcodes():
        if tag == "equal":
            found[0].extend(range(a, b))
            found[1].extend(range(c, d))
    return found


def _questions(
    number: int, pair: SentencePair, sides: Sequence[Sequence[int]], tokenizer: Tokenizer
) -> Iterator[_Question]:
    """The tokens of a pair that are scored, one masked at a time."""
    special = {tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id}
    for side, (ids, shared) in enumerate(zip(sides, shared_places(*sides), strict=True)):
        asked = shared if pair.male is None else sorted(set(range(len(ids))) - set(shared))
        for place in asked:
            if ids[place] not in special:
                # Another pronoun of the sentence would give the answer away, so all that differ are masked.
                masked = {place} if pair.male is None else set(asked)
                hidden = [tokenizer.mask_token_id if at in masked else token for at, token in enumerate(ids)]
                yield _Question(hidden, place, ids[place], (number, side))


def _answered(
    model: Model, tokenizer: Tokenizer, questions: Iterator[_Question]
) -> Iterator[tuple[_Question, float]]:
    """Each question, with the log probability of its token."""
    import torch

    asked = list(questions)
    if not asked:
        return
    width = max(len(each.ids) for each in asked)
    size = max(1, _TOKENS_AT_ONCE // width)
    for start in range(0, len(asked), size):
        some = asked[start : start + size]
        logits = _logits(model, tokenizer, [each.ids for each in some])
        places = torch.tensor([each.place for each in some], device=logits.device)
        rows = torch.arange(len(some), device=logits.device)
        found = logits[rows, places].float().log_softmax(-1)
        values = found[rows, torch.tensor([each.token for each in some], device=logits.device)]
        yield from zip(some, values.cpu().tolist(), strict=True)


def _whole(model: Model, tokenizer: Tokenizer, sides: Sequence[Sequence[int]]) -> list[float]:
    """The log likelihood of each sentence; its first token follows the one that begins a text, if there is one."""
    import torch

    begin = tokenizer.bos_token_id
    whole = [
        [begin, *ids] if begin is not None and (not ids or ids[0] != begin) else list(ids) for ids in sides
    ]
    logits = _logits(model, tokenizer, whole)
    found = []
    for row, ids in enumerate(whole):
        scores = logits[row, : len(ids) - 1].float().log_softmax(-1)
        following = torch.tensor(ids[1:], device=scores.device)[:, None]
        found.append(float(scores.gather(-1, following).double().sum()))
    return found


def _logits(model: Model, tokenizer: Tokenizer, sequences: Sequence[Sequence[int]]) -> torch.Tensor:
    import torch

    padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
    width = max(map(len, sequences))
    ids = torch.full((len(sequences), width), padding)
    mask = torch.zeros((len(sequences), width), dtype=torch.long)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = torch.tensor(sequence)
        mask[row, : len(sequence)] = 1
    device = device_of(model)
    with evaluating(model), torch.inference_mode():
        found: torch.Tensor = model(input_ids=ids.to(device), attention_mask=mask.to(device)).logits
    return found
