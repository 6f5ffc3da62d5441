"""What the rows of a training say about the choice of a base model: languages, lengths, pairs, what is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tunesmith.checks.languages import count_languages
from tunesmith.models.stand_in import stand_in_tokenizer
from tunesmith.pipeline.sample_rows import SampleRows
from tunesmith.tasks import Task
from tunesmith.tasks._values import strings

if TYPE_CHECKING:
    from tunesmith.models.catalogue import KnownModel
    from tunesmith.types import JsonObject

_LANGUAGE_TEXTS = 1_000
_NO_LIMIT = 1 << 30


@dataclass(frozen=True)
class DataFacts:
    """What the data say about the choice of a model.

    Args:
        rows: number of training rows.
        languages: share of each language among the texts whose language is certain, the most frequent first.
        lengths: [rows], tokens of what a model reads, of a sample.
        byte_lengths: [rows], bytes of the same.
        pairs: whether a row has two texts to compare.
        written: characters that are written for each that is read, where the task writes a text.
        crosses: whether what is written is in another language than what is read.
    """

    rows: int
    languages: dict[str, float]
    lengths: NDArray[np.int64]
    byte_lengths: NDArray[np.int64]
    pairs: bool = False
    written: float | None = None
    crosses: bool = False

    def share_longer(self, known: KnownModel) -> float:
        """The share of rows that are longer than the model reads at once."""
        if known.context is None:
            return 0.0
        return float(np.mean((self.byte_lengths if known.bytes else self.lengths) > known.context))

    def to_json(self) -> JsonObject:
        """The entry for `--json`."""
        quantiles = np.quantile(self.lengths, [0.5, 0.95, 1.0]).round().astype(int).tolist()
        return {
            "rows": self.rows,
            "languages": self.languages,
            "tokens": dict(zip(("median", "q95", "longest"), quantiles, strict=True)),
            "pairs": self.pairs,
        }


def facts_of(task: Task, rows: SampleRows) -> DataFacts:
    """The facts of the training rows.

    Args:
        task: task of the rows.
        rows: sample of them.
    """
    texts = rows.inputs(task)
    read = stand_in_tokenizer(rows.texts(task), context=_NO_LIMIT)(texts, verbose=False)["input_ids"]
    there = [column for column in task.columns if column.name in rows.rows.columns]
    written = [column.name for column in there if column.target and column.kind == "text"][:1]
    languages = _languages(texts)
    of_written = _languages(_texts_of(rows, written[0])) if written else Counter()
    total = languages + of_written
    characters = sum(map(len, _texts_of(rows, written[0]))) if written else 0
    return DataFacts(
        rows.n_rows,
        {name: round(count / total.total(), 4) for name, count in total.most_common()},
        np.array([len(ids) for ids in read], dtype=np.int64),
        np.array([len(text.encode("utf-8", "surrogatepass")) for text in texts], dtype=np.int64),
        pairs=sum(column.kind == "text" and not column.target for column in there) > 1,
        written=characters / max(1, sum(map(len, texts))) if written else None,
        crosses=bool(languages and of_written) and _main(languages) != _main(of_written),
    )


def _texts_of(rows: SampleRows, column: str) -> Iterator[str]:
    for value in rows.rows.columns[column]:
        yield from strings(value)


def _languages(texts: Iterable[str]) -> Counter[str]:
    return count_languages(islice(texts, _LANGUAGE_TEXTS))


def _main(languages: Counter[str]) -> str:
    return languages.most_common(1)[0][0]
