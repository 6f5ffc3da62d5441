"""Written texts that repeat training text word for word.

Runs of thirteen words are compared, without case and punctuation, but for those that the prompt holds: a summary
may quote its source. All training texts are read, and only what was written is kept in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tunesmith.segmentation import words

RUN = 13
"""Words in a row; nobody writes as many alike by chance, but for set phrases."""


def longest_repeats(texts: Sequence[str], prompts: Sequence[str], training: Iterable[str]) -> list[int]:
    """How many words in a row each text repeats at most; 0 for fewer than `RUN`.

    A stretch counts as repeated if each run of `RUN` words of it stands in a training text.

    Args:
        texts: written texts.
        prompts: what each was written for.
        training: training texts.
    """
    own = [_without(_runs(text), set(_runs(prompt))) for text, prompt in zip(texts, prompts, strict=True)]
    wanted = {run for runs in own for run in runs if run is not None}
    found: set[tuple[str, ...]] = set()
    for text in training:
        if wanted:
            found.update(run for run in _runs(text) if run in wanted)
    return [_longest([run in found for run in runs]) for runs in own]


def _runs(text: str) -> list[tuple[str, ...]]:
    said = [word for word in words(text.lower()) if any(map(str.isalnum, word))]
    return [tuple(said[start : start + RUN]) for start in range(len(said) - RUN + 1)]


def _without(runs: Sequence[tuple[str, ...]], known: set[tuple[str, ...]]) -> list[tuple[str, ...] | None]:
    return [None if run in known else run for run in runs]


def _longest(is_repeated: Sequence[bool]) -> int:
    longest = current = 0
    for one in is_repeated:
        current = current + 1 if one else 0
        longest = max(longest, current)
    return longest + RUN - 1 if longest else 0
