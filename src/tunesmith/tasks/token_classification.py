"""A label for each word: names, places, products, slots.

Rows are words with tags (IOB1, IOB2, IOBES, BILOU), or a text with spans of characters. A word is classified by
its first piece; pieces after it have no label. A sentence longer than the model reads is read in overlapping
windows, and each word is judged where it stands furthest from an edge. Of all sequences of tags, the answer is
the most probable one that makes sense: I-X only after B-X or I-X (Viterbi 1967). Entities have the shape of the
Hub's `TokenClassificationOutput`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from tunesmith.errors import DataError, did_you_mean
from tunesmith.metrics import Scores, Shares, Statistics, spans, total
from tunesmith.tasks import (
    IGNORED,
    Batch,
    Column,
    Encoded,
    EncodeOptions,
    LossOptions,
    Prediction,
    RowError,
    Seen,
    Targets,
    Task,
    Values,
)
from tunesmith.tasks import _texts as texts
from tunesmith.tasks._tags import Span, scheme_of, spans_of_tags, words_in
from tunesmith.tasks._values import label_config, labels_in, list_of, text_of

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

_ENTITY_COLUMNS = ("entities", "slots", "spans", "annotations", "ner")


class TokenClassification(Task):
    """The task's object."""

    name = "token-classification"
    summary = "entities in a text: names, places, products, slots"
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
    shown_as = "entities"
    has_probe = True
    baselines = ("dictionary",)
    heeds = ("class_weights", "focal_gamma", "label_smoothing_factor", "r_drop_alpha")
    max_length = 512
    windows = True
    keeps_tokens = True

    def read(self, row: Values) -> dict[str, Any]:
        """See Task: the text, where its words are, its entities in characters, and its tags if it has them."""
        spans_are_of_text = "entities" in row and "tags" not in row
        if row.get("tokens") is not None and not (spans_are_of_text and row.get("text") is not None):
            return _read_tokens(row)
        if row.get("text") is not None:
            return _read_text(row)
        raise RowError("neither `tokens` nor `text`: name one with `--column tokens=COLUMN`.")

    def lacks(self, chosen: Collection[str], *, need_targets: bool) -> str:
        """See Task: words with tags, or a text with entities."""
        if not {"tokens", "text"} & set(chosen):
            return "tokens"
        pairs = ({"tokens", "tags"}, {"text", "entities"})
        if not need_targets or any(pair <= set(chosen) for pair in pairs):
            return ""
        return "tags" if "tokens" in chosen else "entities"

    def learn_targets(self, train: Values) -> Targets:
        """See Task."""
        counts = Counter(label for entities in train["entities"] for _, _, label in entities)
        if not counts:
            raise DataError(
                f"none of the {len(train['entities'])} training rows has an entity.",
                remedy="Name the right column (`--column tags=COLUMN` or `--column entities=COLUMN`).",
            )
        types = sorted(counts)
        return {"labels": ["O", *(f"{prefix}-{label}" for label in types for prefix in "BI")]}

    def notices(self, train: Values, targets: Targets) -> list[str]:
        """See Task: the scheme of the tags, and what was repaired."""
        tags = [row for row in train.get("tags", ()) if row]
        if not tags:
            return []
        scheme, repaired = scheme_of(tags)
        found = [f"the tags are {scheme}"]
        return [*found, f"{repaired} entities that begin with I- are read as B-"] if repaired else found

    def check_targets(self, row: Values, targets: Targets) -> None:
        """See Task."""
        known = _types(targets)
        for _, _, label in row.get("entities") or ():
            if label not in known:
                raise RowError(
                    f"entity `{label}` does not occur in the training rows. {did_you_mean(label, known)}"
                )

    def config(self, targets: Targets) -> dict[str, Any]:
        """See Task."""
        return label_config(targets["labels"])

    def targets_of(self, config: Any) -> Targets:
        """See Task."""
        return {"labels": labels_in(config)}

    def encode(self, batch: Values, tokenizer: Any, options: EncodeOptions, targets: Targets) -> Encoded:
        """See Task; `word_of_token` is the word that a token stands for, from 1, or 0."""
        encoded = tokenizer(
            list(batch["text"]),
            truncation=options.max_length is not None,
            max_length=options.max_length,
            stride=options.overlap if options.max_length else 0,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )
        rows = encoded["overflow_to_sample_mapping"]
        words = [
            _words_of_tokens(o, batch["words"][r])
            for o, r in zip(encoded["offset_mapping"], rows, strict=True)
        ]
        _keep_best_window(words, rows)
        fields: dict[str, Any] = {"input_ids": encoded["input_ids"], "word_of_token": words}
        lost = {}
        if texts.has_column(batch, "entities"):
            tags, misfits = _tags_of_words(batch, targets)
            fields["labels"] = [
                np.where(w > 0, np.append(tags[r], IGNORED)[w - 1], IGNORED)
                for w, r in zip(words, rows, strict=True)
            ]
            lost = {"entities (no border of a word)": (misfits, sum(map(len, batch["entities"])))}
        return Encoded.of(fields, rows=rows, n_rows=len(batch["text"]), lost=lost)

    def items(self, encoded: Encoded) -> NDArray[np.int64]:
        """See Task: words."""
        labels = encoded.ragged["labels"]
        return labels.sums((labels.values != IGNORED).astype(np.int64))

    def loss(self, outputs: torch.Tensor, batch: Batch, options: LossOptions) -> torch.Tensor:
        """See Task."""
        return texts.classification_loss(outputs, batch["labels"], options)

    def decode(self, seen: Seen, targets: Targets) -> list[Prediction]:
        """See Task."""
        if "entities" not in seen.memo:
            seen.memo["entities"] = _decode(seen, targets)
        return list(seen.memo["entities"])

    def gold(self, columns: Values, targets: Targets) -> list[Any]:
        """See Task."""
        return [
            [
                {"entity_group": label, "word": text[start:end], "start": start, "end": end}
                for start, end, label in entities
            ]
            for text, entities in zip(columns["text"], columns["entities"], strict=True)
        ]

    def is_correct(self, prediction: Prediction, gold: Any) -> bool:
        """See Task."""
        return set(_spans_of(prediction["entities"])) == set(_spans_of(gold))

    def error_of(self, prediction: Prediction, gold: Any) -> float:
        """See Task: entities that are wrong or missing."""
        return float(len(set(_spans_of(prediction["entities"])) ^ set(_spans_of(gold))))

    def details(self, seen: Seen, targets: Targets) -> dict[str, Any]:
        """See Task: `per_class`."""
        sums = total(self.statistics(seen, targets))
        table = {name: values.tolist() for name, values in spans.per_label(sums).items()}
        return {"per_class": {"labels": _types(targets), **table}}

    def statistics(self, seen: Seen, targets: Targets) -> Statistics:
        """See Task."""
        gold = [[tuple(span) for span in entities] for entities in seen.columns["entities"]]
        predicted = [_spans_of(answer["entities"]) for answer in self.decode(seen, targets)]
        return spans.statistics(gold, predicted, _types(targets))

    def formula(self, sums: NDArray[np.float64], targets: Targets) -> Scores:
        """See Task."""
        return spans.formula(sums)

    def shares(self, targets: Targets) -> Shares:
        """See Task."""
        return spans.shares(len(_types(targets)))


