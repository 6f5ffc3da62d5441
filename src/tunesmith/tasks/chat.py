"""Replies in a conversation: the model learns the assistant's turns, and where they end.

Rows are messages, or one of the usual formats of conversations (`_conversations`). The chat template is the
model's own or a named one, and is saved with the model. Only the assistant's turns are learned and scored, with
the end of each turn; other turns are only read, and so are turns of the assistant that are marked (`_marks`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tunesmith.metrics import Scores, Statistics, language_modelling
from tunesmith.metrics.writing import Expected
from tunesmith.tasks import (
    IGNORED,
    ChatTemplate,
    Column,
    Encoded,
    EncodeOptions,
    EvalPredictions,
    Generation,
    LabelSchema,
    Layouts,
    Length,
    Packing,
    Pipeline,
    Prediction,
    Recognised,
    RowError,
    Schedule,
    Values,
    Windows,
    displays,
)
from tunesmith.tasks import _chat_templates as chat_templates
from tunesmith.tasks import _conversations as conversations
from tunesmith.tasks import _language as language
from tunesmith.tasks._message_text import message_text
from tunesmith.tasks._messages import as_messages, checked_messages, checked_tools
from tunesmith.tasks._next_token import NextToken
from tunesmith.tasks._prompting import generation_arguments

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tunesmith.types import JsonObject, Tokenizer


def _recognise(header: Collection[str], rows: Sequence[Values]) -> Recognised | None:
    """Messages, ShareGPT, Alpaca, prompt and completion, question and answer."""
    return conversations.recognise(header, rows[0])


def _lacks(chosen: Collection[str], need_targets: bool) -> str:
    """Messages, or a prompt and its completion."""
    if "messages" in chosen:
        return ""
    if "prompt" not in chosen:
        return "messages"
    return "completion" if need_targets and "completion" not in chosen else ""


def _expected(columns: Values) -> list[Expected]:
    """The last reply of each conversation: its text, or its tool calls."""
    tools = columns.get("tools") or [None] * len(columns["messages"])
    return [_last(messages, known) for messages, known in zip(columns["messages"], tools, strict=True)]


def _last(messages: Sequence[Mapping[str, Any]], tools: Sequence[JsonObject] | None) -> Expected:
    _, said = chat_templates.split_reply([dict(message) for message in messages])
    if said is None:
        return Expected()
    calls = tuple(
        {"name": call["function"]["name"], "arguments": call["function"].get("arguments") or {}}
        for call in said.get("tool_calls") or ()
    )
    text = str(said.get("content") or "").strip()
    return Expected((text,) if text and not calls else (), calls, tuple(tools or ()))


class Chat(NextToken):
    """The task's object."""

    name = "chat"
    summary = "replies in a conversation"
    aliases = ("sft", "instruction-tuning", "conversational")
    columns = (
        Column(
            "messages",
            "list",
            ("messages", "conversation", "conversations", "dialogue", "turns"),
            required=False,
        ),
        Column("tools", "list", ("tools",), required=False),
        Column("prompt", "text", ("prompt", "instruction"), required=False),
        Column("completion", "text", ("completion", "response"), required=False, target=True),
    )
    inputs = ("messages", "tools")
    outputs = ()
    shown = ("messages",)
    suggested_model = "HuggingFaceTB/SmolLM2-135M-Instruct"
    auto_class = "AutoModelForCausalLM"
    primary_metric = "bits_per_byte"
    baselines = ("base_model",)
    supported_options = ("label_smoothing_factor",)
    item = "assistant tokens"
    length = Length(1024)
    schedule = Schedule(most_epochs=3)
    windows = Windows()
    packing = Packing()
    generation = Generation(
        end_tokens=chat_templates.end_tokens,
        samples=100,
        expected=_expected,
        reader=language.plain_reader,
        with_answer=lambda _, prompt, answer: {"prompt": prompt, "completion": answer},
    )
    chat = ChatTemplate(chat_templates.give_template, learns_turns=True)
    layouts = Layouts(_recognise, lacks=_lacks)
    pipeline = Pipeline("text-generation", generation_arguments)
    display = displays.texts_after(lambda line: chat_templates.split_reply(line["messages"])[0])

    def read(self, row: Values) -> JsonObject:
        """See Task; a plain text is a message of the user."""
        messages = as_messages(_said(row, "messages", "prompt"), "user")
        if row.get("completion") is not None:
            messages = [*messages, *as_messages(row["completion"], "assistant")]
        checked = checked_messages(messages, needs_reply=False)
        if all(message["role"] == "assistant" for message in checked):
            raise RowError("nothing is said before the assistant's turn.")
        tools = checked_tools(row.get("tools"))
        return {"messages": checked, **({"tools": tools} if tools else {})}

    def encode(
        self, batch: Values, tokenizer: Tokenizer, options: EncodeOptions, label_schema: LabelSchema
    ) -> Encoded:
        """See Task; a long conversation is read in windows or cut; a prompt is fitted."""
        tools = batch.get("tools") or [None] * len(batch["messages"])
        if options.purpose == "predict":
            most = None if options.max_length is None else options.max_length // 2
            prompts = [
                chat_templates.fit_prompt(messages, tokenizer, most, row_tools)
                for messages, row_tools in zip(batch["messages"], tools, strict=True)
            ]
            return Encoded.of({"input_ids": prompts})
        rows, n_gone = [], 0
        for messages, row_tools in zip(batch["messages"], tools, strict=True):
            row, gone = _encode_row(messages, row_tools, tokenizer, options)
            rows.append(row)
            n_gone += gone
        lost = {"turns": (n_gone, sum(map(len, batch["messages"])))} if n_gone else None
        return language.encoded_windows(rows, options.max_length, options.overlap, lost)

    def gold(self, columns: Values, label_schema: LabelSchema) -> list[str]:
        """See Task: the last reply."""
        return [last_reply(messages) for messages in columns["messages"]]

    def decode(self, evaluated: EvalPredictions, label_schema: LabelSchema) -> list[Prediction]:
        """See Task."""
        if evaluated.outputs is None:
            return [{"message": reply(text)} for text in evaluated.texts or ()]
        return [
            {**answer, "message": reply(answer["message"])} if "message" in answer else answer
            for answer in language.scored_texts(evaluated, "message")
        ]

    def statistics(self, evaluated: EvalPredictions, label_schema: LabelSchema) -> Statistics:
        """See Task."""
        return language.statistics_of_texts(evaluated)

    def formula(self, sums: NDArray[np.float64], label_schema: LabelSchema) -> Scores:
        """See Task."""
        return language_modelling.formula(sums, with_bytes=True)


