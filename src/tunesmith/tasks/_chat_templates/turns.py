"""The locations of the assistant's turns in a rendered conversation, found by rendering parts of it.

The conversation is rendered up to a turn with the generation prompt, and again with the turn. The additional text
is the turn. This needs two renderings per turn, and is exact.

Some templates rewrite earlier turns: Qwen's removes the thinking of earlier turns, Mistral's moves the system text
to the last user turn, Phi's writes an end-of-text only at the very end. Then the turn is searched for in the whole
rendering: two marks are put around its content, and the conversation is rendered again. The marks give the
location, and everything else must be unchanged, or the row is refused. A search for the content alone was dropped,
since the same text may occur in several turns.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from tunesmith.tasks import RowError
from tunesmith.tasks._chat_templates.limit import RefusedTemplateError, TimeLimitError, limited, refuse_costly
from tunesmith.tasks._chat_templates.named import hint_for_tools

if TYPE_CHECKING:
    from tunesmith.types import Tokenizer
from tunesmith.types import JsonObject

Message = JsonObject
Tools = list[JsonObject] | None

# Private-use characters: no template treats them as white space, and no text has them by chance.
_OPEN, _CLOSE = "\U000f7a31", "\U000f7a32"
_MOST_S = 10
"""Seconds for one rendering; the longest conversations take some milliseconds."""
_THOUGHT = re.compile(r".*</think>\s*", re.DOTALL)
_FIRST_THOUGHT = re.compile(r".*?</think>\s*", re.DOTALL)


@dataclass(frozen=True)
class Span:
    """The location of one turn in the rendering, in characters; `end` is after its end-of-turn marker."""

    start: int
    end: int
    n_bytes: int


@dataclass(frozen=True)
class Finder:
    """Finds the assistant's turns of one conversation in its rendering.

    Args:
        messages: messages of the conversation.
        text: rendering of the conversation.
        tokenizer: tokenizer with the template.
        tools: tools in the rendering.
        specials: special tokens, longest first.
    """

    messages: list[Message]
    text: str
    tokenizer: Tokenizer
    tools: Tools
    specials: tuple[str, ...]

    def find(self, i: int) -> Span:
        """The span of turn `i`, which is the assistant's.

        Raises:
            RowError: the template does not write the turn, or the turn cannot be found.
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
        """The first `n` turns alone; None if the template refuses them, though it accepts the whole."""
        try:
            return render(self.messages[:n], self.tokenizer, self.tools, ask=ask) if n else None
        except RowError:
            return None

    def _find_marked(self, i: int, start: int | None, reply: str) -> tuple[int, int]:
        """Start and end of the turn's text, by marks around its content after the thinking.

        The text begins at `start`, where the prompt for the turn ends, if the earlier turns are unchanged.
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
        """The locations of two marks in a turn; the rest of the rendering must be unchanged."""
        turns = [*self.messages[:i], {**self.messages[i], **changed}, *self.messages[i + 1 :]]
        before, opened, rest = render(turns, self.tokenizer, self.tools).partition(_OPEN)
        between, closed, after = rest.partition(_CLOSE)
        if not opened or not closed or before + between + after != self.text:
            raise self._lost(i)
        return len(before), len(before) + len(between)

    def _begin(self, i: int, head: str | None, at: int) -> int:
        """The start of a turn whose text begins at `at`: white space after the header belongs to the turn."""
        begin = len(head) if head and self.text.startswith(head) else self._after_header(i, head, at)
        return at if self.text[begin:at].strip() else min(begin, at)

    def _after_header(self, i: int, head: str | None, at: int) -> int:
        bare = self._part(i)
        if not head or not bare or not head.startswith(bare) or head == bare:
            return at
        header = head[len(bare) :]
        return self.text.rindex(header, 0, at) + len(header) if header in self.text[:at] else at

    def _span(self, i: int, start: int, stop: int) -> Span:
        """The span of a turn with its text from `start` to `stop`, including the marker after it."""
        said = self.text[start:stop]
        self._refuse_unwritten(i, said)
        marker = _marker(self.specials).match(self.text, stop)
        return Span(start, marker.end() if marker else stop, self._scored_bytes(i, said))

    def _refuse_unwritten(self, i: int, said: str) -> None:
        """Raises RowError where the template leaves a part of a turn out, or writes a call as no JSON."""
        calls = _calls(self.messages[i])
        if not said or not all(call["function"]["name"] in said for call in calls):
            what = "the tool calls of turn" if calls else "turn"
            raise RowError(
                f"the chat template does not write {what} {i + 1}.",
                hint=hint_for_tools(self.tokenizer) if calls else "",
            )
        if calls and _spoken(self.messages[i]) not in said:
            raise RowError(
                f"the chat template does not write the text of turn {i + 1}, which also calls tools.",
                hint=f"Remove the text. {hint_for_tools(self.tokenizer)}",
            )
        if any(_is_python(call["function"]["arguments"], said) for call in calls):
            raise RowError(f"the chat template does not write the arguments of turn {i + 1} as JSON.")

    def _body_length(self, i: int, reply: str) -> int:
        """Length of a turn without the special tokens, and the white space around them, at its end.

        A template may write two: that of the turn, then that of the text. White space alone is not a marker;
            without
        a marker, it ends the turn. Content that ends in a marker keeps it.
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
        """Bytes of the content, without text of the template; of the whole turn if it has more than content.

        An empty `<think></think>` is written by the template, and would make the bits per byte look better.
        """
        message = self.messages[i]
        content, more = message["content"].strip(), ("tool_calls", "reasoning_content")
        is_all = content in said and not any(message.get(name) for name in more)
        return len((content if is_all else said.strip()).encode("utf-8"))

    def _lost(self, i: int) -> RowError:
        return RowError(
            f"turn {i + 1} cannot be found in the rendering: the chat template writes it differently in the whole "
            "conversation than as the last turn."
        )


