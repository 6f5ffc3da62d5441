"""How near two texts are in meaning: each is read alone and becomes a vector, and the cosine compares the two.

So a million texts are read once each, and their vectors are compared, searched or clustered. The training rows say
what is learned: pairs with a score or a label by CoSENT, pairs of one meaning (with a third text of another, or
without) by in-batch negatives (`_vectors.py`). Both losses compare the rows of a batch with each other, so the
loop computes them over the whole batch (`training/gradient.py`), however it is cut into forward passes.

The answer is the cosine, not a number on the scale of the training scores: CoSENT learns their order alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tunesmith.errors import DataError
from tunesmith.metrics import Scores, Shares, Statistics, regression, retrieval, similarity
from tunesmith.tasks import (
    Batch,
    Column,
    Display,
    EvalPredictions,
    LabelSchema,
    LossOptions,
    Pipeline,
    Prediction,
    RowError,
    Schedule,
    Thresholds,
    Values,
)
from tunesmith.tasks import _texts as texts
from tunesmith.tasks import _vectors as vectors
from tunesmith.tasks._answer_capabilities import Cell
from tunesmith.tasks._sentences import SentenceTask
from tunesmith.tasks._similarity_values import GRADES, LABELS, PAIRS, SCORES, grade_of, scaled, schema_of
from tunesmith.tasks._values import are_quantities, is_missing, text_of

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from tunesmith.types import Array, Config, JsonObject

_SCHEMA_KEY = "tunesmith_similarity"
_THRESHOLD = 0.5
_MOST_POINTS = 1000
_MOST_CHARACTERS = 600
_FIRST = (
    "anchor", "sentence1", "sentence_a", "premise", "question1", "text1", "text_a", "query", "question",
    "sentence",
)  # fmt: skip
_SECOND = (
    "positive", "sentence2", "sentence_b", "hypothesis", "question2", "text2", "answer", "passage", "document",
    "response", "text_b",
)  # fmt: skip
_SCORE = (
    "score", "similarity_score", "similarity", "relatedness_score", "relatedness", "label", "is_duplicate",
    "duplicate", "is_paraphrase", "paraphrase", "quality", "gold_label", "entailment_judgment", "rating", "value",
    "target",
)  # fmt: skip
_CODE = """from sentence_transformers import SentenceTransformer

