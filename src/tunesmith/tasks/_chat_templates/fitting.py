"""A prompt that is too long, made to fit: the oldest turns go first; how it begins and the system turn stay.

A model was trained on conversations that begin with its first token, and on instructions of the system turn. A
prompt that simply loses its beginning has neither. So whole turns are left out, after the system turn, from the
oldest to the one before the last of the user. Where that is not enough, the last turn loses the beginning of its
text, and a system turn that would leave it less than a quarter of the room loses its end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tunesmith.tasks._chat_templates.turns import Message

_LEAST_TAIL = 0.25
"""Share of the room that the end of a prompt has, however long the system turn is."""


Encode = Callable[[Sequence[Message]], list[int]]


class Prompt:
    """What is said before a reply, and how many tokens it has.

    Args:
        messages: without the reply.
        encode: token ids of messages that ask for a reply.
    """

    def __init__(self, messages: Sequence[Message], encode: Encode) -> None:
        self.messages, self.encode = list(messages), encode
        self.ids = encode(self.messages)

    def fitted(self, most: int) -> Prompt:
        """The prompt with as few of its oldest turns left out as fit; the last of the user stays in any case."""
        if len(self.ids) <= most:
            return self
        system = self._system()
        users = [i for i, message in enumerate(self.messages) if message["role"] == "user"]
        starts = [i for i in users if i > len(system)]
        if not starts:
            return self
        # The later the start, the shorter: the first that fits is between those that do not and those that do.
        low, high = 0, len(starts) - 1
        while low < high:
            middle = (low + high) // 2
            if len(self.encode([*system, *self.messages[starts[middle] :]])) <= most:
                high = middle
            else:
                low = middle + 1
        return Prompt([*system, *self.messages[starts[low] :]], self.encode)

    def gap(self, most: int) -> slice:
        """The tokens that must go for the rest to fit: those where the first turn begins to say something."""
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
        """Tokens of the beginning, the system turn and the header of the next one."""
        n_system = len(self._system())
        first = self.messages[min(n_system, len(self.messages) - 1)]
        other = "-" if not str(first.get("content")).startswith("-") else "+"
        changed = [{**m, "content": other} if m is first else m for m in self.messages]
        pairs = zip(self.ids, self.encode(changed), strict=False)
        return next((n for n, (one, two) in enumerate(pairs) if one != two), 0)


def without(ids: Sequence[int], gap: slice) -> list[int]:
    """Token ids without those of the gap."""
    return [*ids[: gap.start], *ids[gap.stop :]]
