"""From messages to token ids, and which of them are the assistant's own words.

Only what the assistant writes is learned: its content and the marker that ends its turn, not the header
that asks for it. Stock templates do not mark it (Llama's, Qwen's and Gemma's have no `{% generation %}`),
so it is found by rendering: the conversation up to a turn with the generation prompt, and the same with
the turn; what the second has more is the turn. That costs two renders a turn, and is exact.

Some templates rewrite what came before: Qwen's takes the thinking out of earlier turns, Mistral's moves
the system text to the last user turn, Phi's writes an end-of-text only at the very end. Then the turn is
looked for in the whole rendering, by putting two marks around its content and rendering once more: the
marks tell the place, and everything else must be unchanged, or the row is refused. Searching for the
content alone was dropped: people say "yes" more than once, and users say what assistants say.

Only the model's own template and the four named here are rendered, by transformers, in its sandbox.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from string import Template
from typing import Any

from tunesmith.errors import ModelError, RecipeError, did_you_mean
from tunesmith.tasks import RowError

Message = dict[str, Any]
Tools = list[dict[str, Any]] | None

# Private-use characters: no template treats them as white space, and no text has them by chance.
_OPEN, _CLOSE = "\U000f7a31", "\U000f7a32"
_THOUGHT = re.compile(r".*</think>\s*", re.DOTALL)


@dataclass(frozen=True)
class _Named:
    """What sets one named template apart from the others.

    Args:
        header: Jinja that writes a turn's opening; `role` is the turn's role. It must not end in a space,
            which tokenizers join to the word that follows: the prompt would be cut into other tokens than
            the text that was learned.
        end: Jinja expression of what ends an assistant's turn.
        closes_all: whether it ends the other turns too.
        gap: what stands between turns.
        tokens: special tokens it needs.
    """

    header: str
    end: str = "eos_token"
    closes_all: bool = True
    gap: str = r"\n"
    tokens: tuple[str, ...] = ()


_NAMED = {
    "plain": _Named(r"{{ role | capitalize + ':\n' }}", closes_all=False),
    "zephyr": _Named(r"{{ '<|' + role + '|>\n' }}"),
    "chatml": _Named(
        r"{{ '<|im_start|>' + role + '\n' }}", end="'<|im_end|>'", tokens=("<|im_start|>", "<|im_end|>")
    ),
    "llama3": _Named(
        r"{{ '<|start_header_id|>' + role + '<|end_header_id|>\n\n' }}",
        end="'<|eot_id|>'",
        gap="",
        tokens=("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    ),
}

NAMES = tuple(sorted(_NAMED))
"""The templates that need no model to bring them."""

_BOS = "{{- bos_token }}\n"
_SKELETON = Template(r"""{%- macro header(role) %}$header{% endmacro %}
{%- set end, close, gap = $end, $close, '$gap' %}
{%- set manual = '' %}
{%- if tools %}
    {%- set manual = 'You can call these tools:\n' + (tools | map('tojson') | join('\n')) %}
    {%- set manual = manual + '\nA call: <tool_call>{"name": "...", "arguments": {...}}</tool_call>' %}
{%- endif %}
{%- if manual and messages[0].role != 'system' %}
    {{- header('system') + manual + close + gap }}
{%- endif %}
{%- for message in messages %}
    {{- header(message.role) }}
    {%- if message.role == 'assistant' %}
        {%- generation %}
            {{- message.content or '' }}
            {%- for call in message.tool_calls or [] %}
                {{- '<tool_call>' + call.function | tojson + '</tool_call>' }}
            {%- endfor %}
            {{- end }}
        {%- endgeneration %}
    {%- else %}
        {{- message.content }}
        {%- if manual and message.role == 'system' %}
            {{- '\n\n' + manual }}
        {%- endif %}
        {{- close }}
    {%- endif %}
    {{- gap }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- header('assistant') }}
{%- endif %}
""")


def choose_template(tokenizer: Any, asked: str) -> list[str]:
    """Gives the tokenizer the chat template asked for, and the special tokens it needs.

    Args:
        tokenizer: a fast tokenizer; its `chat_template` is set.
        asked: `auto` (the model's own, else `plain`), or one of NAMES.

    Returns:
        The tokens that were added: the model's embeddings must grow by as many.

    Raises:
        RecipeError: there is no such template.
        ModelError: the tokenizer cannot be used with it.
    """
    if asked != "auto" and asked not in _NAMED:
        raise RecipeError(
            f"a chat template is `auto` or one of those named here, and `{asked}` is not.",
            remedy=did_you_mean(asked, ("auto", *NAMES)),
            place="data.chat_template",
        )
    _refuse_slow(tokenizer)
    if asked == "auto" and tokenizer.chat_template:
        _refuse_ambiguous(tokenizer.chat_template)
        return []
    return _give(tokenizer, "plain" if asked == "auto" else asked)


def end_of_turn_id(tokenizer: Any) -> int | None:
    """The special token that ends an assistant's turn; None if the template writes none."""
    messages = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "hello"}]
    try:
        ids, is_target, _ = encode_conversation(messages, tokenizer)
    except RowError:
        return None
    last = [token for token, target in zip(ids, is_target, strict=True) if target][-1]
    return last if last in _special_tokens(tokenizer).values() else None