model = SentenceTransformer("PATH/TO/THIS/FOLDER")
vectors = model.encode(["a text", "another text"])
answer = model.similarity(vectors[:1], vectors[1:])"""


def _fit_threshold(evaluated: EvalPredictions, label_schema: LabelSchema) -> LabelSchema:
    """The cosine with the best accuracy, where the training rows are labelled."""
    if label_schema["kind"] != LABELS:
        return label_schema
    cosines, similar = _cosines(evaluated), np.asarray(evaluated.encoded.dense["labels"]) > 0
    order = np.argsort(-cosines, kind="stable")
    # With the threshold after the i-th cosine, the first i pairs count as similar and the rest do not.
    gains = np.concatenate([[0], np.cumsum(np.where(similar[order], 1, -1))])
    borders = np.concatenate([[1.0], cosines[order], [-1.0]])
    is_border = np.concatenate([borders[:-1] > borders[1:]])
    best = int(np.where(is_border, gains, -len(order) - 1).argmax())
    return {**label_schema, "threshold": round(float((borders[best] + borders[best + 1]) / 2), 6)}


def _both_texts(line: JsonObject, inputs: Sequence[str]) -> list[Cell]:
    """The pair on two lines, what was right, and the cosine with what it says."""
    gold, prediction = line["gold"], line["prediction"]
    pair = "\n".join(_cut(line[name]) for name in ("text", "text_pair"))
    score = f"{prediction['score']:.3f}"
    if "rank" in prediction:
        return [
            [(_cut(line["text"]), "", "")],
            [(_cut(gold), "missed", f"{score}, rank {prediction['rank']}")],
            [(_cut(prediction["found"]), "wrong", "")],
        ]
    if isinstance(gold, bool):
        named = {True: "similar", False: "different"}
        said = (named[prediction["similar"]], "label", score)
        return [[(pair, "", "")], [(named[gold], "label", "")], [said]]
    return [[(pair, "", "")], [(f"{gold:.3g}", "", "")], [(score, "", "")]]


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]} …"


class TextSimilarity(SentenceTask):
    """The task's object."""

    name = "text-similarity"
    aliases = ("sts", "sentence-similarity", "semantic-similarity", "similarity", "embeddings")
    summary = "how near two texts are in meaning, and a vector for each text"
    columns = (
        Column("text", "text", _FIRST),
        Column("text_pair", "text", _SECOND),
        Column("score", "number", _SCORE, required=False, target=True),
        Column("negative", "text", ("negative", "hard_negative"), required=False, target=True),
    )
    text_column = ""
    baselines = ("tfidf_cosine", "base_model")
    compares_rows = True
    # Rows of all lengths are compared. On stsb, batches of similar length ended at a Spearman of 0.853 (two epochs
    # at 1.4e-4), random ones at 0.867 (three at 1e-4); one run each.
    schedule = Schedule(rate_factor=2 / 3, rows_per_batch=32)
    thresholds = Thresholds(_fit_threshold)
    pipeline = Pipeline("sentence-similarity", code=_CODE)
    display = Display(("texts", "true", "predicted"), _both_texts)

    # ---- rows ----

    def read(self, row: Values) -> JsonObject:
        """See Task; a score is a number, a label or the name of one, see `_similarity_values.py`."""
        example: JsonObject = {name: text_of(row[name], name) for name in self.inputs}
        if not is_missing(row.get("negative")):
            example["negative"] = text_of(row["negative"], "negative")
        if "score" in row:
            example["score"] = grade_of(row["score"])
        if "score" in example and "negative" in example:
            raise RowError("a row has a score or a negative text, and not both.")
        return example

    def resembles(self, columns: Values) -> bool:
        """See Task: pairs with quantities or third texts; labelled pairs and pairs alone are other tasks', too."""
        if "score" not in columns:
            return "negative" in columns
        scores = [score for score in columns["score"] if score is not None]
        return len(set(scores)) > len(set(GRADES.values())) and are_quantities(scores)

    def learn_label_schema(self, train: Values) -> LabelSchema:
        """See Task: the kind of rows, and the range of the scores."""
        if "score" in train:
            return schema_of(train["score"])
        if len(set(train["text_pair"])) < 2:
            raise DataError(
                "there is nothing to learn: all training rows have the same second text, and no score.",
                remedy="Name the column of the scores (`--column score=COLUMN`), or give other pairs.",
            )
        return {"kind": PAIRS, "has_negatives": "negative" in train}

    def notices(self, train: Values, label_schema: LabelSchema) -> list[str]:
        """See Task."""
        if label_schema["kind"] != PAIRS:
            return []
        return [
            "the rows have no scores and no labels: the two texts of a row count as one meaning, and the texts of "
            "other rows as others. If there is a column of scores, name it: `--column score=COLUMN`"
        ]

    def check_targets(self, row: Values, label_schema: LabelSchema) -> None:
        """See Task: the rows are of the kind of the training rows."""
        has_score = not is_missing(row.get("score"))
        if has_score != (label_schema["kind"] != PAIRS):
            raise RowError("no score, and the training rows have one." if not has_score else
                           "there is a score, and the training rows have none.")  # fmt: skip
        if label_schema["kind"] == LABELS and row["score"] not in (0.0, 1.0):
            raise RowError(f"score is {row['score']:g}, and the training rows have only 0 and 1.")

    def config(self, label_schema: LabelSchema) -> JsonObject:
        """See Task."""
        return {_SCHEMA_KEY: dict(label_schema)}

    def label_schema_of(self, config: Config) -> LabelSchema:
        """See Task."""
        return dict(getattr(config, _SCHEMA_KEY, {}))

    def primary_for(self, label_schema: LabelSchema) -> str:
        """See Task."""
        return _PRIMARY.get(label_schema.get("kind", SCORES), self.primary_metric)

    # ---- the model ----

    def _known(self, batch: Values, fields: Sequence[str], label_schema: LabelSchema) -> dict[str, Array]:
        if texts.has_column(batch, "score"):
            return {
                "labels": scaled(np.array(batch["score"], dtype=np.float64), label_schema).astype(np.float32)
            }
        return {"keys": np.stack([vectors.text_keys(batch[name]) for name in fields], axis=1)}

    def loss(self, outputs: torch.Tensor, batch: Batch, options: LossOptions) -> torch.Tensor:
        """See Task; of a whole batch."""
        if "labels" in batch:
            return vectors.cosent_loss(outputs, batch["labels"])
        return vectors.in_batch_loss(outputs, batch["keys"])

    def select_outputs(self, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
        """See Task: cosines [b, 1] of pairs with scores, else the vectors, which are compared across rows."""
        return vectors.cosines(outputs).unsqueeze(-1) if "labels" in batch else outputs

    # ---- answers and scores ----

    def decode(self, evaluated: EvalPredictions, label_schema: LabelSchema) -> list[Prediction]:
        """See Task: the cosine, and whether it reaches the threshold where the training rows are labelled.

        In scoring, scored pairs have `rank_gap`: by which share of all rows a pair is ranked too high or too low.
        Pairs without scores have the `rank` of the second text, and the text that was `found` first.
        """
        lines: list[Prediction] = [{"score": float(cosine)} for cosine in _cosines(evaluated)]
        if label_schema.get("kind") == LABELS:
            threshold = label_schema.get("threshold", _THRESHOLD)
            return [{**line, "similar": line["score"] >= threshold} for line in lines]
        if "labels" in evaluated.encoded.dense:
            gaps = _rank_gaps(evaluated)
            return [{**line, "rank_gap": gap} for line, gap in zip(lines, gaps, strict=True)]
        if "keys" not in evaluated.encoded.dense:
            return lines
        columns = [
            evaluated.columns[name] for name in ("text", "text_pair", "negative") if name in evaluated.columns
        ]
        found = zip(lines, *(part.tolist() for part in _ranks(evaluated)), strict=True)
        return [{**line, "rank": rank, "found": columns[which][row]} for line, rank, (row, which) in found]

    def gold(self, columns: Values, label_schema: LabelSchema) -> list[Any]:
        """See Task: the score, whether the pair is similar, or the second text."""
        if label_schema["kind"] == PAIRS:
            return list(columns["text_pair"])
        scores = list(columns["score"])
        return [score > 0 for score in scores] if label_schema["kind"] == LABELS else scores

    def is_correct(self, prediction: Prediction, gold: Any) -> bool | None:
        """See Task: a score is near or far; a label is right, and a second text is ranked first, or not."""
        if "rank" in prediction:
            return bool(prediction["rank"] == 1)
        return bool(prediction["similar"] == gold) if "similar" in prediction else None

    def error_of(self, prediction: Prediction, gold: Any) -> float:
        """See Task."""
        if "rank" in prediction:
            return float(prediction["rank"])
        return float(prediction["rank_gap"]) if "rank_gap" in prediction else abs(prediction["score"] - gold)

    def details(self, evaluated: EvalPredictions, label_schema: LabelSchema) -> JsonObject:
        """See Task: `scatter`, scaled scores and cosines of at most 1000 rows."""
        if label_schema["kind"] != SCORES:
            return {}
        scores, cosines = evaluated.encoded.dense["labels"], _cosines(evaluated)
        rows = np.linspace(0, len(scores) - 1, min(len(scores), _MOST_POINTS)).astype(np.int64)
        return {
            "scatter": {
                "true": scores[rows].tolist(),
                "predicted": cosines[rows].tolist(),
                "same_scale": False,
            }
        }

    def statistics(self, evaluated: EvalPredictions, label_schema: LabelSchema) -> Statistics:
        """See Task."""
        if label_schema["kind"] == PAIRS:
            margins = _margins(evaluated) if label_schema["has_negatives"] else None
            return retrieval.statistics(_ranks(evaluated)[0], evaluated.encoded.dense["keys"][:, 0], margins)
        labels = np.asarray(evaluated.encoded.dense["labels"], dtype=np.float64)
        if label_schema["kind"] == SCORES:
            return regression.statistics(labels, _cosines(evaluated))[:, :11]
        return similarity.statistics(
            labels > 0, _cosines(evaluated), label_schema.get("threshold", _THRESHOLD)
        )

    def formula(self, sums: NDArray[np.float64], label_schema: LabelSchema) -> Scores:
        """See Task."""
        return _FORMULAS[label_schema["kind"]](sums)

    def shares(self, label_schema: LabelSchema) -> Shares:
        """See Task."""
        if label_schema.get("kind") == PAIRS:
            return retrieval.shares(has_third=label_schema["has_negatives"])
        return similarity.shares() if label_schema.get("kind") == LABELS else {}


_PRIMARY = {LABELS: "average_precision", PAIRS: "ndcg_at_10"}
_FORMULAS = {
    SCORES: regression.correlations,
    LABELS: similarity.formula,
    PAIRS: retrieval.formula,
}


task = TextSimilarity()


def _cosines(evaluated: EvalPredictions) -> NDArray[np.float64]:
    """[rows], from outputs that are cosines [rows, 1], vectors [rows, k, d], or k matrices of a baseline."""
    outputs = evaluated.outputs
    if isinstance(outputs, np.ndarray) and outputs.ndim == 2:
        return outputs[:, 0].astype(np.float64)
    first, second, *_ = _matrices(outputs)
    return vectors.pair_cosines(first, second).astype(np.float64)


def _matrices(outputs: Any) -> list[Any]:
    """Matrices [rows, d] of the first texts, the second, and so on."""
    return list(np.moveaxis(outputs, 1, 0)) if isinstance(outputs, np.ndarray) else list(outputs)


def _ranks(evaluated: EvalPredictions) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """See `retrieval.ranks`; computed once."""
    if "ranks" not in evaluated.memo:
        unit = [vectors.unit_vectors(matrix) for matrix in _matrices(evaluated.outputs)]
        evaluated.memo["ranks"] = retrieval.ranks(unit, np.asarray(evaluated.encoded.dense["keys"]))
    found: tuple[NDArray[np.int64], NDArray[np.int64]] = evaluated.memo["ranks"]
    return found


def _margins(evaluated: EvalPredictions) -> Array:
    """[rows], cosine with the second text minus that with the third; NaN without one."""
    keys = np.asarray(evaluated.encoded.dense["keys"])
    if keys.shape[1] < 3:
        return np.full(len(keys), np.nan)
    first, second, third = _matrices(evaluated.outputs)
    margins = vectors.pair_cosines(first, second) - vectors.pair_cosines(first, third)
    return np.where(keys[:, 2] == 0, np.nan, margins)


def _rank_gaps(evaluated: EvalPredictions) -> list[float]:
    """[rows], from 0 to 1: how far the rank of the cosine is from the rank of the score."""
    from scipy.stats import rankdata

    true, found = rankdata(evaluated.encoded.dense["labels"]), rankdata(_cosines(evaluated))
    return [float(gap) for gap in np.abs(true - found) / max(len(true) - 1, 1)]