task = TokenClassification()


def _types(targets: Targets) -> list[str]:
    return [label[2:] for label in targets["labels"] if label.startswith("B-")]


def _spans_of(entities: Sequence[dict[str, Any]]) -> list[Span]:
    return [(entity["start"], entity["end"], entity["entity_group"]) for entity in entities]


def _read_tokens(row: Values) -> dict[str, Any]:
    tokens = list_of(row["tokens"], "tokens")
    if not tokens:
        raise RowError("tokens is empty.")
    tokens = [text_of(token, "a token") if str(token).lower() != "nan" else str(token) for token in tokens]
    starts = np.cumsum([0, *(len(token) + 1 for token in tokens)])
    words = [[int(start), int(start) + len(token)] for start, token in zip(starts, tokens, strict=False)]
    example: dict[str, Any] = {"text": " ".join(tokens), "words": words}
    if "tags" not in row:
        return example
    tags = list_of(row["tags"], "tags")
    if len(tags) != len(tokens):
        raise RowError(f"{len(tokens)} tokens and {len(tags)} tags.")
    if not all(isinstance(tag, str) for tag in tags):
        raise RowError(f"tags must be names like `B-PERSON`, got {tags[0]!r}.")
    entities = [[words[a][0], words[b - 1][1], label] for a, b, label in spans_of_tags(tags)]
    return {**example, "entities": entities, "tags": tags}