def split_reply(messages: Sequence[Message]) -> tuple[list[Message], Message | None]:
    """What was said before a last turn of the assistant, and that turn: the gold reply; None if absent."""
    if messages and messages[-1]["role"] == "assistant":
        return list(messages[:-1]), messages[-1]
    return list(messages), None


def encode_prompt(messages: Sequence[Message], tokenizer: Any, tools: Tools = None) -> list[int]:
    """Token ids of a conversation that asks for a reply; a last turn of the assistant is left out.

    Raises:
        RowError: nothing is said before the reply, or the template refuses the conversation.
    """
    prompt, _ = split_reply(messages)
    if not prompt:
        raise RowError("nothing is said before the assistant's turn.")
    ids, _ = _tokens(_render(prompt, tokenizer, tools, ask=True), tokenizer)
    return ids


def encode_conversation(
    messages: Sequence[Message], tokenizer: Any, tools: Tools = None
) -> tuple[list[int], list[bool], int]:
    """Token ids of a whole conversation, and which of them the assistant has to write.

    Args:
        messages: as `checked_messages` returns them.
        tokenizer: one that `choose_template` has seen.
        tools: the functions the assistant may call, as JSON Schema.

    Returns:
        Token ids; whether each is a target; how many bytes of UTF-8 the targets' text has, without the
        markers that end the turns.

    Raises:
        RowError: the template refuses the conversation, or it cannot be told what of it is a turn's.
    """
    text = _render(messages, tokenizer, tools)
    specials = _special_tokens(tokenizer)
    finder = _Finder(list(messages), text, tokenizer, tools, tuple(specials))
    spans = [finder.find(i) for i, message in enumerate(messages) if message["role"] == "assistant"]
    ids, offsets = _tokens(text, tokenizer)
    special_ids = set(specials.values())
    is_special = [token in special_ids for token in ids]
    targets = _targets(offsets, is_special, spans)
    if _drops_characters(offsets, is_special, len(text)):
        targets = _counted_targets(text, ids, spans, tokenizer) or targets
    return ids, targets, sum(span.n_bytes for span in spans)


@dataclass(frozen=True)
class _Span:
    """Where one turn stands in the rendering, in characters; `end` is after its end-of-turn marker."""

    start: int
    end: int
    n_bytes: int


