"""Fitting a prompt that is too long: the oldest turns are removed; the first token and the system turn stay.

A model was trained on conversations that begin with its first token, and with instructions in the system turn. A
prompt that loses its beginning has neither. So whole turns after the system turn are removed, from the oldest up
to the last turn of the user. If that is not enough, the last turn loses the beginning of its text. A system turn
that leaves less than a quarter of the room for the rest loses its end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tunesmith.tasks._chat_templates.turns import Message

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
        system = self._system()
        users = [i for i, message in enumerate(self.messages) if message["role"] == "user"]
        starts = [i for i in users if i > len(system)]
        if not starts:
            return self
        # A later start gives a shorter prompt, so bisection finds the first start that fits.
        low, high = 0, len(starts) - 1
        while low < high:
            middle = (low + high) // 2
            if len(self.encode([*system, *self.messages[starts[middle] :]])) <= most:
                high = middle
            else:
                low = middle + 1
        return Prompt([*system, *self.messages[starts[low] :]], self.encode)

    def gap(self, most: int) -> slice:
        """The tokens to remove so that the rest fits: the first ones in the content of the first turn."""
        excess = len(self.ids) - most
        if excess <= 0:
            return slice(0, 0)
        tail = max(int(most * _LEAST_TAIL), 1)
        start = max(min(self._n_before_the_first_turn(), most - tail), 0)
        return slice(start, start + excess)

    def _system(self) -> list[Message]:
        first = next((i for i, m in enumerate(self.messages) if m["role"] != "system"), len(self.messages))
        return self.messages[:first]

    def _n_before_the_first_turn(self) -> int:
        """Number of tokens before the content of the first turn after the system turn."""
        n_system = len(self._system())
        first = self.messages[min(n_system, len(self.messages) - 1)]
        other = "-" if not str(first.get("content")).startswith("-") else "+"
        changed = [{**m, "content": other} if m is first else m for m in self.messages]
        pairs = zip(self.ids, self.encode(changed), strict=False)
        return next((n for n, (one, two) in enumerate(pairs) if one != two), 0)


def without(ids: Sequence[int], gap: slice) -> list[int]:
    """Token ids without those in the gap."""
    return [*ids[: gap.start], *ids[gap.stop :]]
