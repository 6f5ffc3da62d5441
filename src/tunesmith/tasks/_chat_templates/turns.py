"""Where the assistant's turns stand in a rendered conversation, found by rendering parts of it.

The conversation up to a turn with the generation prompt, and the same with the turn: what the second has
more is the turn. That costs two renders a turn, and is exact.

Some templates rewrite what came before: Qwen's takes the thinking out of earlier turns, Mistral's moves
the system text to the last user turn, Phi's writes an end-of-text only at the very end. Then the turn is
looked for in the whole rendering, by putting two marks around its content and rendering once more: the
marks tell the place, and everything else must be unchanged, or the row is refused. Searching for the
content alone was dropped: people say "yes" more than once, and users say what assistants say.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from tunesmith.tasks import RowError

Message = dict[str, Any]
Tools = list[dict[str, Any]] | None

# Private-use characters: no template treats them as white space, and no text has them by chance.
_OPEN, _CLOSE = "\U000f7a31", "\U000f7a32"
_THOUGHT = re.compile(r".*</think>\s*", re.DOTALL)
_FIRST_THOUGHT = re.compile(r".*?</think>\s*", re.DOTALL)


@dataclass(frozen=True)
class Span:
    """Where one turn stands in the rendering, in characters; `end` is after its end-of-turn marker."""

    start: int
    end: int
    n_bytes: int


@dataclass(frozen=True)
class Finder:
    """Finds the assistant's turns of one conversation in its rendering.

    Args:
        messages: the conversation.
        text: its rendering.
        tokenizer: whose template it is.
        tools: that it was rendered with.
        specials: special tokens, longest first.
    """

    messages: list[Message]
    text: str
    tokenizer: Any
    tools: Tools
    specials: tuple[str, ...]

    def find(self, i: int) -> Span:
        """The span of turn `i`, which is the assistant's.

        Raises:
            RowError: the template does not write the turn, or does not let it be told apart.
        """
        head = self._part(i, ask=True)
        whole = self.text if i == len(self.messages) - 1 else self._part(i + 1)
        reply = whole[len(head) :] if head and whole and whole.startswith(head) else ""
        start = len(head) if head and self.text.startswith(head) else None
        if reply and start is not None and self.text.startswith(reply, start):
            return self._span(i, start, start + self._body_length(i, reply))
        calls = _calls(self.messages[i])
        at, stop = self._find_calls(i, reply) if calls else self._find_marked(i, start, reply)
        return self._span(i, self._begin(i, head, at), stop)

    def _part(self, n: int, *, ask: bool = False) -> str | None:
        """The first `n` turns alone; None where the template refuses them, though it took the whole."""
        try:
            return render(self.messages[:n], self.tokenizer, self.tools, ask=ask) if n else None
        except RowError:
            return None

    def _find_marked(self, i: int, start: int | None, reply: str) -> tuple[int, int]:
        """From where to where the turn's words stand, by marks around what it says after its thinking.

        They begin at `start`, where the prompt for the turn ends, if what came before is unchanged.
        """
        content, said = self.messages[i]["content"], _spoken(self.messages[i])
        at = content.rindex(said)
        marked = f"{content[:at]}{_marked(said)}{content[at + len(said) :]}"
        begin, stop = self._place(i, {"content": marked})
        if start is not None and start <= stop:
            return start, stop
        lead = reply.partition(said)[0] if said and said in reply else ""
        return begin - (len(lead) if self.text[:begin].endswith(lead) else 0), stop

    def _find_calls(self, i: int, reply: str) -> tuple[int, int]:
        """The same for a turn with tool calls, by marks around the first one's name."""
        first, *others = _calls(self.messages[i])
        name = first["function"]["name"]
        call = {**first, "function": {**first["function"], "name": _marked(name)}}
        location, _ = self._place(i, {"tool_calls": [call, *others]})
        body = reply[: self._body_length(i, reply)]
        for said in (body, _FIRST_THOUGHT.sub("", body, count=1)):
            for found in re.finditer(re.escape(name), said):
                at = location - found.start()
                if at >= 0 and self.text.startswith(said, at):
                    return at, at + len(said)
        raise self._lost(i)

    def _place(self, i: int, changed: Message) -> tuple[int, int]:
        """Where two marks stand that were put into a turn; nothing else may differ for them."""
        turns = [*self.messages[:i], {**self.messages[i], **changed}, *self.messages[i + 1 :]]
        before, opened, rest = render(turns, self.tokenizer, self.tools).partition(_OPEN)
        between, closed, after = rest.partition(_CLOSE)
        if not opened or not closed or before + between + after != self.text:
            raise self._lost(i)
        return len(before), len(before) + len(between)

    def _begin(self, i: int, head: str | None, at: int) -> int:
        """Where a turn begins whose words begin at `at`: white space after its header is its own."""
        begin = len(head) if head and self.text.startswith(head) else self._after_header(i, head, at)
        return at if self.text[begin:at].strip() else min(begin, at)

    def _after_header(self, i: int, head: str | None, at: int) -> int:
        bare = self._part(i)
        if not head or not bare or not head.startswith(bare) or head == bare:
            return at
        header = head[len(bare) :]
        return self.text.rindex(header, 0, at) + len(header) if header in self.text[:at] else at

    def _span(self, i: int, start: int, stop: int) -> Span:
        """The span of a turn whose words stand from `start` to `stop`, with the marker that follows."""
        said = self.text[start:stop]
        calls = _calls(self.messages[i])
        if not said or not all(call["function"]["name"] in said for call in calls):
            what = "the tool calls of turn" if calls else "turn"
            raise RowError(f"the chat template does not write {what} {i + 1}.")
        marker = _marker(self.specials).match(self.text, stop)
        return Span(start, marker.end() if marker else stop, self._scored_bytes(i, said))

    def _body_length(self, i: int, reply: str) -> int:
        """How long a turn is without the special tokens, and white space around them, at its end.

        A template may write two: that of the turn, then that of the text. White space alone is no marker
        but, where there is none, what ends the turn. A content that ends in a marker keeps it.
        """
        spoken = _spoken(self.messages[i])
        at_least = reply.index(spoken) + len(spoken) if spoken in reply else 0
        body = reply
        while (words := body.rstrip()).endswith(self.specials):
            token = next(token for token in self.specials if words.endswith(token))
            if len(words) - len(token) < at_least:
                break
            body = words[: -len(token)]
        return len(body)

    def _scored_bytes(self, i: int, said: str) -> int:
        """Bytes of the content, without what the template writes around it; of all that is said if more.

        An empty `<think></think>` is the template's, and would make the bits per byte look better.
        """
        message = self.messages[i]
        content, more = message["content"].strip(), ("tool_calls", "reasoning_content")
        is_all = content in said and not any(message.get(name) for name in more)
        return len((content if is_all else said.strip()).encode("utf-8"))

    def _lost(self, i: int) -> RowError:
        return RowError(
            f"the chat template does not let turn {i + 1} be told apart: in the whole conversation it is "
            "written otherwise than as the last turn."
        )


def render(messages: Sequence[Message], tokenizer: Any, tools: Tools, *, ask: bool = False) -> str:
    """The conversation as text; with `ask`, up to where the assistant's words begin."""
    from jinja2 import TemplateError

    try:
        text: str = tokenizer.apply_chat_template(
            list(messages), tools=tools or None, tokenize=False, add_generation_prompt=ask
        )
    except (TemplateError, TypeError, ValueError, LookupError, AttributeError) as error:
        reason = str(error).rstrip(".")
        raise RowError(f"the chat template refuses the conversation: {reason}.") from error
    return text


@lru_cache(maxsize=8)
def _marker(specials: tuple[str, ...]) -> re.Pattern[str]:
    """Any special token, with white space before it."""
    return re.compile(rf"\s*(?:{'|'.join(map(re.escape, specials)) or '(?!)'})")


def _calls(message: Message) -> list[dict[str, Any]]:
    return message.get("tool_calls") or []


def _marked(text: str) -> str:
    return f"{_OPEN}{text}{_CLOSE}"


def _spoken(message: Message) -> str:
    """What a turn says after its thinking."""
    content: str = message["content"]
    thought = _THOUGHT.match(content)
    return content[thought.end() if thought else 0 :].strip()