@dataclass(frozen=True)
class _Finder:
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

    def find(self, i: int) -> _Span:
        """The span of turn `i`, which is the assistant's."""
        head = self._part(i, ask=True)
        whole = self.text if i == len(self.messages) - 1 else self._part(i + 1)
        has_reply = head is not None and whole is not None and whole.startswith(head)
        reply = whole[len(head or "") :] if whole is not None and has_reply else ""
        if head is not None and has_reply and self.text.startswith(head + reply):
            return self._span(i, len(head), len(head) + self._body_length(reply))
        if self.messages[i].get("tool_calls"):
            return self._find_calls(i, head, reply)
        return self._find_marked(i, head, reply)

    def _part(self, n: int, *, ask: bool = False) -> str | None:
        """The first `n` turns alone; None where the template refuses them, though it took the whole."""
        try:
            return _render(self.messages[:n], self.tokenizer, self.tools, ask=ask) if n else None
        except RowError:
            return None

    def _find_marked(self, i: int, head: str | None, reply: str) -> _Span:
        """The turn, by marks around what it says after its thinking."""
        content = self.messages[i]["content"]
        thought = _THOUGHT.match(content)
        kept = content[thought.end() if thought else 0 :].strip()
        at = content.rindex(kept)
        marked = content[:at] + _OPEN + kept + _CLOSE + content[at + len(kept) :]
        turns = [*self.messages[:i], {**self.messages[i], "content": marked}, *self.messages[i + 1 :]]
        rendered = _render(turns, self.tokenizer, self.tools)
        before, opened, rest = rendered.partition(_OPEN)
        inside, closed, after = rest.partition(_CLOSE)
        if not opened or not closed or before + inside + after != self.text:
            raise self._lost(i)
        stop = len(before) + len(inside)
        if head is not None and self.text.startswith(head) and len(head) <= stop:
            return self._span(i, len(head), stop)
        lead = reply.partition(kept)[0] if kept and kept in reply else ""
        return self._span(i, len(before) - (len(lead) if before.endswith(lead) else 0), stop)

    def _find_calls(self, i: int, head: str | None, reply: str) -> _Span:
        """The turn, by its text: a call has no content to put marks around."""
        body = reply[: self._body_length(reply)]
        for said in (body, _THOUGHT.sub("", body, count=1)):
            if head is not None and said and self.text.startswith(head + said):
                return self._span(i, len(head), len(head) + len(said))
            if said and self.text.count(said) == 1:
                start = self.text.index(said)
                return self._span(i, start, start + len(said))
        raise self._lost(i)

    def _span(self, i: int, start: int, stop: int) -> _Span:
        """The span of a turn whose words stand from `start` to `stop`, with the marker that follows."""
        said = self.text[start:stop]
        calls = self.messages[i].get("tool_calls") or []
        if not said or not all(call["function"]["name"] in said for call in calls):
            what = "the tool calls of turn" if calls else "turn"
            raise RowError(f"the chat template does not write {what} {i + 1}.")
        any_special = "|".join(map(re.escape, self.specials)) or "(?!)"
        marker = re.compile(rf"\s*(?:{any_special})").match(self.text, stop)
        return _Span(start, marker.end() if marker else stop, self._scored_bytes(i, said))

    def _body_length(self, reply: str) -> int:
        """How long a turn is without the special tokens, and white space around them, at its end.

        A template may write two: that of the turn, then that of the text. White space alone is no marker
        but, where there is none, what ends the turn.
        """
        body = reply
        while token := next((token for token in self.specials if body.rstrip().endswith(token)), None):
            body = body.rstrip()[: -len(token)]
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
            f"the chat template does not let turn {i + 1} be told apart: it is not in the whole conversation "
            "as it is on its own."
        )


def _render(messages: Sequence[Message], tokenizer: Any, tools: Tools, *, ask: bool = False) -> str:
    """The conversation as text; with `ask`, up to where the assistant's words begin."""
    from jinja2 import TemplateError

    try:
        text: str = tokenizer.apply_chat_template(
            list(messages), tools=tools or None, tokenize=False, add_generation_prompt=ask
        )
    except (TemplateError, TypeError, ValueError, LookupError, AttributeError) as error:
        raise RowError(f"the chat template refuses the conversation: {error}") from error
    return text


def _tokens(text: str, tokenizer: Any) -> tuple[list[int], list[tuple[int, int]]]:
    """Token ids of a rendering, and the characters each stands for."""
    encoded = tokenizer(
        text,
        add_special_tokens=False,  # the template has written them
        return_offsets_mapping=True,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,
    )
    return encoded["input_ids"], encoded["offset_mapping"]


