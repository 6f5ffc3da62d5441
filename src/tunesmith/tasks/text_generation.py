"""Continuing a text: the model learns to predict each token from the tokens before it.

A document that is longer than the model reads is split into blocks. Short documents share a sequence, but are kept
apart. Scores are per byte, so models with different tokenizers can be compared. Every token except the first has
at least a quarter of a window before it. The end of a document is learned, but not scored: it is not a byte of the
text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tunesmith.metrics import Scores, Statistics, language_modelling
from tunesmith.tasks import (
    IGNORED,
    Column,
    Encoded,
    EncodeOptions,
    EvalPredictions,
    Generation,
    LabelSchema,
    Length,
    Packing,
    Pipeline,
    Prediction,
    Values,
    Windows,
    displays,
)
from tunesmith.tasks import _language as language
from tunesmith.tasks._next_token import NextToken
from tunesmith.tasks._prompting import generation_arguments
from tunesmith.tasks._values import text_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tunesmith.types import JsonObject, Tokenizer

_PROMPT_CHARACTERS = 200
_SHOWN_CHARACTERS = 400


def _sample_prompts(columns: Values) -> Values:
    """The beginning of each text."""
    return {"text": [_beginning(text) for text in columns["text"]]}


class TextGeneration(NextToken):
    """The task's object."""

    name = "text-generation"
    summary = "the continuation of a text, in the style of the training texts"
    aliases = ("clm", "causal-lm", "language-modeling", "language-modelling")
    columns = (Column("text", "text", ("text", "content", "document", "body", "story")),)
    suggested_model = "HuggingFaceTB/SmolLM2-135M"
    auto_class = "AutoModelForCausalLM"
    primary_metric = "bits_per_byte"
    baselines = ("base_model",)
    supported_options = ("label_smoothing_factor",)
    length = Length(1024)
    windows = Windows()
    packing = Packing()
    generation = Generation(
        sample_prompts=_sample_prompts,
        reader=language.plain_reader,
        with_answer=lambda _, prompt, answer: {"text": f"{prompt} {answer}"},
    )
    pipeline = Pipeline("text-generation", generation_arguments)
    display = displays.texts_after(lambda line: _beginning(line["text"]))

    def read(self, row: Values) -> JsonObject:
        """See Task."""
        return {"text": text_of(row["text"], "text")}

    def encode(
        self, batch: Values, tokenizer: Tokenizer, options: EncodeOptions, label_schema: LabelSchema
    ) -> Encoded:
        """See Task; a prompt is the end of a text, short enough to leave room for an answer."""
        how = {"add_special_tokens": False, "return_attention_mask": False, "verbose": False}
        encoded = tokenizer(list(batch["text"]), return_offsets_mapping=True, **how)
        first = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
        if options.purpose == "predict":
            most = None if options.max_length is None else options.max_length // 2
            return Encoded.of({"input_ids": [_prompt(first, ids, most) for ids in encoded["input_ids"]]})
        last = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
        rows = []
        for text, ids, offsets in zip(
            batch["text"], encoded["input_ids"], encoded["offset_mapping"], strict=True
        ):
            unscored = 0 if first or not offsets else len(text[: offsets[0][1]].encode())
            labels = [*first, *ids, *(last if options.purpose == "train" else [IGNORED] * len(last))]
            rows.append(([*first, *ids, *last], labels, len(text.encode()) - unscored))
        overlap = 0 if options.purpose == "train" else options.overlap
        return language.encoded_windows(rows, options.max_length, overlap)

    def gold(self, columns: Values, label_schema: LabelSchema) -> list[str]:
        """See Task: the true continuation of the text."""
        return [text[len(_beginning(text)) :][:_SHOWN_CHARACTERS] for text in columns["text"]]

    def decode(self, evaluated: EvalPredictions, label_schema: LabelSchema) -> list[Prediction]:
        """See Task; in scoring, each text has its bits per byte, and the first texts have a continuation."""
        if evaluated.outputs is None:
            return [{"generated_text": text} for text in evaluated.texts or ()]
        return language.scored_texts(evaluated, "generated_text")

    def statistics(self, evaluated: EvalPredictions, label_schema: LabelSchema) -> Statistics:
        """See Task."""
        return language.statistics_of_texts(evaluated)

    def formula(self, sums: NDArray[np.float64], label_schema: LabelSchema) -> Scores:
        """See Task."""
        return language_modelling.formula(sums, with_bytes=True)


task = TextGeneration()


def _prompt(first: list[int], ids: list[int], most: int | None) -> list[int]:
    kept = ids if most is None or len(ids) + len(first) <= most else ids[-max(most - len(first), 1) :]
    return [*first, *kept]


def _beginning(text: str) -> str:
    """The first words of a text, at most half of it."""
    most = min(_PROMPT_CHARACTERS, max(len(text) // 2, 1))
    cut = text[:most]
    return cut[: cut.rfind(" ")] if " " in cut.strip() and len(cut) < len(text) else cut