def _read_text(row: Values) -> dict[str, Any]:
    text = text_of(row["text"], "text")
    example: dict[str, Any] = {"text": text, "words": [list(span) for span in words_in(text)]}
    if "entities" not in row:
        return example
    entities = sorted(_entity(value, text) for value in list_of(row["entities"], "entities"))
    for one, other in pairwise(entities):
        if one[1] > other[0]:
            raise RowError(f"entities overlap: `{text[one[0] : one[1]]}` and `{text[other[0] : other[1]]}`.")
    return {**example, "entities": [list(span) for span in entities]}


def _entity(value: Any, text: str) -> Span:
    """A span from {start, end, label} or [start, end, label], without white space at its edges."""
    if isinstance(value, dict):
        names = ("label", "entity_group", "entity", "type", "tag")
        label = next((value[name] for name in names if isinstance(value.get(name), str)), None)
        value = (value.get("start"), value.get("end"), label)
    if not isinstance(value, (list, tuple)) or len(value) != 3:
        raise RowError(f"an entity must have start, end and label, got `{value}`.")
    start, end, label = value
    if not isinstance(start, int) or not isinstance(end, int) or not isinstance(label, str) or not label:
        raise RowError(f"an entity must have start, end and label, got `{value}`.")
    if not 0 <= start < end <= len(text):
        raise RowError(f"entity {start} to {end} lies outside its text of {len(text)} characters.")
    covered = text[start:end]
    start, end = start + len(covered) - len(covered.lstrip()), end - len(covered) + len(covered.rstrip())
    if start >= end:
        raise RowError(f"entity {value[0]} to {value[1]} covers only white space.")
    return start, end, label


def _words_of_tokens(offsets: Sequence[tuple[int, int]], words: Sequence[Sequence[int]]) -> NDArray[np.int32]:
    """[tokens], the word each token begins, from 1; 0 where it begins none."""
    ends = np.array([end for _, end in offsets])
    starts = np.array([start for start, _ in offsets])
    bounds = np.array(words).reshape(-1, 2)
    # The last character decides: a piece may begin with the blank before its word.
    word = np.searchsorted(bounds[:, 0], ends - 1, side="right") - 1
    inside = (ends > starts) & (word >= 0) & (ends - 1 < bounds[np.maximum(word, 0), 1])
    word = np.where(inside, word + 1, 0)
    before = np.maximum.accumulate(np.concatenate([[0], word[:-1]]))
    # A window may begin within a word: its first piece is in the window before.
    first_piece = starts <= bounds[np.maximum(word - 1, 0), 0]
    return np.asarray(np.where((word > before) & first_piece, word, 0), dtype=np.int32)


def _keep_best_window(words: list[NDArray[np.int32]], rows: Sequence[int]) -> None:
    """Where windows of a row share a word, only that in which it stands furthest from an edge keeps it."""
    of_row: dict[int, list[int]] = {}
    for sequence, row in enumerate(rows):
        of_row.setdefault(row, []).append(sequence)
    for sequences in of_row.values():
        if len(sequences) == 1:
            continue
        best: dict[int, tuple[int, int, int]] = {}
        for sequence in sequences:
            found = words[sequence]
            for position in np.flatnonzero(found).tolist():
                room = min(position, len(found) - 1 - position)
                if room > best.get(int(found[position]), (-1, 0, 0))[0]:
                    best[int(found[position])] = (room, sequence, position)
        kept = {(sequence, position) for _, sequence, position in best.values()}
        for sequence in sequences:
            for position in np.flatnonzero(words[sequence]).tolist():
                if (sequence, position) not in kept:
                    words[sequence][position] = 0


