"""Text to text with an encoder and a decoder: shared code of translation, summarization and similar tasks.

Training is teacher forcing: the loss is the cross-entropy of each target token given the true tokens before it.
Evaluations during training use this loss; the metrics of the result are those of generated texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.metrics import Scores, Shares, Statistics, overlap, total
from tunesmith.tasks import (
    IGNORED,
    Batch,
    Encoded,
    EncodeOptions,
    EvalPredictions,
    Generation,
    LabelSchema,
    LossOptions,
    Prediction,
    RowError,
    Schedule,
    Task,
    Values,
    Vocabulary,
    displays,
)
from tunesmith.tasks import _language as language
from tunesmith.tasks import _texts as texts
from tunesmith.tasks._values import are_labels, is_missing, text_of

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from tunesmith.types import JsonObject, Model, Tokenizer


_UNKNOWN = "target tokens (unknown to the tokenizer)"


class SequenceToSequence(Task, abstract=True):
    """A task of this kind, with a source and a target column."""

    measures: tuple[str, ...]
    """Names in `tunesmith.metrics.overlap`."""
    answer_key: str
    """The Hub's name for the generated text."""

    suggested_model = "google-t5/t5-small"
    auto_class = "AutoModelForSeq2SeqLM"
    selection_metric = "loss"
    item = "target tokens"
    schedule = Schedule(rows_wanted=40_000, most_epochs=8)
    supported_options: tuple[str, ...] = ("label_smoothing_factor", "r_drop_alpha", "augment")
    generation: Generation | None = Generation(scores_texts=True)
    vocabulary: Vocabulary | None = Vocabulary(language.add_unknown_characters)
    display = displays.TEXTS

    def read(self, row: Values) -> JsonObject:
        """See Task; the target is a list of references."""
        source, target = self.inputs[0], self.outputs[0]
        example: JsonObject = {source: text_of(row[source], source)}
        return {**example, target: _references(row[target], target)} if target in row else example

    def resembles(self, columns: Values) -> bool:
        """See Task: nearly every source has a target of its own."""
        return not are_labels([references[0] for references in columns[self.outputs[0]]])

    def _relative_length(self, columns: Values) -> float:
        """Characters of the targets for each character of the sources."""
        sources, targets = columns[self.inputs[0]], columns[self.outputs[0]]
        return sum(len(texts[0]) for texts in targets) / max(sum(map(len, sources)), 1)

    def encode(
        self, batch: Values, tokenizer: Tokenizer, options: EncodeOptions, label_schema: LabelSchema
    ) -> Encoded:
        """See Task; in training, each reference of a row is a sequence of its own."""
        how = {
            "truncation": options.max_length is not None,
            "max_length": options.max_length,
            "verbose": False,
        }
        sources = list(batch[self.inputs[0]])
        read = tokenizer(sources, return_attention_mask=False, **how)["input_ids"]
        if not texts.has_column(batch, self.outputs[0]):
            return Encoded.of({"input_ids": read})
        references = batch[self.outputs[0]]
        used = references if options.purpose == "train" else [row[:1] for row in references]
        rows = [i for i, row in enumerate(used) for _ in row]
        flat = [text for row in used for text in row]
        written = tokenizer(text_target=flat, return_attention_mask=False, verbose=False)["input_ids"]
        unknown = sum(ids.count(tokenizer.unk_token_id) for ids in written)
        known = {_UNKNOWN: (unknown, sum(map(len, written)))} if tokenizer.unk_token_id is not None else {}
        return Encoded.of(
            {
                "input_ids": [read[row] for row in rows],
                "decoder_labels": [
                    _ended(ids, tokenizer.eos_token_id, options.max_length) for ids in written
                ],
            },
            rows=rows,
            n_rows=len(sources),
            lost=known,
        )

    def num_items(self, encoded: Encoded) -> NDArray[np.int64]:
        """See Task: target tokens."""
        return encoded.ragged["decoder_labels"].lengths

    def forward(self, model: Model, batch: Batch) -> torch.Tensor:
        """See Task; the decoder reads the target, shifted by one."""
        plain = getattr(model, "module", model)
        logits: torch.Tensor = model(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            decoder_input_ids=_shifted(plain, batch["decoder_labels"]),
            use_cache=False,
        ).logits
        return logits

    def loss(self, outputs: torch.Tensor, batch: Batch, options: LossOptions) -> torch.Tensor:
        """See Task."""
        return texts.classification_loss(outputs, batch["decoder_labels"], options)

    def select_outputs(self, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
        """See Task: [b, 2], the negative log-likelihood and the number of target tokens."""
        return language.summed_nll(outputs, batch["decoder_labels"])

    def divergence(self, one: torch.Tensor, other: torch.Tensor, batch: Batch) -> torch.Tensor:
        """See Task; over the target's tokens."""
        return super().divergence(one, other, {"labels": batch["decoder_labels"]})

    def decode(self, evaluated: EvalPredictions, label_schema: LabelSchema) -> list[Prediction]:
        """See Task."""
        return [{self.answer_key: text.strip()} for text in evaluated.texts or ()]

    def gold(self, columns: Values, label_schema: LabelSchema) -> list[str | list[str]]:
        """See Task: one text, or all references."""
        return [row[0] if len(row) == 1 else row for row in columns[self.outputs[0]]]

    def is_correct(self, prediction: Prediction, gold: str | list[str]) -> bool:
        """See Task: exactly a reference."""
        return prediction[self.answer_key] in ([gold] if isinstance(gold, str) else gold)

    def error_of(self, prediction: Prediction, gold: str | list[str]) -> float:
        """See Task: one minus chrF with the references."""
        references = [gold] if isinstance(gold, str) else gold
        statistics = overlap.statistics([prediction[self.answer_key]], [references], ("chrf",))
        return 1.0 - float(overlap.formula(total(statistics), ("chrf",))["chrf"])

    def statistics(self, evaluated: EvalPredictions, label_schema: LabelSchema) -> Statistics:
        """See Task: likelihood, then the measures; where nothing was generated, of empty texts."""
        references = evaluated.columns[self.outputs[0]]
        generated = [text.strip() for text in evaluated.texts or [""] * len(references)]
        measured = overlap.statistics(generated, references, self.measures)
        return np.concatenate([language.by_row(evaluated), measured], axis=1)

    def formula(self, sums: NDArray[np.float64], label_schema: LabelSchema) -> Scores:
        """See Task."""
        scores = overlap.formula(sums[..., 2:], self.measures)
        return {**scores, "loss": language.mean_nll(sums)}

    def shares(self, label_schema: LabelSchema) -> Shares:
        """See Task."""
        return overlap.shares(self.measures, first=2)

    def validation_scores(self, evaluated: EvalPredictions, label_schema: LabelSchema) -> dict[str, float]:
        """See Task: the loss alone, without generating."""
        return {"loss": float(language.mean_nll(language.by_row(evaluated).sum(0)))}


def _shifted(model: Model, labels: torch.Tensor) -> torch.Tensor:
    """The decoder's input [b, s]: the labels shifted by one, by the function of the model's class.

    mBART starts with the language, others with a token that the config names; some classes have no such function.
    """
    import torch

    if hasattr(model, "prepare_decoder_input_ids_from_labels"):
        read: torch.Tensor = model.prepare_decoder_input_ids_from_labels(labels=labels)
        return read
    first = labels.new_full((len(labels), 1), model.config.decoder_start_token_id)
    shifted = torch.cat([first, labels[:, :-1]], dim=1)
    return shifted.masked_fill(shifted == IGNORED, model.config.pad_token_id)


def _references(value: object, column: str) -> list[str]:
    if is_missing(value) or isinstance(value, str):
        return [text_of(value, column)]
    if not isinstance(value, (list, tuple)) or not value:
        raise RowError(f"{column} must be a text or a list of texts, got `{value}`.")
    return [text_of(text, column) for text in value]


def _ended(ids: Sequence[int], eos: int | None, max_length: int | None) -> list[int]:
    """Ids with the end-of-text token at the end, unless the text is truncated."""
    whole = list(ids) if eos is None or ids[-1] == eos else [*ids, eos]
    if max_length is None or len(whole) <= max_length:
        return whole
    return whole[:max_length]
