"""A label for each word: names, places, products, slots.

Rows are words with tags (IOB1, IOB2, IOBES, BILOU), or a text with spans of characters. A word is classified by
its first token; later tokens have no label, and words that share a token share its label (`_units.py`). A sentence
that is longer than the model reads is read in overlapping windows. The label of each word is taken from the window
in which the word is furthest from an edge. The answer is the most probable valid sequence of tags: I-X is valid
only after B-X or I-X (Viterbi 1967). Entities have the shape of the Hub's `TokenClassificationOutput`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.encoded import Lost
from tunesmith.errors import DataError
from tunesmith.metrics import Scores, Shares, Statistics, spans, total
from tunesmith.tasks import (
    IGNORED,
    Batch,
    Calibration,
    Column,
    Confidence,
    Encoded,
    EncodeOptions,
    EvalPredictions,
    GivenAnswers,
    LabelSchema,
    Layouts,
    Length,
    LinearProbe,
    LossOptions,
    Offsets,
    Pipeline,
    Prediction,
    RowError,
    Task,
    Uncertainty,
    Values,
    Windows,
    displays,
)
from tunesmith.tasks import _offsets as offsets
from tunesmith.tasks import _texts as texts
from tunesmith.tasks import _units as units
from tunesmith.tasks._annotations import recognise_entities
from tunesmith.tasks._entity_rows import read_text, read_tokens
from tunesmith.tasks._labels import refuse_unknown_label, spelling_notices
from tunesmith.tasks._pipeline_spans import pipeline_arguments, pipeline_note
from tunesmith.tasks._tags import (
    Span,
    allowed_tags,
    most_probable,
    scheme_of,
    spans_of_tags,
)
from tunesmith.tasks._values import label_config, labels_in

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from tunesmith.types import Config, JsonObject, Tokenizer

_ENTITY_COLUMNS = ("entities", "slots", "spans", "annotations", "ner")


def _lacks(chosen: Collection[str], need_targets: bool) -> str:
    """Words with tags, or a text with entities."""
    if not {"tokens", "text"} & set(chosen):
        return "tokens"
    pairs = ({"tokens", "tags"}, {"text", "entities"})
    if not need_targets or any(pair <= set(chosen) for pair in pairs):
        return ""
    return "tags" if "tokens" in chosen else "entities"


def _misplaced(columns: Values) -> list[str]:
    """Entities that miss the borders of words, where counting otherwise would put them there."""
    if "entities" not in columns or "tags" in columns:
        return []
    rows = zip(columns["text"], columns["words"], columns["entities"], strict=True)
    return offsets.notice(rows)


def _given(evaluated: EvalPredictions, label_schema: LabelSchema) -> GivenAnswers:
    """Every entity that was found; its parts are its words."""
    golds = [set(map(tuple, row)) for row in evaluated.columns["entities"]]
    found = [
        (row, span, logits[a:b], tags[a:b])
        for row, (spans_, logits, tags) in enumerate(_tagged(evaluated, label_schema))
        for a, b, *span in spans_
    ]
    lengths = [len(tags) for *_, tags in found]
    k = len(label_schema["labels"])
    return GivenAnswers(
        np.concatenate([np.zeros((0, k), dtype=np.float32), *(logits for *_, logits, _ in found)]),
        np.concatenate([np.zeros(0, dtype=np.int64), *(tags for *_, tags in found)]),
        np.repeat(np.arange(len(found)), lengths),
        np.array([tuple(span) in golds[row] for row, span, *_ in found], dtype=bool),
        np.array([row for row, *_ in found], dtype=np.int64),
    )


def _is_entity_right(entity: JsonObject, gold: list[JsonObject]) -> bool:
    return set(_spans_of([entity])) <= set(_spans_of(gold))


class TokenClassification(Task):
    """The task's object."""

    name = "token-classification"
    summary = "entities in a text: names, places, products, slots"
    aliases = ("ner", "named-entity-recognition", "slot-filling")
    columns = (
        Column("tokens", "list", ("tokens", "words"), required=False),
        Column("text", "text", ("text", "sentence", "content", "utterance", "query"), required=False),
        Column("tags", "list", ("tags", "ner_tags", "labels", "bio_tags"), required=False, target=True),
        Column("entities", "list", _ENTITY_COLUMNS, required=False, target=True),
        Column("document", "category", ("doc_id", "document_id"), required=False, together=True),
    )
    inputs = ("text", "words")
    outputs = ("entities", "tags")
    shown = ("text",)
    auto_class = "AutoModelForTokenClassification"
    primary_metric = "f1"
    probe = LinearProbe()
    baselines = ("dictionary",)
    supported_options = ("class_weights", "focal_gamma", "label_smoothing_factor", "r_drop_alpha")
    length = Length(512)
    windows = Windows()
    outputs_per_token = True
    layouts = Layouts(recognise_entities, lacks=_lacks)
    offsets = Offsets(_misplaced)
    calibration = Calibration(_given)
    uncertainty = Uncertainty(texts.closeness_of_best)
    confidence = Confidence("entities", key="entities", is_right=_is_entity_right)
    pipeline = Pipeline("token-classification", pipeline_arguments, pipeline_note)
    display = displays.ENTITIES

    def read(self, row: Values) -> JsonObject:
        """See Task: the text, the spans of its words, its entities in characters, and its tags if given."""
        spans_are_of_text = "entities" in row and "tags" not in row
        if row.get("tokens") is not None and not (spans_are_of_text and row.get("text") is not None):
            return read_tokens(row)
        if row.get("text") is not None:
            return read_text(row)
        raise RowError("neither `tokens` nor `text`: name one with `--column tokens=COLUMN`.")

    def resembles(self, columns: Values) -> bool:
        """See Task: some row has an entity."""
        return any(columns["entities"])

    def learn_label_schema(self, train: Values) -> LabelSchema:
        """See Task."""
        counts = Counter(label for entities in train["entities"] for _, _, label in entities)
        if not counts:
            raise DataError(
                f"none of the {len(train['entities'])} training rows has an entity.",
                remedy="Name the right column (`--column tags=COLUMN` or `--column entities=COLUMN`).",
            )
        types = sorted(counts)
        return {"labels": ["O", *(f"{prefix}-{label}" for label in types for prefix in "BI")]}

    def notices(self, train: Values, label_schema: LabelSchema) -> list[str]:
        """See Task: the scheme of the tags, and the number of repaired entities."""
        alike = spelling_notices(Counter(label for entities in train["entities"] for _, _, label in entities))
        tags = [row for row in train.get("tags", ()) if row]
        if not tags:
            return alike
        scheme, repaired = scheme_of(tags)
        found = [*alike, f"the tags are {scheme}"]
        return [*found, f"{repaired} entities that begin with I- are read as B-"] if repaired else found

    def check_targets(self, row: Values, label_schema: LabelSchema) -> None:
        """See Task."""
        for _, _, label in row.get("entities") or ():
            refuse_unknown_label(label, _types(label_schema), "entity")

    def config(self, label_schema: LabelSchema) -> JsonObject:
        """See Task."""
        return label_config(label_schema["labels"])

    def label_schema_of(self, config: Config) -> LabelSchema:
        """See Task."""
        return {"labels": labels_in(config)}

    def encode(
        self, batch: Values, tokenizer: Tokenizer, options: EncodeOptions, label_schema: LabelSchema
    ) -> Encoded:
        """See Task; `word_of_token` and `last_word_of_token` are the words of a token, from 1, or 0."""
        overlap = options.overlap if options.max_length else 0
        encoded = tokenizer(
            list(batch["text"]),
            truncation=options.max_length is not None,
            max_length=options.max_length,
            stride=overlap,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            return_special_tokens_mask=True,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )
        windows = units.Windows.of(encoded, len(batch["text"]), overlap)
        bounds = [np.array(words).reshape(-1, 2) for words in batch["words"]]
        found = [units.Units.of(*row) for row in zip(windows.offsets, bounds, strict=True)]
        fields: JsonObject = {"input_ids": encoded["input_ids"]}
        fields["word_of_token"] = windows.spread([row.on_tokens(row.first + 1) for row in found], 0)
        fields["last_word_of_token"] = windows.spread([row.on_tokens(row.last + 1) for row in found], 0)
        lost: Lost = {}
        if texts.has_column(batch, "entities"):
            labels, lost = _labels(found, bounds, batch["entities"], label_schema["labels"])
            fields["labels"] = windows.spread(labels, IGNORED)
        return Encoded.of(fields, rows=windows.rows, n_rows=len(batch["text"]), lost=lost)

    def num_items(self, encoded: Encoded) -> NDArray[np.int64]:
        """See Task: words."""
        labels = encoded.ragged["labels"]
        return labels.sums((labels.values != IGNORED).astype(np.int64))

    def loss(self, outputs: torch.Tensor, batch: Batch, options: LossOptions) -> torch.Tensor:
        """See Task."""
        return texts.classification_loss(outputs, batch["labels"], options)

    def decode(self, evaluated: EvalPredictions, label_schema: LabelSchema) -> list[Prediction]:
        """See Task."""
        if "entities" not in evaluated.memo:
            evaluated.memo["entities"] = _decode(evaluated, label_schema)
        return list(evaluated.memo["entities"])

    def gold(self, columns: Values, label_schema: LabelSchema) -> list[list[JsonObject]]:
        """See Task."""
        return [
            [
                {"entity_group": label, "word": text[start:end], "start": start, "end": end}
                for start, end, label in entities
            ]
            for text, entities in zip(columns["text"], columns["entities"], strict=True)
        ]

    def is_correct(self, prediction: Prediction, gold: list[JsonObject]) -> bool:
        """See Task."""
        return set(_spans_of(prediction["entities"])) == set(_spans_of(gold))

    def error_of(self, prediction: Prediction, gold: list[JsonObject]) -> float:
        """See Task: entities that are wrong or missing."""
        return float(len(set(_spans_of(prediction["entities"])) ^ set(_spans_of(gold))))

    def details(self, evaluated: EvalPredictions, label_schema: LabelSchema) -> JsonObject:
        """See Task: `per_class`, which counts entities, and `entity_errors` by their kind."""
        table = spans.per_label(total(self.statistics(evaluated, label_schema)))
        return {
            "per_class": {"labels": _types(label_schema), **table, "counts": "entities"},
            "entity_errors": spans.count_errors(*self._gold_and_predicted(evaluated, label_schema)),
        }

    def statistics(self, evaluated: EvalPredictions, label_schema: LabelSchema) -> Statistics:
        """See Task."""
        gold, predicted = self._gold_and_predicted(evaluated, label_schema)
        return spans.statistics(gold, predicted, _types(label_schema))

    def _gold_and_predicted(
        self, evaluated: EvalPredictions, label_schema: LabelSchema
    ) -> tuple[list[list[Span]], list[list[Span]]]:
        gold = [[(start, end, label) for start, end, label in row] for row in evaluated.columns["entities"]]
        return gold, [_spans_of(answer["entities"]) for answer in self.decode(evaluated, label_schema)]

    def formula(self, sums: NDArray[np.float64], label_schema: LabelSchema) -> Scores:
        """See Task."""
        return spans.formula(sums)

    def shares(self, label_schema: LabelSchema) -> Shares:
        """See Task."""
        return spans.shares(len(_types(label_schema)))


