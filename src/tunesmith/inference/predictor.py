"""The predictor of a run: texts to answers, one chunk at a time, for files of any length.

Within a chunk, texts of similar length are computed together and the order is restored. A text longer than the
model's `max_length` is truncated, and its answer says so.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tunesmith.acceleration import accelerated
from tunesmith.data.columns import has_alternatives
from tunesmith.data.encoding import encode
from tunesmith.data.examples import Examples
from tunesmith.encoded import Encoded
from tunesmith.inference.answering import answer, score
from tunesmith.inference.exported import is_export, load_export
from tunesmith.inference.forward import Advance
from tunesmith.models.loading import LoadedModel, load_trained
from tunesmith.models.resolve import resolve_model
from tunesmith.run import Run
from tunesmith.tasks import TASKS, EncodeOptions, EvalPredictions, Prediction, RowError, Task, Values

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

CHUNK_ROWS = 2048


class Predictor:
    """Answers texts with a trained model.

    Args:
        task: task of the model.
        loaded: model and tokenizer.
        overlap: number of tokens that windows share; None takes a quarter of the model's `max_length`.
        columns: `data.columns` of the training files.
    """

    def __init__(
        self,
        task: Task,
        loaded: LoadedModel,
        overlap: int | None = None,
        columns: Sequence[JsonObject] = (),
    ) -> None:
        self.task, self.model, self.tokenizer = task, loaded.model, loaded.tokenizer
        self.bf16, self.notes = loaded.bf16, loaded.notes
        self.columns = tuple(columns)
        self.needed = _needed_inputs(task, self.columns)
        self.label_schema = task.label_schema_of(loaded.model.config)
        self.max_length = int(loaded.tokenizer.model_max_length)
        self.overlap = self.max_length // 4 if overlap is None else overlap

    @classmethod
    def from_run(cls, path: str | Path) -> Predictor:
        """The predictor of a finished run, or of an export.

        Raises:
            RunError: the folder holds neither a finished run nor an export.
            UserError: a package that runs the export is not installed.
        """
        if is_export(path):
            return cls(*load_export(path))
        run = Run.open(path)
        used = run.recipe()
        task = TASKS.get(used.task)
        overlap = None if used.data.overlap_tokens == "auto" else used.data.overlap_tokens
        loaded = load_trained(resolve_model(str(run.model)), task)
        loaded = accelerated(loaded, wanted=used.train.acceleration)
        return cls(task, loaded, overlap, run.read_as())

    def __call__(self, texts: str | Values | Iterable[str | Values]) -> Any:
        """One answer for a text (or a row of columns), a list of answers for several.

        Raises:
            RowError: a text is empty or not text.
        """
        if isinstance(texts, (str, Mapping)):
            return next(self.stream([texts]))
        return list(self.stream(texts))

    def stream(self, texts: Iterable[str | Values], *, chunk_rows: int = CHUNK_ROWS) -> Iterator[Prediction]:
        """Answers in the order of the texts; reads ahead one chunk."""
        rows = iter(texts)
        while chunk := list(itertools.islice(rows, chunk_rows)):
            yield from self.predict_rows([self._row(text) for text in chunk])

    def predict_rows(self, rows: list[JsonObject]) -> list[Prediction]:
        """Answers for rows that `task.read` made."""
        examples = _as_examples(self.task, rows)
        full = self._encode(examples, None)
        lengths = full.longest_read
        # A prompt must leave room for the answer, so the task sets its limit.
        is_long = bool((lengths > self.max_length).any())
        encoded = self._encode(examples, self.max_length) if is_long or self.task.generation else full
        evaluated = answer(self.task, self.model, self.tokenizer, examples.columns, encoded, bf16=self.bf16)
        predictions = self.task.decode(evaluated, self.label_schema)
        if self.task.generation or not self.task.windows:
            for sequence in np.flatnonzero(lengths > encoded.longest_read):
                predictions[full.rows[sequence]]["truncated"] = True
        return predictions

    def score(
        self, examples: Examples, encoded: Encoded | None = None, *, advance: Advance | None = None
    ) -> EvalPredictions:
        """Predictions for examples with labels.

        Args:
            examples: rows with labels.
            encoded: sequences from `encode_to_score`; None encodes the rows.
            advance: function that is called with the progress.
        """
        if encoded is None:
            encoded = self.encode_to_score(examples)
        return score(
            self.task,
            self.model,
            self.tokenizer,
            examples.columns,
            encoded,
            bf16=self.bf16,
            advance=advance,
        )

    def encode_to_score(self, examples: Examples) -> Encoded:
        """Sequences of examples with labels."""
        options = EncodeOptions(self.max_length, "score", self.overlap)
        return encode(self.task, examples, self.tokenizer, options, self.label_schema)

    def _encode(self, examples: Examples, max_length: int | None) -> Encoded:
        overlap = self.overlap if max_length else 0
        options = EncodeOptions(max_length, "predict", overlap)
        return encode(self.task, examples, self.tokenizer, options, self.label_schema)

    def _text_column(self) -> str:
        if not self.task.text_column or set(self.needed) > {self.task.text_column}:
            needed = ", ".join(self.needed)
            raise RowError(f"this {self.task.name} model needs more than a text: give a row with {needed}.")
        return self.task.text_column

    def _row(self, text: str | Values) -> JsonObject:
        required = {c.name: None for c in self.task.columns if c.required and not c.target}
        row = text if isinstance(text, Mapping) else {self._text_column(): text}
        unknown = row.keys() - {c.name for c in self.task.columns if not c.target}
        if unknown:
            raise RowError(f"`{sorted(unknown)[0]}` is not a column of {self.task.name}.")
        if missing := [name for name in self.needed if row.get(name) is None]:
            raise RowError(f"this model needs `{missing[0]}`: give a row with {', '.join(self.needed)}.")
        return self.task.read({**required, **row})


def _needed_inputs(task: Task, columns: Sequence[JsonObject]) -> tuple[str, ...]:
    """The inputs that every row must have: the required ones, and the optional ones used in training."""
    trained = set(columns[0]) if columns and not has_alternatives(task) else set()
    inputs = [c for c in task.columns if not c.target and (not c.together or c.required)]
    return tuple(c.name for c in inputs if c.required or c.name in trained)


def _as_examples(task: Task, rows: list[JsonObject]) -> Examples:
    names = [name for name in task.inputs if any(name in row for row in rows)]
    n = len(rows)
    return Examples(
        {name: [row.get(name) for row in rows] for name in names},
        ("",),
        np.zeros(n, dtype=np.int32),
        np.arange(1, n + 1, dtype=np.int64),
    )
