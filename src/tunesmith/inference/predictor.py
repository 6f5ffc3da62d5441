"""The predictor of a run: texts to answers, one chunk at a time, for data of any length.

Texts come alone or in a list, an array or a Series; rows as mappings, a DataFrame, a data set or a file. Rows are
read with the columns of the training, as a file of rows would be. Within a chunk, texts of similar length are
computed together and the order is restored. A text longer than the model's `max_length` is truncated, and its
answer says so.
"""

from __future__ import annotations

import html
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from tunesmith.acceleration import accelerated
from tunesmith.data.columns import recognised
from tunesmith.data.encoding import encode, options_of
from tunesmith.data.examples import Examples
from tunesmith.data.formats._plain import plain
from tunesmith.data.formats._tables import is_column, is_columns
from tunesmith.data.formats.memory import hold, is_table
from tunesmith.encoded import Encoded
from tunesmith.inference.answering import answer, prompts_of, score
from tunesmith.inference.exported import export_options, is_export, load_export
from tunesmith.inference.forward import Advance
from tunesmith.inference.prepared import Prepared, as_examples
from tunesmith.inference.rows import CHUNK_ROWS, inputs_of, needed_inputs, refuse_file
from tunesmith.inference.trust import Trust
from tunesmith.models import heads
from tunesmith.models.loading import LoadedModel, load_trained
from tunesmith.models.resolve import resolve_model
from tunesmith.models.task_of_model import task_of_model
from tunesmith.run import Run
from tunesmith.tasks import (
    LABEL_SCORES,
    TASKS,
    EncodeOptions,
    EvalPredictions,
    LabelSchema,
    Prediction,
    RowError,
    Task,
    Values,
    best_answer,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from tunesmith.types import JsonObject

_SHOWN_LABELS = 12
_PLAIN = EncodeOptions(None)


class Predictor:
    """Answers texts with a trained model.

    Args:
        task: task of the model.
        loaded: model and tokenizer.
        overlap: number of tokens that windows share; None takes a quarter of the model's `max_length`.
        columns: `data.columns` of the training files.
        path: the run folder, or the folder of an export.
        trust: when the model abstains, and what else it knows of its answers; nothing when None.
        how: options of the recipe for rows with labels, see `options_of`.
    """

    def __init__(
        self,
        task: Task,
        loaded: LoadedModel,
        overlap: int | None = None,
        columns: Sequence[JsonObject] = (),
        path: str | os.PathLike[str] = "",
        trust: Trust | None = None,
        how: EncodeOptions = _PLAIN,
    ) -> None:
        self.task, self.model, self.tokenizer = task, loaded.model, loaded.tokenizer
        self.bf16, self.notes = loaded.bf16, loaded.notes
        self.columns, self.path, self.how = tuple(columns), os.fspath(path), how
        self.needed = needed_inputs(task, self.columns)
        self.label_schema = task.label_schema_of(loaded.model.config)
        self.trust = Trust() if trust is None else trust
        self._head = self._find_head()
        self.max_length = int(loaded.tokenizer.model_max_length)
        self.overlap = self.max_length // 4 if overlap is None else overlap

    @classmethod
    def from_run(cls, path: str | os.PathLike[str]) -> Predictor:
        """The predictor of a finished run, or of an export.

        Raises:
            RunError: the folder holds neither a finished run nor an export.
            UserError: a package that runs the export is not installed.
        """
        if is_export(path):
            task, loaded, overlap, columns = load_export(path)
            return cls(task, loaded, overlap, columns, path, Trust.of_model(Path(path)), export_options(path))
        run = Run.open(path)
        used = run.recipe()
        files = resolve_model(str(run.model))
        task = task_of_model(TASKS.get(used.task), files.path)
        overlap = None if used.data.overlap_tokens == "auto" else used.data.overlap_tokens
        loaded = load_trained(files, task)
        loaded = accelerated(loaded, wanted=used.train.acceleration)
        trust = Trust.of_model(run.model)
        return cls(task, loaded, overlap, run.read_as(), path, trust, options_of(used.data))

    def _find_head(self) -> nn.Linear | None:
        """The linear head, where its inputs say whether a text is in scope; an ONNX graph does not give them."""
        if self.trust.scope is None or not hasattr(self.model, "modules"):
            return None
        return heads.find_head(self.model, self.model.config.num_labels)

    @property
    def labels(self) -> list[str]:
        """The names of the labels, in the model's order; none where the task has no labels."""
        return list(self.label_schema.get("labels", ()))

    def __repr__(self) -> str:
        labels = f", {len(self.labels)} labels" if self.labels else ""
        return f"<Predictor {self.path}: {self.task.name}{labels}, up to {self.max_length:,} tokens>"

    def _repr_html_(self) -> str:
        labels = ", ".join(map(html.escape, self.labels[:_SHOWN_LABELS]))
        more = f" and {len(self.labels) - _SHOWN_LABELS} more" if len(self.labels) > _SHOWN_LABELS else ""
        said = f"<br>{len(self.labels)} labels: {labels}{more}" if labels else ""
        return (
            f"<b>{html.escape(self.task.name)}</b> model in <code>{html.escape(self.path)}</code>, up to "
            f"{self.max_length:,} tokens{said}"
        )

    def __call__(self, data: Any, *, top_k: int | None = 1, coverage: float | None = None) -> Any:
        """One answer for a text or a row, a list of answers for several; each is plain JSON.

        Args:
            data: a text; a row, as a mapping of columns; a list, an array or a Series of these; a DataFrame, a
                `datasets.Dataset` or columns; or the `Path` of a file.
            top_k: with 2 or more, the best K labels (or answers) stand in the entry `top` of each answer; with
                None, all.
            coverage: probability with which the labels in `set` hold the true one, or the numbers in `interval`
                the true number; no sets when None.

        Raises:
            RowError: a text or a row cannot be used.
            DataError: a row of a table or of a file cannot be used.
            RecipeError: sets with this coverage cannot be made.
        """
        if self.is_one(data):
            return self.answer(self.predict_rows([self._row(data)], coverage)[0], top_k)
        return list(self.stream(data, top_k=top_k, coverage=coverage))

    def is_one(self, data: Any) -> bool:
        """Whether it is a single text or row, and no table and no list."""
        return isinstance(data, str) or (isinstance(data, Mapping) and not self._is_table(data))

    def rows(self, data: Any) -> Iterator[JsonObject]:
        """Every row as the task reads it, of whatever a call takes."""
        return iter([self._row(data)]) if self.is_one(data) else self._rows(data)

    def stream(
        self,
        data: Any,
        *,
        chunk_rows: int = CHUNK_ROWS,
        top_k: int | None = 1,
        coverage: float | None = None,
    ) -> Iterator[Prediction]:
        """Answers in the order of the rows; reads ahead one chunk.

        Args:
            data: rows, as in a call; an iterator of texts and rows may be endless.
            chunk_rows: number of rows that are computed together.
            top_k: as in a call.
            coverage: as in a call.
        """
        rows, done = self._rows(data), 0
        while chunk := list(itertools.islice(rows, chunk_rows)):
            try:
                predictions = self.predict_rows(chunk, coverage)
            except RowError as error:
                number = done + self._first_refused(chunk)
                raise RowError(f"{_location(data, number)}: {error}", hint=error.hint) from None
            done += len(chunk)
            for prediction in predictions:
                yield self.answer(prediction, top_k)

    def _first_refused(self, rows: list[JsonObject]) -> int:
        """The first of some rows for which there is no answer, though each could be read."""
        for number, row in enumerate(rows):
            try:
                self.predict_rows([row])
            except RowError:
                return number
        return 0

    def answer(self, prediction: Prediction, top_k: int | None = 1) -> Prediction:
        """A prediction as plain JSON: the best answer, and the alternatives only as far as they are asked for."""
        found = cast("Prediction", plain(best_answer(self.task, prediction)))
        others = self.task.alternatives
        if top_k != 1 and others is not None and others.key in prediction:
            most = len(prediction[others.key]) if top_k is None else top_k
            best = others.best(prediction[others.key], self.label_schema, most)
            found["top"] = best if others is LABEL_SCORES else plain(best)  # those are plain, and may be many
        return found

    def predict_rows(self, rows: list[JsonObject], coverage: float | None = None) -> list[Prediction]:
        """Answers for rows that `task.read` made; `coverage` as in a call."""
        return self.complete(self.prepare(rows), coverage)

    def prepare(self, rows: list[JsonObject]) -> Prepared:
        """The sequences of rows that `task.read` made; the model is not used."""
        examples = as_examples(self.task, rows)
        encoded, is_cut, tokens = self._encode_examples(examples)
        return Prepared(examples.columns, encoded, is_cut, tokens)

    def complete(self, prepared: Prepared, coverage: float | None = None) -> list[Prediction]:
        """Answers for rows from `prepare`; `coverage` as in a call."""
        evaluated = answer(
            self.task,
            self.model,
            self.tokenizer,
            prepared.columns,
            prepared.encoded,
            bf16=self.bf16,
            head=self._head,
        )
        return self.answers_of(prepared, evaluated, coverage)

    def answers_of(
        self, prepared: Prepared, evaluated: EvalPredictions, coverage: float | None = None
    ) -> list[Prediction]:
        """Answers from what the model made of rows; `coverage` as in a call."""
        predictions = self.task.decode(evaluated, self.label_schema)
        self.trust.complete(self.task, predictions, evaluated, self.label_schema, coverage)
        for row in np.flatnonzero(prepared.is_cut):
            predictions[row]["truncated"] = True
        return predictions

    def embed(self, data: Any, *, normalize: bool = False) -> NDArray[np.float32]:
        """The vector [d] of a text or a row, or vectors [n, d] of several, in float32.

        Args:
            data: what a call takes, without labels.
            normalize: scale every vector to length 1, also where the model does not.

        Raises:
            ModelError: the task has no vector for a text.
            RowError: a text or a row cannot be used.
        """
        from tunesmith.inference.embedder import Embedder

        return Embedder(self, normalize=normalize)(data)

    def reading(self, task: Task) -> Predictor:
        """The same model with another task that reads the rows."""
        loaded = LoadedModel(self.model, self.tokenizer, head_is_new=False, bf16=self.bf16, notes=self.notes)
        return Predictor(task, loaded, self.overlap)

    def encode_rows(self, rows: list[JsonObject]) -> tuple[Encoded, NDArray[np.bool_]]:
        """Sequences of rows that `task.read` made, and [rows], whether a row was truncated."""
        prepared = self.prepare(rows)
        return prepared.encoded, prepared.is_cut

    def _encode_examples(self, examples: Examples) -> tuple[Encoded, NDArray[np.bool_], NDArray[np.int64]]:
        """Sequences; [rows], whether a row was truncated, and the tokens of its longest text."""
        full = self._encode(examples, None)
        lengths, is_cut = full.longest_read, np.zeros(full.n_rows, dtype=bool)
        tokens = np.zeros(full.n_rows, dtype=np.int64)
        np.maximum.at(tokens, full.rows, lengths)
        # A prompt must leave room for the answer, so the task sets its limit.
        is_long = bool((lengths > self.max_length).any())
        encoded = self._encode(examples, self.max_length) if is_long or self.task.generation else full
        if self.task.generation or not self.task.windows:
            is_cut[full.rows[lengths > encoded.longest_read]] = True
        return encoded, is_cut, tokens

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
            prompts=lambda: prompts_of(
                self.task, examples.columns, self.tokenizer, self.max_length, self.label_schema
            ),
            advance=advance,
        )

    def encode_to_score(self, examples: Examples, label_schema: LabelSchema | None = None) -> Encoded:
        """Sequences of examples with labels; `label_schema` is given where they have labels new to the model."""
        options = replace(self.how, max_length=self.max_length, purpose="score", overlap=self.overlap)
        return encode(self.task, examples, self.tokenizer, options, label_schema or self.label_schema)

    def _encode(self, examples: Examples, max_length: int | None) -> Encoded:
        overlap = self.overlap if max_length else 0
        options = EncodeOptions(max_length, "predict", overlap)
        return encode(self.task, examples, self.tokenizer, options, self.label_schema)

    def _text_column(self) -> str:
        if not self.task.text_column or set(self.needed) > {self.task.text_column}:
            needed = ", ".join(self.needed)
            raise RowError(f"this {self.task.name} model needs more than a text: give a row with {needed}.")
        return self.task.text_column

    def _rows(self, data: Any) -> Iterator[JsonObject]:
        """Every row as the task reads it."""
        if self._is_table(data) or isinstance(data, os.PathLike):
            held = None if isinstance(data, os.PathLike) else hold(data)
            source = os.fspath(data) if held is None else held.source
            yield from inputs_of(source, self.task, self.needed, self.columns)
            return
        if not isinstance(data, Iterable):
            raise RowError(f"a text, rows or a table is needed, got {type(data).__name__}.")
        for number, text in enumerate(data):
            if isinstance(text, os.PathLike):
                yield from self._rows(text)
                continue
            try:
                yield self._row(text)
            except RowError as error:
                raise RowError(f"{_location(data, number)}: {error}", hint=error.hint) from None

    def _is_table(self, data: object) -> bool:
        """Whether an object holds rows and columns; a mapping may be a row whose values are lists."""
        if not is_columns(data) or is_table(data):
            return is_table(data)
        lists = {column.name for column in self.task.columns if column.kind == "list" and not column.target}
        lists |= {theirs for named in self.columns for ours, theirs in named.items() if ours in lists}
        return all(
            name not in lists or (len(values) and is_column(values[0])) for name, values in data.items()
        )

    def _row(self, text: object) -> JsonObject:
        if isinstance(text, str):
            refuse_file(text)
        return self.read(text)

    def read(self, text: object) -> JsonObject:
        """A text or a row as the task reads it.

        Raises:
            RowError: it cannot be used.
        """
        required = {c.name: None for c in self.task.columns if c.required and not c.target}
        if not isinstance(text, Mapping):
            return self.task.read({**required, self._text_column(): plain(text)})
        row = self._own_names(text)
        if missing := [name for name in self.needed if row.get(name) is None]:
            raise RowError(f"this model needs `{missing[0]}`: give a row with {', '.join(self.needed)}.")
        return self.task.read({**required, **row})

    def _own_names(self, row: Values) -> Values:
        """A row by the task's columns: its own names, those of the training, or a known format."""
        own = {c.name for c in self.task.columns if not c.target}
        if row.keys() <= own:
            return row
        for named in self.columns:
            inputs = {ours: theirs for ours, theirs in named.items() if ours in own and theirs in row}
            if inputs and set(self.needed) <= inputs.keys():
                return {ours: row[theirs] for ours, theirs in inputs.items()}
        if (found := recognised(self.task, list(row), [row])) is not None:
            return {k: v for k, v in (found.read_inputs or found.convert)(row).items() if k in own}
        raise RowError(f"`{sorted(map(str, row.keys() - own))[0]}` is not a column of {self.task.name}.")


def _location(data: object, number: int) -> str:
    name = f"`{os.fspath(data)}`" if isinstance(data, os.PathLike) else f"the {type(data).__name__}"
    return f"row {number} of {name}"
