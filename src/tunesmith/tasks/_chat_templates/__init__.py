"""From messages to token ids, and which of these the assistant writes.

Only the text that the assistant writes is learned: its content and the marker that ends its turn, not the header
before it. Stock templates do not mark this text (Llama's, Qwen's and Gemma's have no `{% generation %}`), so
`turns` finds it in the rendering, and the tokenizer's offsets give its tokens.

Only the model's own template and the named ones here are rendered, by transformers, in its sandbox.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunesmith.errors import ModelError
from tunesmith.tasks import RowError
from tunesmith.tasks._chat_templates.fitting import Prompt, without
from tunesmith.tasks._chat_templates.named import NAMES, choose_template, hint_for_tools
from tunesmith.tasks._chat_templates.spelling import spellings
from tunesmith.tasks._chat_templates.turns import Finder, Message, Span, Tools, render
from tunesmith.tasks._marks import learned_turns, without_marks

if TYPE_CHECKING:
    from tunesmith.types import Tokenizer

__all__ = [
    "NAMES",
    "choose_template",
    "cut_conversation",
    "encode_conversation",
    "encode_prompt",
    "end_of_turn_id",
    "end_tokens",
    "fit_prompt",
    "give_template",
    "prompt_of",
    "split_reply",
    "without",
]


def end_of_turn_id(tokenizer: Tokenizer) -> int | None:
    """The special token that ends a turn of the assistant; None if the template writes none."""
    messages = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "hello"}]
    try:
        ids, is_target, _ = encode_conversation(messages, tokenizer)
    except RowError:
        return None
    written = [token for token, target in zip(ids, is_target, strict=True) if target]
    return written[-1] if written and written[-1] in _special_tokens(tokenizer).values() else None


def give_template(tokenizer: Tokenizer, asked: str) -> list[str]:
    """Gives a tokenizer a chat template, and returns the tokens that were added for it.

    Raises:
        ModelError: the tokenizer does not know the token that ends a turn when it reads it.
    """
    has_own = tokenizer.chat_template is not None and asked == "auto"
    added = choose_template(tokenizer, asked)
    if not has_own and end_of_turn_id(tokenizer) is None:
        raise ModelError(
            "the tokenizer reads the token that ends a turn as several pieces: no answer would ever end.",
            remedy="Use a model whose tokenizer.json has its special tokens with `normalized: false`.",
        )
    return added


def end_tokens(tokenizer: Tokenizer) -> list[int]:
    """The tokens that end a reply."""
    ends = [end_of_turn_id(tokenizer), tokenizer.eos_token_id]
    return list(dict.fromkeys(end for end in ends if end is not None))


def split_reply(messages: Sequence[Message]) -> tuple[list[Message], Message | None]:
    """The turns before a last turn of the assistant, and that turn (the gold reply), or None without one."""
    if messages and messages[-1]["role"] == "assistant":
        return list(messages[:-1]), messages[-1]
    return list(messages), None


def encode_prompt(messages: Sequence[Message], tokenizer: Tokenizer, tools: Tools = None) -> list[int]:
    """Token ids of a conversation that asks for a reply; a last turn of the assistant is left out.

    Raises:
        RowError: nothing is said before the reply, or the template refuses the conversation.
    """
    prompt, _ = split_reply(messages)
    if not prompt:
        raise RowError("nothing is said before the assistant's turn.")
    return _ids_of(prompt, tokenizer, tools, ask=True)


def fit_prompt(
    messages: Sequence[Message], tokenizer: Tokenizer, most: int | None, tools: Tools = None
) -> list[int]:
    """Token ids of a conversation that asks for a reply, at most `most`: see `fitting`.

    Raises:
        RowError: nothing is said before the reply, or the template refuses the conversation.
    """
    prompt = prompt_of(messages, tokenizer, tools)
    if most is None or len(prompt.ids) <= most:
        return prompt.ids
    fitted = prompt.fitted(most)
    return without(fitted.ids, fitted.gap(most))


def prompt_of(messages: Sequence[Message], tokenizer: Tokenizer, tools: Tools = None) -> Prompt:
    """The turns before the reply, with their tokens."""
    said, _ = split_reply(messages)
    return Prompt(said, lambda part: encode_prompt([*part], tokenizer, tools))


def encode_conversation(
    messages: Sequence[Message], tokenizer: Tokenizer, tools: Tools = None, train_on: str = "all"
) -> tuple[list[int], list[bool], int]:
    """Token ids of a whole conversation, and which of them are learned: those that the assistant writes.

    Args:
        messages: messages from `checked_messages`.
        tokenizer: tokenizer after `choose_template`.
        tools: functions that the assistant may call, as JSON Schema.
        train_on: `all` for every turn of the assistant that is not marked, `last` for the last one.

    Returns:
        Token ids; whether each is a target; the number of UTF-8 bytes in the targets' text, without the markers
        that end the turns.

    Raises:
        RowError: the template refuses the conversation, or a turn cannot be found in the rendering.
    """
    learned = learned_turns(messages, train_on)
    written = _write(messages, tokenizer, tools, sorted({*learned, *_calling(messages)}))
    _refuse_unwritten_tools(written.text, written.messages, tokenizer, tools)
    spans = [written.spans[i] for i in learned]
    ids, offsets = _tokens(written.text, tokenizer)
    special_ids = set(_special_tokens(tokenizer).values())
    is_special = [token in special_ids for token in ids]
    targets = _targets(offsets, is_special, spans)
    if _drops_characters(offsets, is_special, len(written.text)):
        targets = _counted_targets(written.text, ids, spans, tokenizer) or targets
    return ids, targets, sum(span.n_bytes for span in spans)


@dataclass(frozen=True)
class CutConversation:
    """A conversation that was shortened.

    Args:
        ids: token ids.
        targets: whether each is learned.
        n_bytes: bytes of the learned text.
        n_turns: number of turns that are left, the system turn among them.
    """

    ids: list[int]
    targets: list[bool]
    n_bytes: int
    n_turns: int


def cut_conversation(
    messages: Sequence[Message], tokenizer: Tokenizer, most: int, tools: Tools = None, train_on: str = "all"
) -> CutConversation:
    """A conversation without its oldest turns, at most `most` tokens: the system turn and the newest ones stay.

    Turns after the last one that is learned are removed first, since nothing is learned from them. If the last
    question and its answer alone are too long, the question (or what a tool returned) loses the beginning of its
    text, down to half of the room, and then the answer loses its end.

    Raises:
        RowError: the template refuses the conversation, or a turn cannot be found in the rendering.
    """
    learned = learned_turns(messages, train_on)
    said = messages[: learned[-1] + 1] if learned else messages
    kept = Prompt(said, lambda part: _ids_of(part, tokenizer, tools)).fitted(most).messages
    ids, targets, n_bytes = encode_conversation(kept, tokenizer, tools, train_on)
    left = _positions_left(kept, len(ids), tokenizer, most, tools)
    gone = sorted({*range(len(ids))}.difference(left))
    lost = tokenizer.decode([ids[at] for at in gone if targets[at]], skip_special_tokens=True)
    return CutConversation(
        [ids[at] for at in left],
        [targets[at] for at in left],
        max(n_bytes - len(lost.encode("utf-8")), 0),
        len(kept),
    )


def _positions_left(
    messages: Sequence[Message], length: int, tokenizer: Tokenizer, most: int, tools: Tools
) -> list[int]:
    """The tokens of a conversation that are left of a question and an answer: all where they fit."""
    everything = range(length)
    if length <= most or not split_reply(messages)[0]:
        return list(everything[:most])
    prompt = prompt_of(messages, tokenizer, tools)
    room = max(most - (length - len(prompt.ids)), most // 2)
    return without(everything, prompt.gap(room))[:most]


@dataclass(frozen=True)
class _Written:
    """A conversation as a template writes it.

    Args:
        messages: messages in the spelling that the template takes.
        text: rendering.
        spans: locations of turns, by their numbers.
    """

    messages: list[Message]
    text: str
    spans: Mapping[int, Span]


def _write(messages: Sequence[Message], tokenizer: Tokenizer, tools: Tools, turns: Sequence[int]) -> _Written:
    """Renders a conversation and finds turns in it, in the first spelling with which that is possible.

    Raises:
        RowError: there is none; the error is that of the usual spelling.
    """
    specials = tuple(_special_tokens(tokenizer))
    errors = []
    for spelled in spellings(without_marks(messages)):
        try:
            text = render(spelled, tokenizer, tools)
            finder = Finder(spelled, text, tokenizer, tools, specials)
            return _Written(spelled, text, {i: finder.find(i) for i in turns})
        except RowError as error:
            errors.append(error)
    raise errors[0]


def _ids_of(
    messages: Sequence[Message], tokenizer: Tokenizer, tools: Tools, *, ask: bool = False
) -> list[int]:
    """Token ids of a conversation; with `ask`, up to the start of the assistant's text."""
    calling = _calling(messages)
    spelled = _write(messages, tokenizer, tools, calling).messages if calling else without_marks(messages)
    text = render(spelled, tokenizer, tools, ask=ask)
    _refuse_unwritten_tools(text, spelled, tokenizer, tools, ask=ask)
    return _tokens(text, tokenizer)[0]


