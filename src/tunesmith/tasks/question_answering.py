"""The passage of a text that answers a question, or the answer that there is none.

A text that is longer than the model reads is read in overlapping windows, each with the question before it (Devlin
et al. 2019, section 4.2). The loss is the mean of the cross-entropies of the first and the last token; in a window
without the answer, both are the first token of the window. If the training rows hold questions without an answer,
an answer is given only if its score exceeds that of no answer by a threshold, which is fitted on the validation
rows (Rajpurkar et al. 2018). Answers have the shape of the Hub's `QuestionAnsweringOutputElement`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tunesmith.metrics import Scores, Shares, Statistics, squad
from tunesmith.tasks import (
    TOP_ANSWERS,
    Alignment,
    Batch,
    Calibration,
    Column,
    Confidence,
    Encoded,
    EncodeOptions,
    EvalPredictions,
    GivenAnswers,
    LabelSchema,
    Length,
    LossOptions,
    Prediction,
    Realigned,
    RowError,
    Scaling,
    Schedule,
    Task,
    Thresholds,
    Values,
    Windows,
    displays,
)
from tunesmith.tasks import _alignment as alignment
from tunesmith.tasks import _passages as passages
from tunesmith.tasks import _texts as texts
from tunesmith.tasks._best_spans import best_spans
from tunesmith.tasks._cells import parsed_cell
from tunesmith.tasks._values import is_missing, text_of

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from tunesmith.types import Config, JsonObject, Model, Tokenizer

THRESHOLD_KEY = "tunesmith_no_answer_threshold"
LENGTH_KEY = "tunesmith_longest_answer"
_ROOM = 1.5
_HIDDEN = -1e4


def _align(row: Values, how: str) -> tuple[Values, list[Realigned]]:
    """The row, with the answers that stand elsewhere where they stand."""
    context = row.get("context")
    if "answers" not in row or not isinstance(context, str):
        return row, []
    answers, moved = [], []
    for item in _items(row["answers"]):
        found = _misplaced(item, context) and alignment.find(context, item["text"], _start_of(item), how)
        if not found:
            answers.append(item)
            continue
        start, end = found
        answers.append({"text": context[start:end], "start": start})
        moved.append(Realigned(item["text"], _start_of(item), context[start:end], start))
    return {**row, "answers": answers}, moved


def _fit_threshold(evaluated: EvalPredictions, label_schema: LabelSchema) -> LabelSchema:
    """By how much no answer must beat the best one, for the best F1; nothing where answers are texts already."""
    if not label_schema["has_unanswerable"] or evaluated.texts is not None:
        return label_schema
    found = best_spans(evaluated, label_schema)
    golds = _gold_texts(evaluated.columns)
    answered = np.array([squad.f1(row.text, gold) for row, gold in zip(found, golds, strict=True)])
    silent = np.array([squad.f1("", gold) for gold in golds])
    margins = np.array([row.null - row.score for row in found])
    order = np.argsort(margins, kind="stable")
    # With the threshold after the i-th margin, the first i rows are answered and the rest are not.
    gains = np.concatenate([[0.0], np.cumsum((answered - silent)[order])])
    best = int(gains.argmax())
    borders = np.concatenate([[margins.min() - 1], np.sort(margins), [margins.max() + 1]])
    return {**label_schema, "threshold": round(float((borders[best] + borders[best + 1]) / 2), 6)}


def _moved_threshold(label_schema: LabelSchema, scaling: Scaling) -> LabelSchema:
    """The threshold between scores that are scaled."""
    if "threshold" not in label_schema:
        return label_schema
    return {**label_schema, "threshold": float(label_schema["threshold"]) * scaling.scale[0]}


def _given(evaluated: EvalPredictions, label_schema: LabelSchema) -> GivenAnswers:
    """The answer of each row, which may be that there is none."""
    found = best_spans(evaluated, label_schema)
    golds = _gold_texts(evaluated.columns)
    silent = [row.is_silent(label_schema) for row in found]
    scores = np.full((len(found), max((len(row.scores) for row in found), default=1)), -np.inf)
    for i, row in enumerate(found):
        scores[i, : len(row.scores)] = row.scores
    chosen = [len(row.scores) - 1 if is_silent else 0 for row, is_silent in zip(found, silent, strict=True)]
    right = [
        squad.exact_match("" if is_silent else row.text, gold)
        for row, is_silent, gold in zip(found, silent, golds, strict=True)
    ]
    rows = np.arange(len(found))
    return GivenAnswers(scores, np.array(chosen, dtype=np.int64), rows, np.array(right, dtype=bool), rows)


class QuestionAnswering(Task):
    """The task's object."""

    name = "question-answering"
    summary = "the passage of a text that answers a question, if there is one"
    aliases = ("qa", "extractive-qa", "reading-comprehension")
    columns = (
        Column("question", "text", ("question", "query")),
        Column("context", "text", ("context", "passage", "document", "text"), together=True),
        Column("answers", "list", ("answers", "answer"), target=True),
    )
    text_column = ""
    auto_class = "AutoModelForQuestionAnswering"
    primary_metric = "f1"
    baselines = ("nearest_sentence",)
    # The head begins at random, without a probe, and needs more passes than others.
    schedule = Schedule(rows_wanted=20_000)
    length = Length(384, least=32)
    windows = Windows()
    outputs_per_token = True
    alignment = Alignment(_align)
    thresholds = Thresholds(_fit_threshold, _moved_threshold)
    calibration = Calibration(_given)
    alternatives = TOP_ANSWERS
    confidence = Confidence()
    display = displays.ANSWERS

    def read(self, row: Values) -> JsonObject:
        """See Task; an answer is its text and where it starts."""
        example: JsonObject = {name: text_of(row[name], name) for name in ("question", "context")}
        if "answers" not in row:
            return example
        return {**example, "answers": _answers(row["answers"], example["context"])}

    def resembles(self, columns: Values) -> bool:
        """See Task: some question has an answer."""
        return any(columns["answers"])

    def learn_label_schema(self, train: Values) -> LabelSchema:
        """See Task: whether some questions have no answer, and the longest answer allowed."""
        lengths = [len(answer["text"]) for answers in train["answers"] for answer in answers]
        return {
            "has_unanswerable": any(not answers for answers in train["answers"]),
            "longest_answer": int(_ROOM * max(lengths, default=100)),
        }

    def config(self, label_schema: LabelSchema) -> JsonObject:
        """See Task."""
        known: JsonObject = {"num_labels": 2, LENGTH_KEY: label_schema["longest_answer"]}
        if label_schema["has_unanswerable"]:
            known[THRESHOLD_KEY] = label_schema.get("threshold", 0.0)
        return known

    def label_schema_of(self, config: Config) -> LabelSchema:
        """See Task."""
        threshold = getattr(config, THRESHOLD_KEY, None)
        label_schema = {
            "has_unanswerable": threshold is not None,
            "longest_answer": int(getattr(config, LENGTH_KEY, 300)),
        }
        return label_schema if threshold is None else {**label_schema, "threshold": threshold}

    def encode(
        self, batch: Values, tokenizer: Tokenizer, options: EncodeOptions, label_schema: LabelSchema
    ) -> Encoded:
        """See Task; `start_of_token` and `end_of_token` are the characters of a token in the context, from 1."""
        with_types = "token_type_ids" in tokenizer.model_input_names
        questions = _short_questions(batch["question"], tokenizer, options.max_length)
        encoded = tokenizer(
            questions,
            list(batch["context"]),
            truncation="only_second" if options.max_length else False,
            max_length=options.max_length,
            # A question may take half of a window, and special tokens take three more.
            stride=max(min(options.overlap, options.max_length // 2 - 8), 0) if options.max_length else 0,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            return_attention_mask=False,
            return_token_type_ids=with_types,
            verbose=False,
        )
        rows = encoded["overflow_to_sample_mapping"]
        places = [
            passages.places(encoded, sequence, batch["context"][row]) for sequence, row in enumerate(rows)
        ]
        fields = {
            "input_ids": encoded["input_ids"],
            "start_of_token": [starts for starts, _ in places],
            "end_of_token": [ends for _, ends in places],
        }
        if with_types:
            fields["token_type_ids"] = encoded["token_type_ids"]
        n = len(batch["question"])
        if not texts.has_column(batch, "answers"):
            return Encoded.of(fields, rows=rows, n_rows=n)
        found = [
            passages.label_of(batch["answers"][row], batch["context"][row], *position)
            for row, position in zip(rows, places, strict=True)
        ]
        labels = np.array([label.tokens for label in found])
        lost = passages.lost(batch["answers"], rows, found)
        cut = sum(a != b for a, b in zip(questions, batch["question"], strict=True))
        if cut:
            lost["questions (cut)"] = (cut, n)
        return Encoded.of(fields, {"labels": labels.reshape(-1, 2)}, rows=rows, n_rows=n, lost=lost)

    def forward(self, model: Model, batch: Batch) -> torch.Tensor:
        """See Task: logits of the first and last token, [b, s, 2]; the question cannot be the answer."""
        import torch

        inputs = {k: batch[k] for k in ("input_ids", "attention_mask", "token_type_ids") if k in batch}
        output = model(**inputs)
        logits = torch.stack([output.start_logits, output.end_logits], dim=-1)
        logits = logits.float() if logits.dtype.itemsize < 4 else logits
        possible = batch["start_of_token"] > 0
        possible[:, 0] = True
        return logits.masked_fill(~possible.unsqueeze(-1), _HIDDEN)

    def loss(self, outputs: torch.Tensor, batch: Batch, options: LossOptions) -> torch.Tensor:
        """See Task."""
        from torch.nn import functional as F

        return F.cross_entropy(outputs, batch["labels"], reduction="sum") / 2

    def decode(self, evaluated: EvalPredictions, label_schema: LabelSchema) -> list[Prediction]:
        """See Task; `top` holds the best answers that do not overlap."""
        answers = []
        for row in best_spans(evaluated, label_schema):
            best: Prediction = {"answer": "", "score": row.null_share, "start": 0, "end": 0}
            answers.append({**(best if row.is_silent(label_schema) else row.top[0]), "top": row.top})
        return answers

    def gold(self, columns: Values, label_schema: LabelSchema) -> list[list[str]]:
        """See Task: the texts of all true answers."""
        return _gold_texts(columns)

    def is_correct(self, prediction: Prediction, gold: list[str]) -> bool:
        """See Task: an exact match with one of them."""
        return bool(squad.exact_match(prediction["answer"], gold))

    def error_of(self, prediction: Prediction, gold: list[str]) -> float:
        """See Task."""
        return float(prediction["score"]) - squad.f1(prediction["answer"], gold)

    def statistics(self, evaluated: EvalPredictions, label_schema: LabelSchema) -> Statistics:
        """See Task; a baseline gives texts in place of outputs."""
        predicted = evaluated.texts
        if predicted is None:
            predicted = [answer["answer"] for answer in self.decode(evaluated, label_schema)]
        return squad.statistics(predicted, _gold_texts(evaluated.columns))

    def formula(self, sums: NDArray[np.float64], label_schema: LabelSchema) -> Scores:
        """See Task."""
        return squad.formula(sums, with_unanswerable=label_schema["has_unanswerable"])

    def shares(self, label_schema: LabelSchema) -> Shares:
        """See Task."""
        return squad.shares(with_unanswerable=label_schema["has_unanswerable"])


task = QuestionAnswering()


def _gold_texts(columns: Values) -> list[list[str]]:
    return [[answer["text"] for answer in answers] for answers in columns["answers"]]


def _answers(value: object, context: str) -> list[JsonObject]:
    return [_answer(item, context) for item in _items(value)]


def _items(value: object) -> list[Any]:
    """Answers from SQuAD's {text: [...], answer_start: [...]}, a list of {text, start}, or one of these."""
    if is_missing(value):
        return []
    value = parsed_cell(value, "answers")
    if isinstance(value, Mapping) and isinstance(value.get("text"), (list, tuple)):
        starts = value.get("answer_start", value.get("start", ()))
        if len(starts) != len(value["text"]):
            raise RowError(f"answers has {len(value['text'])} texts and {len(starts)} starts.")
        value = [{"text": text, "start": start} for text, start in zip(value["text"], starts, strict=True)]
    items = [value] if isinstance(value, Mapping) else value
    if not isinstance(items, (list, tuple)):
        raise RowError(f"answers must hold `text` and `answer_start`, got {type(value).__name__}.")
    return [item for item in items if not _is_no_answer(item)]


def _is_no_answer(item: object) -> bool:
    return isinstance(item, Mapping) and item.get("text") == ""


def _start_of(item: object) -> Any:
    return item.get("answer_start", item.get("start")) if isinstance(item, Mapping) else None


def _misplaced(item: Any, context: str) -> bool:
    """Whether an answer is not at its offset.

    Raises:
        RowError: it is not an answer.
    """
    start = _start_of(item)
    if not isinstance(start, int) or not isinstance(item.get("text"), str):
        raise RowError(f"an answer must have `text` and `answer_start`, got `{item}`.")
    return start < 0 or context[start : start + len(item["text"])] != item["text"]


def _answer(item: Any, context: str) -> JsonObject:
    is_misplaced = _misplaced(item, context)
    start, text = _start_of(item), item["text"]
    if is_misplaced:
        found = context[start : start + len(text)] if start >= 0 else ""
        raise RowError(
            f"the answer `{text[:60]}` is not at character {start} of the context (there: `{found[:60]}`)."
            + alignment.elsewhere(text, start, context)
        )
    lead = len(text) - len(text.lstrip())
    if not text.strip():
        raise RowError("an answer is only white space.")
    return {"text": text.strip(), "start": start + lead}


def _short_questions(questions: Sequence[str], tokenizer: Tokenizer, max_length: int | None) -> list[str]:
    """Questions truncated to half of `max_length`, so that there is room for the context."""
    # No tokenizer makes more tokens than there are bytes, except for one or two.
    if max_length is None or max(len(question.encode()) for question in questions) + 2 < max_length // 2:
        return list(questions)
    encoded = tokenizer(list(questions), add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    most = max_length // 2
    return [
        question[: offsets[most - 1][1]] if len(offsets) > most else question
        for question, offsets in zip(questions, encoded["offset_mapping"], strict=True)
    ]