def render(messages: Sequence[Message], tokenizer: Tokenizer, tools: Tools, *, ask: bool = False) -> str:
    """The conversation as text; with `ask`, up to the start of the assistant's text."""
    from jinja2 import TemplateError

    try:
        own = tokenizer.chat_template
        for template in own.values() if isinstance(own, dict) else [own or ""]:
            refuse_costly(template)
        with limited(_MOST_S):
            text: str = tokenizer.apply_chat_template(
                list(messages), tools=tools or None, tokenize=False, add_generation_prompt=ask
            )
    except TimeLimitError:
        raise RowError(f"the chat template takes more than {_MOST_S} seconds for the conversation.") from None
    except RefusedTemplateError as error:
        raise RowError(f"the chat template is refused: {error}.") from None
    except MemoryError:
        raise RowError("the chat template takes more memory than a conversation needs.") from None
    except (
        TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RuntimeError,
    ) as error:  # fmt: skip
        reason = str(error).rstrip(".")
        raise RowError(f"the chat template refuses the conversation: {reason}.") from error
    return text


@lru_cache(maxsize=8)
def _marker(specials: tuple[str, ...]) -> re.Pattern[str]:
    """Any special token, with white space before it."""
    return re.compile(rf"\s*(?:{'|'.join(map(re.escape, specials)) or '(?!)'})")


def _calls(message: Message) -> list[JsonObject]:
    return message.get("tool_calls") or []


def _is_python(arguments: object, said: str) -> bool:
    """Whether an object was printed as Python does, with single quotes, and not as JSON."""
    return isinstance(arguments, dict) and str(arguments) in said and str(arguments) != json.dumps(arguments)


def _marked(text: str) -> str:
    return f"{_OPEN}{text}{_CLOSE}"


def _spoken(message: Message) -> str:
    """The content of a turn after its thinking."""
    content: str = message["content"]
    thought = _THOUGHT.match(content)
    return content[thought.end() if thought else 0 :].strip()