def _targets(
    offsets: Sequence[tuple[int, int]], is_special: Sequence[bool], spans: Sequence[_Span]
) -> list[bool]:
    """Whether each token has a character of a span; spans and tokens are in the order of the text."""
    targets, current, previous = [], 0, 0
    for (start, end), special in zip(offsets, is_special, strict=True):
        if start == end:
            start = previous  # byte-level tokenizers report white space without extent
        while current < len(spans) and spans[current].end <= start:
            current += 1
        span = spans[current] if current < len(spans) else None
        # A header's special token may swallow the white space that the content begins with.
        is_header = span is not None and special and start < span.start
        targets.append(span is not None and end > span.start and not is_header)
        previous = max(previous, end)
    return targets


def _drops_characters(offsets: Sequence[tuple[int, int]], is_special: Sequence[bool], length: int) -> bool:
    """Whether tokens leave a gap before a special token or the end of the text.

    A vocabulary that lacks a character may drop it, and then places what follows one character early, up
    to the next special token (tokenizers 0.23, BPE with `byte_fallback` but no tokens for bytes).
    """
    covered = 0
    for (start, end), special in zip(offsets, is_special, strict=True):
        if special and start > covered:
            return True
        covered = max(covered, end)
    return covered < length


def _counted_targets(
    text: str, ids: Sequence[int], spans: Sequence[_Span], tokenizer: Any
) -> list[bool] | None:
    """Targets without offsets: how many tokens the text has up to each border; None if one straddles it."""
    targets = [False] * len(ids)
    for span in spans:
        before, through = (_tokens(text[:at], tokenizer)[0] for at in (span.start, span.end))
        if ids[: len(before)] != before or ids[: len(through)] != through:
            return None
        targets[len(before) : len(through)] = [True] * (len(through) - len(before))
    return targets


def _special_tokens(tokenizer: Any) -> dict[str, int]:
    """Every special token and its id, longest first, since one may end in another."""
    named = dict(zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True))
    added = {token.content: i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    return dict(sorted({**named, **added}.items(), key=lambda item: -len(item[0])))


def _give(tokenizer: Any, name: str) -> list[str]:
    named = _NAMED[name]
    if named.end == "eos_token" and not tokenizer.eos_token:
        raise ModelError(
            f"the chat template `{name}` ends a turn with the end-of-text token, and the tokenizer has none.",
            remedy="Take one that brings its own: `data.chat_template=chatml`.",
        )
    known = tokenizer.get_vocab()
    new = [token for token in named.tokens if token not in known]
    if named.tokens:
        tokenizer.add_special_tokens(
            {"extra_special_tokens": list(named.tokens)}, replace_extra_special_tokens=False
        )
    tokenizer.chat_template = _source(named, with_bos=_writes_bos(tokenizer))
    return new


def _source(named: _Named, *, with_bos: bool) -> str:
    close = named.end if named.closes_all else "''"
    text = _SKELETON.substitute(header=named.header, end=named.end, close=close, gap=named.gap)
    return _BOS + text if with_bos else text


def _writes_bos(tokenizer: Any) -> bool:
    """Whether the model saw its begin-of-text token before every text, so that it must see it here."""
    ids = tokenizer("a", verbose=False)["input_ids"]
    return tokenizer.bos_token_id is not None and ids[:1] == [tokenizer.bos_token_id]


def _refuse_slow(tokenizer: Any) -> None:
    if not tokenizer.is_fast:
        raise ModelError(
            "a chat needs a fast tokenizer, which says where in the text each token stands, and this one is "
            f"{type(tokenizer).__name__}.",
            remedy="Save the model with a `tokenizer.json`.",
        )


def _refuse_ambiguous(template: Any) -> None:
    if isinstance(template, dict) and "default" not in template:
        names = ", ".join(f"`{name}`" for name in sorted(template))
        raise RecipeError(
            f"the model has several chat templates ({names}), and none is its default.",
            remedy="Name one of ours: " + ", ".join(f"`{name}`" for name in NAMES) + ".",
            place="data.chat_template",
        )
