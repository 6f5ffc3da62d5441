"""Learning from comparisons: which of two replies people chose.

Direct preference optimisation (Rafailov et al. 2023, arXiv 2305.18290): the loss is -log σ(β·margin). The margin
is the gain in log-likelihood of the chosen reply, compared with the base model, minus that of the rejected reply.
The base model's likelihoods are computed once. The reward of a reply is β times its gain in log-likelihood.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.metrics import Scores, Shares, Statistics, preference
from tunesmith.tasks import (
    IGNORED,
    TASKS,
    Batch,
    ChatTemplate,
    Column,
    Encoded,
    EncodeOptions,
    EvalPredictions,
    Generation,
    LabelSchema,
    Layouts,
    Length,
    LossOptions,
    Pipeline,
    Prediction,
    Recognised,
    Reference,
    RowError,
    Schedule,
    Task,
    Values,
    displays,
)
from tunesmith.tasks import _chat_templates as chat_templates
from tunesmith.tasks import _conversations as conversations
from tunesmith.tasks import _language as language
from tunesmith.tasks._messages import as_messages, checked_messages, checked_tools
from tunesmith.tasks._prompting import generation_arguments
from tunesmith.tasks.chat import last_reply, reply

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from tunesmith.tasks._chat_templates.fitting import Prompt
    from tunesmith.tasks._chat_templates.turns import Tools
    from tunesmith.tasks._messages import Message
    from tunesmith.types import JsonObject, Model, Tokenizer


def _recognise(header: Collection[str], rows: Sequence[Values]) -> Recognised | None:
    """Pairs of replies as TRL, ShareGPT or Alpaca keep them."""
    return conversations.recognise_preference(header, rows[0])


class Preference(Task):
    """The task's object."""

    name = "preference"
    summary = "the better of two replies, learned from the choices of people"
    aliases = ("dpo", "preference-optimization")
    columns = (
        Column("prompt", "text", ("prompt", "question", "instruction", "input", "query")),
        Column("tools", "list", ("tools",), required=False),
        Column("chosen", "text", ("chosen", "preferred", "accepted", "winner"), target=True),
        Column("rejected", "text", ("rejected", "dispreferred", "loser"), target=True),
    )
    shown = ("prompt",)
    suggested_model = "HuggingFaceTB/SmolLM2-135M-Instruct"
    auto_class = "AutoModelForCausalLM"
    primary_metric = "reward_accuracy"
    selection_metric = "loss"  # accuracy on a few pairs is too coarse to choose the best step
    baselines = ("longer_reply",)
    supported_options = ("dpo_beta",)
    item = "pairs"
    schedule = Schedule(rate_factor=0.1)
    length = Length(1024)
    generation = Generation(
        end_tokens=chat_templates.end_tokens,
        reader=language.plain_reader,
        replies=lambda: TASKS.get("chat"),
    )
    chat = ChatTemplate(chat_templates.give_template)
    reference = Reference()
    layouts = Layouts(_recognise)
    pipeline = Pipeline("text-generation", generation_arguments)
    display = displays.PAIRS

    def read(self, row: Values) -> JsonObject:
        """See Task; all three are messages."""
        example = {"prompt": checked_messages(as_messages(row["prompt"], "user"), needs_reply=False)}
        for name in self.outputs:
            if name in row:
                example[name] = checked_messages(as_messages(row[name], "assistant"), needs_reply=True)
        if tools := checked_tools(row.get("tools")):
            example["tools"] = tools
        if "chosen" in example and example["chosen"] == example.get("rejected"):
            raise RowError("the chosen and the rejected reply are the same.")
        return example

    def encode(
        self, batch: Values, tokenizer: Tokenizer, options: EncodeOptions, label_schema: LabelSchema
    ) -> Encoded:
        """See Task: the chosen conversation, and the rejected one beside it under `rejected_…`."""
        tools = batch.get("tools") or [None] * len(batch["prompt"])
        if options.purpose == "predict":
            most = None if options.max_length is None else options.max_length // 2
            prompts = [
                chat_templates.fit_prompt([*prompt, reply("-")], tokenizer, most, row_tools)
                for prompt, row_tools in zip(batch["prompt"], tools, strict=True)
            ]
            return Encoded.of({"input_ids": prompts})
        columns = zip(batch["prompt"], tools, batch["chosen"], batch["rejected"], strict=True)
        made = [
            _encode_pair(_Asked(prompt, row_tools, tokenizer), replies, options.max_length)
            for prompt, row_tools, *replies in columns
        ]
        n_gone = sum(gone for _, gone in made)
        return Encoded.of(
            {name: [row[name] for row, _ in made] for name in _FIELDS},
            n_rows=len(made),
            lost={"turns": (n_gone, sum(map(len, batch["prompt"])))} if n_gone else None,
        )

    def num_items(self, encoded: Encoded) -> NDArray[np.int64]:
        """See Task: pairs with tokens left of both replies."""
        left = [
            labels.sums((labels.values != IGNORED).astype(np.int64)) > 0
            for labels in (encoded.ragged["labels"], encoded.ragged["rejected_labels"])
        ]
        return (left[0] & left[1]).astype(np.int64)

    def forward(self, model: Model, batch: Batch) -> torch.Tensor:
        """See Task: log-likelihoods [b, 2] of the chosen and the rejected reply, in one pass."""
        import torch

        joined = {
            name: _stacked(batch[name], batch[f"rejected_{name}"], padding)
            for name, padding in (("input_ids", 0), ("attention_mask", 0), ("labels", IGNORED))
        }
        logits = model(input_ids=joined["input_ids"], attention_mask=joined["attention_mask"]).logits
        nll = language.summed_nll(*language.next_token(logits, joined["labels"]))[:, 0]
        return torch.stack(nll.neg().chunk(2), dim=1)

    def loss(self, outputs: torch.Tensor, batch: Batch, options: LossOptions) -> torch.Tensor:
        """See Task."""
        from torch.nn import functional as F

        gains = outputs - batch["reference"]
        return -F.logsigmoid(options.dpo_beta * (gains[:, 0] - gains[:, 1])).sum()

    def gold(self, columns: Values, label_schema: LabelSchema) -> list[JsonObject]:
        """See Task: both replies."""
        return [
            {"chosen": last_reply(chosen), "rejected": last_reply(rejected)}
            for chosen, rejected in zip(columns["chosen"], columns["rejected"], strict=True)
        ]

    def decode(self, evaluated: EvalPredictions, label_schema: LabelSchema) -> list[Prediction]:
        """See Task; in scoring, the gain of each reply."""
        said = list(evaluated.texts or ())
        if evaluated.outputs is None:
            return [{"message": reply(text)} for text in said]
        return [
            {"chosen_gain": round(float(chosen), 4), "rejected_gain": round(float(rejected), 4)}
            | ({"message": reply(said[row])} if row < len(said) else {})
            for row, (chosen, rejected) in enumerate(_gains(evaluated))
        ]

    def is_correct(self, prediction: Prediction, gold: JsonObject) -> bool:
        """See Task."""
        return bool(prediction["chosen_gain"] > prediction["rejected_gain"])

    def error_of(self, prediction: Prediction, gold: JsonObject) -> float:
        """See Task."""
        return float(prediction["rejected_gain"] - prediction["chosen_gain"])

    def statistics(self, evaluated: EvalPredictions, label_schema: LabelSchema) -> Statistics:
        """See Task; margins are in nats, not multiplied by β."""
        gains = _gains(evaluated)
        return preference.statistics(gains[:, 0] - gains[:, 1])

    def formula(self, sums: NDArray[np.float64], label_schema: LabelSchema) -> Scores:
        """See Task."""
        return preference.formula(sums)

    def shares(self, label_schema: LabelSchema) -> Shares:
        """See Task."""
        return preference.shares()


