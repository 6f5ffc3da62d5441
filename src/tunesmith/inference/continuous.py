"""A decoder writes many texts at once, and a text that ends makes room for the next one.

Each step computes one token of every text. New prompts are read together, and their keys and values join those of
the others, padded on the left. The columns that are padding for all texts go. So a batch never waits for its
longest text (Yu et al. 2022, "Orca"). A class that gives other scores in a batch than alone, which is tried once
(`generation`), writes one text at a time.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tunesmith.acceleration.evaluating import evaluating
from tunesmith.inference.generation import cached_tokens, end_tokens, reads_past_padding
from tunesmith.inference.sampling import Choice, follows, next_token
from tunesmith.models.device import autocast, device_of, without_plans
from tunesmith.models.padding import padding_matters

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import torch

    from tunesmith.inference.predictor import Predictor
    from tunesmith.types import Model, Tokenizer

_MOST_TEXTS = 64


def writes_by_tokens(predictor: Predictor) -> bool:
    """Whether `Continuous` writes the texts of a run: it is a decoder whose settings can be followed."""
    model = predictor.model
    if predictor.task.generation is None or model.config.is_encoder_decoder:
        return False
    return follows(model.generation_config)


@dataclass(eq=False)
class Text:
    """A text that is being written.

    Args:
        prompt: token ids.
        most_tokens: tokens that may be written.
        choice: how the next token is chosen.
        owner: whatever the caller wants to find again.
    """

    prompt: Sequence[int]
    most_tokens: int
    choice: Choice = field(default_factory=Choice)
    owner: Any = None
    written: list[int] = field(default_factory=list)
    ended: bool = False
    """Whether it ended by itself."""
    is_over: bool = False
    """Whether it ended, or has no room left; a caller may set it."""

    @cached_property
    def generator(self) -> torch.Generator:
        """The random generator of this text."""
        import torch

        return torch.Generator().manual_seed(self.choice.seed)

    @property
    def length(self) -> int:
        """Number of tokens of the prompt and what may be written."""
        return len(self.prompt) + self.most_tokens


class Continuous:
    """Writes texts.

    Args:
        model: a decoder.
        tokenizer: tokenizer of the model.
        bf16: whether to compute in bfloat16.
    """

    def __init__(self, model: Model, tokenizer: Tokenizer, *, bf16: bool = False) -> None:
        self.model, self.bf16 = model, bf16
        self.texts: list[Text] = []
        self._pad = tokenizer.pad_token_id
        self._ends = end_tokens(model)
        self._cache: Any = None
        self._mask: Any = None
        self._most_tokens = cached_tokens(model)
        taken = inspect.signature(model.forward).parameters
        self._takes = {name for name in ("position_ids", "logits_to_keep") if name in taken}
        alone = (
            padding_matters(model)
            or not reads_past_padding(model, tokenizer)
            # Other layers keep a window or a state, which cannot be padded on the left.
            or any(type(layer).__name__ != "DynamicLayer" for layer in self._new_cache().layers)
        )
        self._most_texts = 1 if alone else _MOST_TEXTS

    def has_room_for(self, text: Text, besides: Sequence[Text] = ()) -> bool:
        """Whether a text can join those that are being written, and others that will join with it."""
        others = [*self.texts, *besides]
        if not others:
            return True
        longest = max(one.length for one in (*others, text))
        return len(others) < self._most_texts and longest * (len(others) + 1) <= self._most_tokens

    def start(self, texts: Sequence[Text]) -> None:
        """Reads the prompts of new texts, and writes the first token of each."""
        import torch

        longest = max(len(text.prompt) for text in texts)
        ids = torch.full((len(texts), longest), self._pad)
        mask = torch.zeros_like(ids)
        for row, text in enumerate(texts):
            ids[row, longest - len(text.prompt) :] = torch.tensor(text.prompt)
            mask[row, longest - len(text.prompt) :] = 1
        cache = self._new_cache()
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        with self._computing():
            logits = self._logits(ids, mask, positions, cache)
            self._write(texts, logits)
            self._join(texts, cache, mask)
            self._drop()

    def step(self) -> None:
        """Writes one more token of every text; texts that are over leave."""
        import torch

        ids = torch.tensor([[text.written[-1]] for text in self.texts])
        positions = torch.tensor([[len(text.prompt) + len(text.written) - 1] for text in self.texts])
        with self._computing():
            self._mask = torch.cat([self._mask, self._mask.new_ones(len(self.texts), 1)], dim=1)
            self._write(self.texts, self._logits(ids, self._mask, positions, self._cache))
            self._drop()

    def drop(self) -> None:
        """Leaves out texts that are over because the caller says so."""
        if any(text.is_over for text in self.texts):
            with self._computing():
                self._drop()

    def _computing(self) -> _Computing:
        return _Computing(self.model, self.bf16)

    def _new_cache(self) -> Any:
        from transformers import DynamicCache

        return DynamicCache(config=self.model.config)

    def _logits(self, ids: Any, mask: Any, positions: Any, cache: Any) -> torch.Tensor:
        """The scores [b, v] of the next token of each text."""
        given = {"position_ids": positions.to(device_of(self.model)), "logits_to_keep": 1}
        device = device_of(self.model)
        made = self.model(
            input_ids=ids.to(device),
            attention_mask=mask.to(device),
            past_key_values=cache,
            use_cache=True,
            **{name: given[name] for name in self._takes},
        )
        logits: torch.Tensor = made.logits[:, -1].float().cpu()
        return logits

    def _write(self, texts: Sequence[Text], logits: torch.Tensor) -> None:
        import torch

        likeliest = logits.argmax(-1).tolist()
        for row, text in enumerate(texts):
            token = likeliest[row]
            if not text.choice.is_plain:
                before = torch.tensor([[*text.prompt, *text.written]])
                token = next_token(logits[row], before, text.choice, text.generator)
            text.ended = token in self._ends
            if not text.ended:
                text.written.append(token)
            text.is_over = text.is_over or text.ended or len(text.written) >= text.most_tokens

    def _join(self, texts: Sequence[Text], cache: Any, mask: torch.Tensor) -> None:
        import torch

        if not self.texts:
            self._cache, self._mask = cache, mask
        else:
            longest = max(self._mask.shape[1], mask.shape[1])
            for ours, theirs in zip(self._cache.layers, cache.layers, strict=True):
                ours.keys = torch.cat([_widened(ours.keys, longest), _widened(theirs.keys, longest)])
                ours.values = torch.cat([_widened(ours.values, longest), _widened(theirs.values, longest)])
            wide = (torch.nn.functional.pad(one, (longest - one.shape[1], 0)) for one in (self._mask, mask))
            self._mask = torch.cat(list(wide))
        self.texts = [*self.texts, *texts]

    def _drop(self) -> None:
        """Leaves out what is over, and columns that are padding for all others."""
        import torch

        left = [row for row, text in enumerate(self.texts) if not text.is_over]
        if len(left) == len(self.texts):
            return
        self.texts = [self.texts[row] for row in left]
        if not left:
            self._cache = self._mask = None
            return
        rows = torch.tensor(left)
        self._mask = self._mask[rows]
        first = int(self._mask.any(0).int().argmax())
        self._mask = self._mask[:, first:]
        self._cache.batch_select_indices(rows.to(device_of(self.model)))
        for layer in self._cache.layers:
            layer.keys, layer.values = layer.keys[..., first:, :], layer.values[..., first:, :]


class _Computing:
    """A context in which the model computes."""

    def __init__(self, model: Model, bf16: bool) -> None:
        self._contexts = (evaluating(model), without_plans(device_of(model)), autocast(model, bf16=bf16))

    def __enter__(self) -> None:
        for context in self._contexts:
            context.__enter__()

    def __exit__(self, *error: Any) -> None:
        for context in reversed(self._contexts):
            context.__exit__(*error)


def _widened(states: torch.Tensor, length: int) -> torch.Tensor:
    """Keys or values [b, h, s, d], padded on the left."""
    import torch

    return torch.nn.functional.pad(states, (0, 0, length - states.shape[-2], 0))


def write(continuous: Continuous, texts: Sequence[Text]) -> Iterator[Text]:
    """Writes all texts, as many at once as have room, and gives each when it is over."""
    waiting = list(texts)
    while waiting or continuous.texts:
        joining: list[Text] = []
        while waiting and continuous.has_room_for(waiting[0], joining):
            joining.append(waiting.pop(0))
        before = [*continuous.texts, *joining]
        if joining:
            continuous.start(joining)
        else:
            continuous.step()
        yield from (text for text in before if text.is_over)
