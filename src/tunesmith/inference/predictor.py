"""A run becomes a predictor: texts in, answers out, a chunk at a time, however long the file.

Within a chunk, texts of similar length are computed together and the order is restored. A text longer than
the model's `max_length` is cut, and its answer says so.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.encoding import Encoded, encode, survey
from tunesmith.data.examples import Examples
from tunesmith.inference.forward import Advance, forward_logits
from tunesmith.models.loading import LoadedModel, load_trained
from tunesmith.models.resolve import resolve_model
from tunesmith.run import Run
from tunesmith.tasks import TASKS, Prediction, RowError, Task, Values

CHUNK_ROWS = 2048


class Predictor:
    """Answers for texts.

    Args:
        task: what the model was trained for.
        loaded: the model and its tokenizer.
    """

    def __init__(self, task: Task, loaded: LoadedModel) -> None:
        self.task, self.model, self.tokenizer = task, loaded.model, loaded.tokenizer
        self.targets = task.targets_of(loaded.model.config)
        self.max_length = int(loaded.tokenizer.model_max_length)

    @classmethod
    def from_run(cls, path: str | Path) -> Predictor:
        """The predictor of a finished run.

        Raises:
            RunError: there is no finished run in the folder.
        """
        run = Run.open(path)
        task = TASKS.get(run.manifest()["used"]["task"])
        return cls(task, load_trained(resolve_model(str(run.model)), task))

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

    def predict_rows(self, rows: list[dict[str, Any]]) -> list[Prediction]:
        """Answers for rows that `task.read` made."""
        examples = _as_examples(self.task, rows)
        full = encode(self.task, examples, self.tokenizer, None)
        predictions = self.task.decode(self._logits(examples, full), self.targets)
        for row in np.flatnonzero(full.lengths > self.max_length):
            predictions[row]["truncated"] = True
        return predictions

    def logits(self, examples: Examples, *, advance: Advance | None = None) -> NDArray[np.float32]:
        """Logits [rows, k] of examples."""
        return self._logits(examples, encode(self.task, examples, self.tokenizer, None), advance)

    def _logits(
        self, examples: Examples, full: Encoded, advance: Advance | None = None
    ) -> NDArray[np.float32]:
        cut = survey(full, self.max_length).rows_cut
        encoded = encode(self.task, examples, self.tokenizer, self.max_length) if cut else full
        return forward_logits(self.model, encoded, pad_token_id=self.tokenizer.pad_token_id, advance=advance)

    def _row(self, text: str | Values) -> dict[str, Any]:
        first = self.task.columns[0].name
        row = text if isinstance(text, Mapping) else {first: text}
        known = {column.name for column in self.task.columns if not column.target}
        unknown = row.keys() - known
        if unknown:
            raise RowError(f"`{sorted(unknown)[0]}` is no column of {self.task.name}.")
        return self.task.read({first: None, **row})


def _as_examples(task: Task, rows: list[dict[str, Any]]) -> Examples:
    names = [c.name for c in task.columns if not c.target and c.name in rows[0]]
    n = len(rows)
    return Examples(
        {name: [row[name] for row in rows] for name in names},
        ("",),
        np.zeros(n, dtype=np.int32),
        np.arange(1, n + 1, dtype=np.int64),
    )
