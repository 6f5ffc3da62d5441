"""A decoder writes many texts at once, and a text that ends makes room for the next one.

Each step computes one token of every text. New prompts are read together, and their keys and values join those of
the others, padded on the left. The columns that are padding for all texts go. So a batch never waits for its
longest text (Yu et al. 2022, "Orca").

Whether a class of model can do so is tried with two short texts before it is relied on: each score must be that
of a pass over the whole text. Classes that keep a window or a state for each layer write one text at a time, and
those with a cache of another kind are left to transformers.
"""

from __future__ import annotations

import inspect
import weakref
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tunesmith.acceleration.evaluating import evaluating
from tunesmith.inference.generation import cached_tokens, end_tokens, reads_past_padding
from tunesmith.inference.sampling import Choice, follows, next_token
from tunesmith.models.device import autocast, device_of, without_plans
from tunesmith.models.out_of_memory import is_out_of_memory
from tunesmith.models.padding import padding_matters
from tunesmith.models.quiet import quiet
from tunesmith.models.trial import is_close, two_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import torch

    from tunesmith.inference.predictor import Predictor
    from tunesmith.types import Model, Tokenizer

_MOST_TEXTS = 64
_TRIED_TOKENS = 4
_TOLERANCE = 1e-3
"""Share of the largest score; rounding changes 1e-5, a wrong position or a lost state 1e-2 and more."""

_AT_ONCE: weakref.WeakKeyDictionary[Model, int] = weakref.WeakKeyDictionary()


def writes_by_tokens(predictor: Predictor) -> bool:
    """Whether `Continuous` writes the texts of a run: it is a decoder whose settings can be followed."""
    model = predictor.model
    if predictor.task.generation is None or model.config.is_encoder_decoder:
        return False
    return follows(model.generation_config) and bool(texts_at_once(model, predictor.tokenizer))


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
        most_texts: number of texts at once; None for what `texts_at_once` says.
    """

    def __init__(
        self, model: Model, tokenizer: Tokenizer, *, bf16: bool = False, most_texts: int | None = None
    ) -> None:
        self.model, self.bf16 = model, bf16
        self.texts: list[Text] = []
        self._pad = tokenizer.pad_token_id
        self._ends = end_tokens(model)
        self._cache: Any = None
        self._mask: Any = None
        self._most_tokens = cached_tokens(model)
        taken = inspect.signature(model.forward).parameters
        self._takes = {name for name in ("position_ids", "logits_to_keep") if name in taken}
        self._most_texts = texts_at_once(model, tokenizer) if most_texts is None else most_texts
        self.on_scores: Callable[[Text, torch.Tensor], None] | None = None
        """Called with each text and the scores [v] of its next token, before it is chosen; for the trial."""

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
            if self.on_scores is not None:
                self.on_scores(text, logits[row])
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


def texts_at_once(model: Model, tokenizer: Tokenizer) -> int:
    """The most texts that a model can write at once; 0 for a class that `Continuous` cannot use."""
    if model not in _AT_ONCE:
        together = not padding_matters(model) and reads_past_padding(model, tokenizer)
        ways = [_MOST_TEXTS, 1] if together and _has_plain_cache(model) else [1]
        _AT_ONCE[model] = next((most for most in ways if _is_right(model, tokenizer, most)), 0)
    return _AT_ONCE[model]


def _has_plain_cache(model: Model) -> bool:
    """Whether no layer keeps a window or a state, which cannot be padded on the left."""
    from transformers import DynamicCache

    return all(type(layer).__name__ == "DynamicLayer" for layer in DynamicCache(config=model.config).layers)


def _is_right(model: Model, tokenizer: Tokenizer, most_texts: int) -> bool:
    """Whether the scores of two texts, of which one comes later, are those of passes over the whole texts."""
    import torch

    rows = two_texts(model)
    prompts = [ids[mask.bool()].tolist() for ids, mask in zip(*rows.values(), strict=True)]
    first, second = (Text(prompt, _TRIED_TOKENS) for prompt in prompts)
    wrong = []

    def check(text: Text, scores: torch.Tensor) -> None:
        ids = torch.tensor([[*text.prompt, *text.written]], device=device_of(model))
        whole = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, -1].float().cpu()
        wrong.extend([] if is_close(scores, whole, _TOLERANCE) else [text])

    try:
        with quiet():
            continuous = Continuous(model, tokenizer, most_texts=most_texts)
            continuous.on_scores = check
            continuous.start([first])
            while continuous.texts and (most_texts == 1 or len(first.written) < 2):
                continuous.step()
            continuous.start([second])
            while continuous.texts:
                continuous.step()
    except Exception as error:  # whatever a class raises that has another cache
        if is_out_of_memory(error):
            raise
        return False
    return not wrong