task = Chat()


def _encode_row(
    messages: Sequence[JsonObject],
    tools: list[JsonObject] | None,
    tokenizer: Tokenizer,
    options: EncodeOptions,
) -> tuple[tuple[list[int], list[int], int], int]:
    """Ids, labels and learned bytes of a conversation, cut if the recipe says so; and how many turns it lost."""
    ids, is_target, n_bytes = chat_templates.encode_conversation(messages, tokenizer, tools, options.train_on)
    n_gone, most = 0, options.max_length
    if options.too_long == "cut" and most is not None and len(ids) > most:
        cut = chat_templates.cut_conversation(messages, tokenizer, most, tools, options.train_on)
        ids, is_target, n_bytes, n_gone = cut.ids, cut.targets, cut.n_bytes, len(messages) - cut.n_turns
    return (ids, np.where(is_target, ids, IGNORED).tolist(), n_bytes), n_gone


def _said(row: Values, *names: str) -> Any:
    """The first of the columns that the row has."""
    found = next((row[name] for name in names if row.get(name) is not None), None)
    if found is None:
        raise RowError(f"no {names[0]}.")
    return found


def reply(text: str) -> dict[str, str]:
    """A message of the assistant."""
    return {"role": "assistant", "content": text.strip()}


def last_reply(messages: Collection[Mapping[str, Any]]) -> str:
    """The last message of the assistant, with its calls as JSON."""
    said = [message_text(message) for message in messages if message["role"] == "assistant"]
    return said[-1] if said else ""