def _tags_of_words(batch: Values, targets: Targets) -> tuple[list[NDArray[np.int64]], int]:
    """The tag id of each word of each row, and how many entities begin or end within a word."""
    ids = {label: i for i, label in enumerate(targets["labels"])}
    all_tags, misfits = [], 0
    for words, entities in zip(batch["words"], batch["entities"], strict=True):
        bounds = np.array(words).reshape(-1, 2)
        tags = np.zeros(len(bounds), dtype=np.int64)
        for start, end, label in entities:
            covered = np.flatnonzero((bounds[:, 0] < end) & (bounds[:, 1] > start))
            fits = len(covered) and bounds[covered[0], 0] == start and bounds[covered[-1], 1] == end
            misfits += not fits
            if len(covered):
                tags[covered] = ids[f"I-{label}"]
                tags[covered[0]] = ids[f"B-{label}"]
        all_tags.append(tags)
    return all_tags, misfits


def _decode(seen: Seen, targets: Targets) -> list[Prediction]:
    labels = targets["labels"]
    allowed = _allowed(labels)
    answers: list[Prediction] = []
    for row, (found, logits) in enumerate(_logits_of_words(seen)):
        text, bounds = seen.columns["text"][row], seen.columns["words"][row]
        probabilities = texts.softmax(logits)
        tags = most_probable(np.log(np.maximum(probabilities, 1e-30)), allowed)
        # A word that the tokenizer leaves out (a control character, say) belongs to nothing.
        all_tags = np.zeros(len(bounds), dtype=np.int64)
        all_tags[found] = tags
        scores = np.zeros(len(bounds))
        scores[found] = probabilities[np.arange(len(tags)), tags]
        entities = spans_of_tags([labels[tag] for tag in all_tags])
        answers.append({
            "entities": [
                {
                    "entity_group": label,
                    "score": float(scores[a:b].mean()),
                    "word": text[bounds[a][0] : bounds[b - 1][1]],
                    "start": int(bounds[a][0]),
                    "end": int(bounds[b - 1][1]),
                }
                for a, b, label in entities
            ]
        })  # fmt: skip
    return answers


def _logits_of_words(seen: Seen) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """For each row its words that have logits, from 0 and in order, and the logits [words, k]."""
    words, kept = seen.encoded.ragged["word_of_token"], seen.kept
    stands = np.flatnonzero(words.values > 0)
    sequence = np.searchsorted(words.offsets, stands, side="right") - 1
    row, word = seen.encoded.rows[sequence], words.values[stands] - 1
    order = np.lexsort((word, row))
    borders = np.searchsorted(row[order], np.arange(seen.encoded.n_rows + 1))
    return [
        (word[order[a:b]].astype(np.int64), kept.values[stands[order[a:b]]])
        for a, b in pairwise(borders.tolist())
    ]


def _allowed(labels: Sequence[str]) -> NDArray[np.bool_]:
    """[k + 1, k], whether a tag may follow another; the last row is the beginning."""
    k = len(labels)
    allowed = np.ones((k + 1, k), dtype=bool)
    for j, label in enumerate(labels):
        if label.startswith("I-"):
            allowed[:, j] = [other[2:] == label[2:] for other in labels] + [False]
    return allowed


def most_probable(log_probabilities: NDArray[np.float32], allowed: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The most probable sequence of tags [words] in which every tag may follow the one before it (Viterbi).

    Args:
        log_probabilities: [words, k].
        allowed: [k + 1, k]; the last row is the beginning.
    """
    best = log_probabilities.argmax(-1)
    before = np.concatenate([[len(allowed) - 1], best[:-1]]) if len(best) else best
    if allowed[before, best].all():
        return np.asarray(best)
    costs = np.where(allowed, 0.0, -np.inf)
    score = log_probabilities[0] + costs[-1]
    back = np.zeros(log_probabilities.shape, dtype=np.int64)
    for word in range(1, len(log_probabilities)):
        through = score[:, None] + costs[:-1]
        back[word] = through.argmax(0)
        score = through[back[word], np.arange(through.shape[1])] + log_probabilities[word]
    tags = np.zeros(len(log_probabilities), dtype=np.int64)
    tags[-1] = score.argmax()
    for word in range(len(tags) - 1, 0, -1):
        tags[word - 1] = back[word, tags[word]]
    return tags