task = TokenClassification()


def _types(label_schema: LabelSchema) -> list[str]:
    return [label[2:] for label in label_schema["labels"] if label.startswith("B-")]


def _spans_of(entities: Sequence[JsonObject]) -> list[Span]:
    return [(entity["start"], entity["end"], entity["entity_group"]) for entity in entities]


def _labels(
    found: Sequence[units.Units],
    bounds: Sequence[NDArray[np.int64]],
    entities: Sequence[Sequence[Span]],
    labels: Sequence[str],
) -> tuple[list[NDArray[np.int64]], Lost]:
    """The label of each token of each row, and the number of entities that no tokens can express."""
    ids = {label: i for i, label in enumerate(labels)}
    inside = np.array([ids.get(f"I{label[1:]}", 0) for label in labels])
    tags = [units.tags_of(*row, ids) for row in zip(found, bounds, entities, strict=True)]
    total = sum(map(len, entities))
    lost = {
        units.NO_WORD_BORDER: (sum(row.off_words for row in tags), total),
        units.NO_TOKEN_BORDER: (sum(row.off_tokens for row in tags), total),
    }
    return [row.labels(tag.units, inside) for row, tag in zip(found, tags, strict=True)], lost


def _decode(evaluated: EvalPredictions, label_schema: LabelSchema) -> list[Prediction]:
    answers: list[Prediction] = []
    for row, (found, logits, tags) in enumerate(_tagged(evaluated, label_schema)):
        text = evaluated.columns["text"][row]
        scores = texts.softmax(logits)[np.arange(len(tags)), tags]
        entities = []
        for a, b, start, end, label in found:
            score = float(scores[a:b].mean())
            entity = {"entity_group": label, "score": score, "word": text[start:end]}
            entities.append({**entity, "start": start, "end": end})
        answers.append({"entities": entities})
    return answers


