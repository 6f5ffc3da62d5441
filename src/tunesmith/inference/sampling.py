"""How the next token is chosen: the most probable one, or drawn with a seed of its own for each sequence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from tunesmith.types import Config, JsonObject

_KNOWN = frozenset({
    "max_new_tokens", "max_length", "min_length", "num_beams", "do_sample", "temperature", "top_p", "top_k",
    "repetition_penalty", "no_repeat_ngram_size", "pad_token_id", "bos_token_id", "eos_token_id", "use_cache",
    "transformers_version", "_from_model_config", "return_dict_in_generate", "output_attentions",
    "output_hidden_states",
})  # fmt: skip
"""Generation settings that `Choice` follows, or that change no text."""


@dataclass(frozen=True)
class Choice:
    """Settings of a sequence.

    Args:
        temperature: of the probabilities; 0 takes the most probable token.
        top_p: the most probable tokens with this share are drawn from.
        top_k: number of tokens that are drawn from; 0 for all.
        repetition_penalty: factor on the scores of tokens that are there already.
        no_repeat_ngram_size: sequences of so many tokens occur once; 0 allows all.
        seed: of the draws.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    seed: int = 0

    @classmethod
    def of_model(cls, settings: Config) -> Choice:
        """What the generation settings of a model say."""
        draws = bool(settings.do_sample)

        def value(name: str, otherwise: float) -> float:
            found = getattr(settings, name, None)
            return otherwise if found is None else float(found)

        return cls(
            value("temperature", 1.0) if draws else 0.0,
            value("top_p", 1.0) if draws else 1.0,
            int(value("top_k", 0)) if draws else 0,
            value("repetition_penalty", 1.0),
            int(value("no_repeat_ngram_size", 0)),
        )

    @property
    def is_plain(self) -> bool:
        """Whether the next token is that with the greatest score, as the model gives them."""
        return not self.temperature and self.repetition_penalty == 1 and not self.no_repeat_ngram_size


def follows(settings: Config) -> bool:
    """Whether `Choice` can say all that the generation settings of a model say: beams, for one, it cannot."""
    changed: JsonObject = settings.to_diff_dict()
    return set(changed) <= _KNOWN and (settings.num_beams or 1) == 1 and not settings.min_length


def next_token(logits: torch.Tensor, tokens: torch.Tensor, choice: Choice, generator: torch.Generator) -> int:
    """The next token of one sequence.

    Args:
        logits: [v], in float32.
        tokens: [1, t], the prompt and what was written.
        choice: settings of the sequence.
        generator: random generator of the sequence.
    """
    import torch
    from transformers import generation

    scores = logits[None]
    if choice.repetition_penalty != 1:
        scores = generation.RepetitionPenaltyLogitsProcessor(choice.repetition_penalty)(tokens, scores)
    if choice.no_repeat_ngram_size:
        scores = generation.NoRepeatNGramLogitsProcessor(choice.no_repeat_ngram_size)(tokens, scores)
    if not choice.temperature:
        return int(scores.argmax())
    scores = generation.TemperatureLogitsWarper(choice.temperature)(tokens, scores)
    if choice.top_k:
        scores = generation.TopKLogitsWarper(choice.top_k)(tokens, scores)
    if choice.top_p < 1:
        scores = generation.TopPLogitsWarper(choice.top_p)(tokens, scores)
    return int(torch.multinomial(scores.softmax(-1), 1, generator=generator))