task = Preference()


def _gains(evaluated: EvalPredictions) -> NDArray[np.float64]:
    """[rows, 2], gain in log-likelihood over the base model."""
    reference = evaluated.encoded.dense.get("reference")
    kept = np.asarray(evaluated.outputs, dtype=np.float64)
    return kept if reference is None else kept - np.asarray(reference, dtype=np.float64)


_FIELDS = ("input_ids", "labels", "rejected_input_ids", "rejected_labels")


@dataclass(frozen=True)
class _Asked:
    """What is said before a reply.

    Args:
        messages: messages of the prompt.
        tools: functions that the assistant may call.
        tokenizer: tokenizer with a chat template.
    """

    messages: Sequence[Message]
    tools: Tools
    tokenizer: Tokenizer

    def prompt(self) -> Prompt:
        """The prompt with its tokens."""
        return chat_templates.prompt_of([*self.messages, reply("-")], self.tokenizer, self.tools)

    def encode(self, prompt: Prompt, said: Sequence[Message]) -> tuple[list[int], list[int]]:
        """Ids and labels of a conversation; only tokens after the prompt have labels."""
        ids, is_target, _ = chat_templates.encode_conversation(
            [*prompt.messages, *said], self.tokenizer, self.tools
        )
        learned = (target and position >= len(prompt.ids) for position, target in enumerate(is_target))
        return ids, [token if learn else IGNORED for token, learn in zip(ids, learned, strict=True)]


def _encode_pair(
    asked: _Asked, replies: Sequence[Sequence[Message]], max_length: int | None
) -> tuple[dict[str, list[int]], int]:
    """Both replies after the same prompt, and the turns that the prompt lost.

    A long prompt loses its oldest turns, then a reply its end.
    """
    prompt = asked.prompt()
    both = [asked.encode(prompt, said) for said in replies]
    longest, n_gone = max(len(ids) for ids, _ in both), 0
    if max_length is not None and longest > max_length:
        most = max(max_length - (longest - len(prompt.ids)), max_length // 2)
        fitted = prompt.fitted(most)
        if fitted is not prompt:
            both = [asked.encode(fitted, said) for said in replies]
        n_gone, gap = len(prompt.messages) - len(fitted.messages), fitted.gap(most)
        both = [
            (chat_templates.without(ids, gap)[:max_length], chat_templates.without(labels, gap)[:max_length])
            for ids, labels in both
        ]
    return dict(zip(_FIELDS, (part for pair in both for part in pair), strict=True)), n_gone


def _stacked(one: torch.Tensor, other: torch.Tensor, padding: int) -> torch.Tensor:
    """Both [b, …] padded to one width and stacked: [2b, …]."""
    import torch
    from torch.nn import functional as F

    width = max(one.shape[1], other.shape[1])
    return torch.cat([F.pad(part, (0, width - part.shape[1]), value=padding) for part in (one, other)])