def _calling(messages: Sequence[Message]) -> list[int]:
    """The numbers of the turns that call tools: these must be written, whether they are learned or not."""
    return [i for i, message in enumerate(messages) if message.get("tool_calls")]


def _refuse_unwritten_tools(
    text: str, messages: list[Message], tokenizer: Tokenizer, tools: Tools, *, ask: bool = False
) -> None:
    if tools and text == render(messages, tokenizer, None, ask=ask):
        raise RowError("the chat template does not write the tools.", hint=hint_for_tools(tokenizer))


def _tokens(text: str, tokenizer: Tokenizer) -> tuple[list[int], list[tuple[int, int]]]:
    """Token ids of a rendering, and the characters of each token."""
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
    offsets: Sequence[tuple[int, int]], is_special: Sequence[bool], spans: Sequence[Span]
) -> list[bool]:
    """Whether each token has a character of a span; spans and tokens are in the order of the text."""
    targets, current, previous = [], 0, 0
    for (start, end), special in zip(offsets, is_special, strict=True):
        if start == end:
            start = previous  # byte-level tokenizers report white space without extent
        while current < len(spans) and spans[current].end <= start:
            current += 1
        span = spans[current] if current < len(spans) else None
        # A special token of the header may include the white space at the start of the content.
        is_header = span is not None and special and start < span.start
        targets.append(span is not None and end > span.start and not is_header)
        previous = max(previous, end)
    return targets


