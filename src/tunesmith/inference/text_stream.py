"""The text of tokens as they are written: what is certain is given at once, and it ends at a stop sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tunesmith.types import Tokenizer

_INCOMPLETE = "\ufffd"
"""What a tokenizer decodes the first bytes of a character to."""


class TextStream:
    """One text.

    Args:
        tokenizer: tokenizer of the model.
        stops: texts before which the text ends; they are not part of it.
        strip: whether white space at both ends is left out.
    """

    def __init__(self, tokenizer: Tokenizer, stops: Sequence[str] = (), *, strip: bool = False) -> None:
        self._tokenizer, self._stops, self._strip = tokenizer, tuple(filter(None, stops)), strip
        self._sent = 0
        self.text = ""
        self.is_stopped = False

    def feed(self, tokens: Sequence[int], *, is_end: bool) -> str:
        """What the text gained.

        Args:
            tokens: all tokens so far.
            is_end: whether these are all.
        """
        text = str(self._tokenizer.decode(list(tokens), skip_special_tokens=True))
        stop = min((at for stop in self._stops if (at := text.find(stop)) >= 0), default=None)
        if stop is not None:
            text, self.is_stopped, is_end = text[:stop], True, True
        if self._strip:
            text = text.strip() if is_end else text.lstrip()
        self.text = text
        certain = text if is_end else text[: self._certain(text)]
        gained = certain[self._sent :]
        self._sent = max(self._sent, len(certain))
        return gained

    def _certain(self, text: str) -> int:
        """Length of the text that later tokens do not change."""
        whole = text.rstrip(_INCOMPLETE)
        end = len(whole.rstrip()) if self._strip else len(whole)
        for stop in self._stops:
            part = next((n for n in range(len(stop) - 1, 0, -1) if whole.endswith(stop[:n])), 0)
            end = min(end, len(whole) - part)
        return end
