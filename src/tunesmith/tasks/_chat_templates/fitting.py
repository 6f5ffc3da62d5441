"""Fitting a conversation that is too long: the oldest turns are removed; the first token and the system turn stay.

A model was trained on conversations that begin with its first token, and with instructions in the system turn. A
prompt that loses its beginning has neither. So whole turns after the system turn are removed, from the oldest up
to the last turn of the user. If that is not enough, the oldest calls of tools after that turn are removed, each
with its results, up to the last ones. If that is not enough either, the longest turn of the user or of a tool
loses the beginning of its text. A system turn that leaves less than a quarter of the room for the rest loses its
end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from tunesmith.tasks._chat_templates.turns import Message

T = TypeVar("T")
_LEAST_TAIL = 0.25
"""Least share of the room for the end of a prompt, whatever the length of the system turn."""


Encode = Callable[[Sequence[Message]], list[int]]


class Prompt:
    """The turns before a reply, and their tokens.

    Args:
        messages: messages without the reply.
        encode: function from messages to the token ids of a prompt.
    """

    def __init__(self, messages: Sequence[Message], encode: Encode) -> None:
        self.messages, self.encode = list(messages), encode
        self.ids = encode(self.messages)

    def fitted(self, most: int) -> Prompt:
        """The prompt without its oldest turns, as few as possible; the last turn of the user always stays."""
        if len(self.ids) <= most:
            return self
        parts = self._shortened()
        if not parts:
            return self
        # Each part is shorter than the one before it, so bisection finds the first that fits.
        low, high = 0, len(parts) - 1
        while low < high:
            middle = (low + high) // 2
            if len(self.encode(parts[middle])) <= most:
                high = middle
            else:
                low = middle + 1
        return Prompt(parts[low], self.encode)

    def _shortened(self) -> list[list[Message]]:
        """The conversation without its oldest turns, from the longest to the shortest."""
        system = self._system()
        users = [i for i in self._of("user") if i >= len(system)]
        parts = [[*system, *self.messages[i:]] for i in users if i > len(system)]
        last = users[-1] if users else len(self.messages)
        asked = [*system, *self.messages[last : last + 1]]
        return parts + [[*asked, *self.messages[i:]] for i in self._blocks() if i > last + 1]

    def _of(self, *roles: str) -> list[int]:
        return [i for i, message in enumerate(self.messages) if message["role"] in roles]

    def _blocks(self) -> list[int]:
        """The turns of the assistant that can follow a question: an answer after results needs its call."""
        return [
            i
            for i in self._of("assistant")
            if self.messages[i].get("tool_calls") or self.messages[i - 1]["role"] != "tool"
        ]

    def gap(self, most: int) -> slice:
        """The tokens to remove so that the rest fits: the first ones in the longest turn that is only read."""
        excess = len(self.ids) - most
        if excess <= 0:
            return slice(0, 0)
        read = self._of("user", "tool")
        longest = max(read, key=lambda i: len(str(self.messages[i]["content"])), default=-1)
        start, stop = self._content_of(longest) if longest >= 0 else (0, 0)
        if start + excess <= stop:
            return slice(start, start + excess)
        n_system = len(self._system())
        tail = max(int(most * _LEAST_TAIL), 1)
        start = max(min(self._content_of(min(n_system, len(self.messages) - 1))[0], most - tail), 0)
        return slice(start, start + excess)

    def _system(self) -> list[Message]:
        first = next((i for i, m in enumerate(self.messages) if m["role"] != "system"), len(self.messages))
        return self.messages[:first]

    def _content_of(self, i: int) -> tuple[int, int]:
        """Where the content of a turn begins and ends, in tokens; (0, 0) where another content changes nothing."""
        other = "-" if not str(self.messages[i].get("content")).startswith("-") else "+"
        changed = [{**m, "content": other} if n == i else m for n, m in enumerate(self.messages)]
        others = self.encode(changed)
        before = _n_equal(self.ids, others)
        if before == len(self.ids):
            return 0, 0
        after = _n_equal(self.ids[before:][::-1], others[before:][::-1])
        return before, len(self.ids) - after


def _n_equal(one: Sequence[int], other: Sequence[int]) -> int:
    """Length of the common beginning."""
    return next(
        (n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )


def without(ids: Sequence[T], gap: slice) -> list[T]:
    """Token ids, or what there is for each of them, without those in the gap."""
    return [*ids[: gap.start], *ids[gap.stop :]]