def _drops_characters(offsets: Sequence[tuple[int, int]], is_special: Sequence[bool], length: int) -> bool:
    """Whether tokens leave a gap before a special token or the end of the text.

    A BPE without an unknown token (transformers 5 builds every `LlamaTokenizer` as one) drops a character that it
    lacks, and shifts the offsets of the following tokens, up to the next special token.
    """
    covered = 0
    for (start, end), special in zip(offsets, is_special, strict=True):
        if special and start > covered:
            return True
        covered = max(covered, end)
    return covered < length


def _counted_targets(
    text: str, ids: Sequence[int], spans: Sequence[Span], tokenizer: Tokenizer
) -> list[bool] | None:
    """Targets without offsets, from the number of tokens up to each border; None if a token crosses a border."""
    targets = [False] * len(ids)
    for span in spans:
        before, through = (_tokens(text[:at], tokenizer)[0] for at in (span.start, span.end))
        if ids[: len(before)] != before or ids[: len(through)] != through:
            return None
        targets[len(before) : len(through)] = [True] * (len(through) - len(before))
    return targets


def _special_tokens(tokenizer: Tokenizer) -> dict[str, int]:
    """Every special token and its id, longest first, since a token may end with another."""
    named = dict(zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True))
    added = {token.content: i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    return dict(sorted({**named, **added}.items(), key=lambda item: -len(item[0])))
