"""A sample of the training rows, and its sequences as a base model would read them.

The sequences come from the model's own tokenizer where it is on this machine, else from one that is made from the
rows (`models/stand_in.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.cache import cache_folder
from tunesmith.data.encoding import encode_splits, options_of, with_something_to_learn
from tunesmith.data.examples import Examples
from tunesmith.data.packing import pack, packed_length
from tunesmith.data.preparing import PreparedData
from tunesmith.encoded import Encoded
from tunesmith.inference.packed import keeps_packed_texts_apart
from tunesmith.models.memory import longest_that_fits
from tunesmith.models.resolve import ModelFiles
from tunesmith.models.stand_in import stand_in_tokenizer
from tunesmith.models.tokenizer import load_tokenizer
from tunesmith.recipe import Recipe
from tunesmith.tasks import LabelSchema, Task, prepare_tokenizer
from tunesmith.tasks._values import strings
from tunesmith.training.resolving import USUAL_MAX_LENGTH, choose_max_length

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tunesmith.models.catalogue import KnownModel
    from tunesmith.types import Config, Model, Tokenizer

_MOST_ROWS = 2_000
_USUAL_CONTEXT = 1_024
"""Of a model whose config states no limit, such as mT5: the length of its pretraining."""


@dataclass(frozen=True)
class Sequences:
    """The sequences of the sample.

    Args:
        encoded: sequences, truncated and packed as in training.
        n_total: number of sequences of all training rows, as the sample lets expect.
        max_length: most tokens of a sequence.
    """

    encoded: Encoded
    n_total: int
    max_length: int


@dataclass
class SampleRows:
    """Training rows that stand for all, with everything that makes sequences of them.

    Args:
        recipe: recipe with the options of the data.
        data: prepared data.
        local: files of the models on this machine, by id.
    """

    recipe: Recipe
    data: PreparedData
    local: Mapping[str, ModelFiles]
    _tokenizers: dict[tuple[object, ...], Tokenizer] = field(default_factory=dict)

    def __post_init__(self) -> None:
        train = self.data.splits["train"]
        self.n_rows, self.rows = len(train), _sample(train, self.recipe.seed)

    @property
    def label_schema(self) -> LabelSchema:
        """The label schema of the training rows."""
        return self.data.label_schema

    def inputs(self, task: Task) -> list[str]:
        """The texts of each row of the sample that a model reads, as one text a row."""
        names = [name for name in task.inputs if name in self.rows.columns]
        values = zip(*(self.rows.columns[name] for name in names), strict=True)
        return [" ".join(text for value in row for text in strings(value)) for row in values]

    def texts(self, task: Task) -> Iterator[str]:
        """Every text of the sample that a model reads or writes."""
        for column in task.columns:
            if column.name in self.rows.columns and not (column.target and column.kind != "text"):
                for value in self.rows.columns[column.name]:
                    yield from strings(value)

    def tokenizer(self, known: KnownModel, task: Task) -> Tokenizer:
        """A model's tokenizer, or the stand-in; ready for the task's rows."""
        files = self.local.get(known.id)
        key = ("own", known.id) if files else ("stand-in", known.bytes, known.context, task.chat is not None)
        if key not in self._tokenizers:
            tokenizer = load_tokenizer(files) if files else self._stand_in(known, task)
            # What a tokenizer lacks is added in training; lengths are the same without it.
            prepare_tokenizer(task, tokenizer, {}, chat_template=self.recipe.data.chat_template)
            self._tokenizers[key] = tokenizer
        return self._tokenizers[key]

    def _stand_in(self, known: KnownModel, task: Task) -> Tokenizer:
        context = known.context or _USUAL_CONTEXT
        return stand_in_tokenizer(self.texts(task), context=context, reads_bytes=known.bytes)

    def sequences(
        self, known: KnownModel, task: Task, tokenizer: Tokenizer, config: Config, model: Model
    ) -> Sequences:
        """The sequences of the sample for a model.

        Args:
            known: facts of the model.
            task: task as this model learns it.
            tokenizer: tokenizer from `tokenizer`.
            config: config of the whole model.
            model: reduced model, with the positions and the attention of the whole one.
        """
        how = self.recipe.data

        def most(longest: int) -> int:
            chosen = choose_max_length(
                how.max_length, model, tokenizer, longest, task.length.auto, task.length.least,
                USUAL_MAX_LENGTH,
            )  # fmt: skip
            return chosen if how.max_length != "auto" else min(chosen, longest_that_fits(config))

        found = encode_splits(
            task,
            {"train": self.rows},
            tokenizer,
            self.label_schema,
            choose_max_length=most,
            overlap=None if how.overlap_tokens == "auto" else how.overlap_tokens,
            cache=cache_folder(),
            how=options_of(how),
        )
        encoded = with_something_to_learn(task, found.splits["train"])
        if task.packing and how.packing is not False and _can_pack(task, model, tokenizer):
            encoded = pack(encoded, packed_length(encoded.lengths, found.max_length))
        n_total = max(1, round(len(encoded) * self.n_rows / len(self.rows)))
        return Sequences(encoded, n_total, found.max_length)


def _can_pack(task: Task, model: Model, tokenizer: Tokenizer) -> bool:
    return keeps_packed_texts_apart(task, model, tokenizer.pad_token_id)


def _sample(rows: Examples, seed: int) -> Examples:
    """So many rows, the longest one among them, since it decides about the memory."""
    if len(rows) <= _MOST_ROWS:
        return rows
    rng = np.random.default_rng(seed)
    chosen = set(rng.choice(len(rows), _MOST_ROWS - 1, replace=False).tolist())
    sizes = np.zeros(len(rows), dtype=np.int64)
    for values in rows.columns.values():
        sizes += [sum(map(len, strings(value))) for value in values]
    return rows.take(np.array(sorted(chosen | {int(sizes.argmax())})))