_Tagged = tuple[list[tuple[int, int, int, int, str]], "NDArray[np.float32]", "NDArray[np.int64]"]
"""Entities of a row (first unit, unit after the last, start, end, label), its logits [units, k] and its tags."""


def _tagged(evaluated: EvalPredictions, label_schema: LabelSchema) -> list[_Tagged]:
    """The most probable tags of each row, and the entities in them."""
    labels = label_schema["labels"]
    allowed = allowed_tags(labels)
    rows = []
    for row, (first, last, logits) in enumerate(_logits_of_units(evaluated)):
        bounds = evaluated.columns["words"][row]
        tags = most_probable(np.log(np.maximum(texts.softmax(logits), 1e-30)), allowed)
        found = [
            (a, b, int(bounds[first[a]][0]), int(bounds[last[b - 1]][1]), label)
            for a, b, label in spans_of_tags([labels[tag] for tag in tags])
        ]
        rows.append((found, logits, tags))
    return rows


def _logits_of_units(
    evaluated: EvalPredictions,
) -> list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]]:
    """For each row its units in order: first and last word, from 0, and the logits [units, k]."""
    first, last = (evaluated.encoded.ragged[name] for name in ("word_of_token", "last_word_of_token"))
    stands = np.flatnonzero(first.values > 0)
    sequence = np.searchsorted(first.offsets, stands, side="right") - 1
    row, word = evaluated.encoded.rows[sequence], first.values[stands]
    order = np.lexsort((word, row))
    borders = np.searchsorted(row[order], np.arange(evaluated.encoded.n_rows + 1))
    stands = stands[order]
    return [
        (
            first.values[at].astype(np.int64) - 1,
            last.values[at].astype(np.int64) - 1,
            evaluated.outputs.values[at],
        )
        for at in (stands[a:b] for a, b in pairwise(borders.tolist()))
    ]
