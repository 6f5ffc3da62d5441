"""Rows to token ids, kept by content: the same rows, tokenizer and options are encoded once.

The key is a SHA-256 over every value, the tokenizer, the options and the code that encodes; an entry of the store
is plain `.npy` arrays, written a chunk of rows at a time and memory-mapped, so a second run starts at once and a
million rows cost no memory. Its sums are checked before it is believed; a damaged one is encoded again.
Everything is encoded in full first, so that what `max_length` takes away (text, and what the model should learn
from it) is known and told before anything is trained.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache as once
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunesmith import tasks
from tunesmith.data.cache import new_entry, open_entry
from tunesmith.data.examples import Examples
from tunesmith.data.npy_writer import GrowingArray
from tunesmith.encoded import Encoded, Lost, Ragged, add_losses
from tunesmith.errors import DataError, RecipeError
from tunesmith.tasks import EncodeOptions, LabelSchema, RowError, Task

_CHUNK_ROWS = 2_000  # the tokenizer's own objects take 5 kB a row until they are arrays
_FORMAT = 3
_ATTEMPTS = 3  # another process may remove an entry, or replace it, before it is opened
ENCODED = "encoded"
"""The folder of the encodings within the cache."""
_TRAIN_SPLIT = "train"


def ignore(text: str) -> None:
    """Drops a note that nobody waits for."""


@dataclass(frozen=True)
class TruncationReport:
    """What `max_length` leaves of a split to learn from.

    Args:
        max_length: tokens of a sequence.
        rows: of the split.
        rows_cut: rows of which tokens are lost.
        rows_windowed: rows that became several sequences.
        rows_without: rows of which nothing is left to learn from.
        sequences: that they became.
        tokens: of all rows, uncut.
        lost: what was lost of what, by name: `tokens`, `entities`, `answers`, ….
    """

    max_length: int
    rows: int
    rows_cut: int
    rows_windowed: int
    rows_without: int
    sequences: int
    tokens: int
    lost: Lost

    @property
    def is_whole(self) -> bool:
        """Whether nothing is lost."""
        return not self.rows_without and not any(gone for gone, _ in self.lost.values())

    def __str__(self) -> str:
        parts = []
        if self.rows_cut:
            share = self.rows_cut / self.rows
            parts.append(f"{self.rows_cut} of {self.rows} texts ({share:.1%}) are cut")
        if self.rows_windowed:
            parts.append(f"{self.rows_windowed} of {self.rows} texts are read in windows")
        parts += [
            f"{gone} of {total} {name} ({gone / total:.1%}) are lost"
            for name, (gone, total) in self.lost.items()
            if gone
        ]
        if self.rows_without:
            parts.append(f"{self.rows_without} rows have nothing left to learn from")
        if not parts:
            return f"nothing is cut at max_length {self.max_length}"
        return f"at max_length {self.max_length}, " + ", ".join(parts)


def encode(
    task: Task,
    examples: Examples,
    tokenizer: Any,
    options: EncodeOptions,
    label_schema: LabelSchema,
    cache: Path | None = None,
    tell: Callable[[str], None] = ignore,
) -> Encoded:
    """Sequences of the examples.

    Args:
        task: whose encoding is used.
        examples: the rows.
        tokenizer: a fast tokenizer of transformers.
        options: how; with the purpose `predict`, only the task's input columns are read.
        label_schema: what the task learned.
        cache: folder of the store; none keeps nothing.
        tell: called with a note when an entry of the store was damaged.
    """
    names = task.inputs if options.purpose == "predict" else (*task.inputs, *task.outputs)
    columns = {name: examples.columns[name] for name in names if name in examples.columns}
    parts = (task.encode(chunk, tokenizer, options, label_schema) for chunk in _chunks(columns))
    if cache is None:
        return Encoded.join(list(parts))
    entry = cache / ENCODED / _key(task, columns, tokenizer, options, label_schema)
    stored = _load(entry)
    if stored is not None:
        return stored
    if entry.is_dir():
        tell(f"the encodings in {entry} are damaged; the rows are encoded again")
    for _ in range(_ATTEMPTS):
        with new_entry(entry) as (folder, facts):
            facts.update(_write_parts(folder, parts))
        stored = _load(entry)
        if stored is not None:
            return stored
        parts = (task.encode(chunk, tokenizer, options, label_schema) for chunk in _chunks(columns))
    raise OSError(f"what was written to `{entry}` cannot be read again")


@dataclass(frozen=True)
class EncodedSplits:
    """Every split's sequences, and what is lost.

    Args:
        splits: by name.
        truncation: by name.
        max_length: that was used.
    """

    splits: dict[str, Encoded]
    truncation: dict[str, TruncationReport]
    max_length: int

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence there is."""
        return max(int(encoded.ragged["input_ids"].lengths.max()) for encoded in self.splits.values())


def encode_splits(
    task: Task,
    splits: Mapping[str, Examples],
    tokenizer: Any,
    label_schema: LabelSchema,
    *,
    choose_max_length: Callable[[int], int],
    overlap: int | None,
    cache: Path,
    tell: Callable[[str], None] = ignore,
) -> EncodedSplits:
    """Encodes every split, first in full to know what `max_length` takes away.

    Args:
        task: whose encoding is used.
        splits: examples by name.
        tokenizer: a fast tokenizer.
        label_schema: what the task learned.
        choose_max_length: from the tokens of the longest text there is.
        overlap: tokens that windows share; a quarter of `max_length` when None.
        cache: folder of the store.
        tell: called with a note when an entry of the store was damaged.

    Raises:
        DataError: no row of a split has anything to learn from, or be scored by.
    """
    store = (cache, tell)
    full = {
        name: _encoded(task, examples, tokenizer, _options(name, None, 0), label_schema, *store)
        for name, examples in splits.items()
    }
    longest = max(_longest_part(encoded) for encoded in full.values())
    max_length = choose_max_length(longest)
    shared = max_length // 4 if overlap is None else overlap
    if task.windows and shared > max_length // 2:
        raise RecipeError(
            f"windows must have more of their own than they share: data.overlap_tokens is {shared}, and "
            f"data.max_length {max_length}.",
            remedy=f"Give at most {max_length // 2}, or leave it at `auto`.",
        )
    cut = {
        name: _encoded(
            task, splits[name], tokenizer, _options(name, max_length, shared), label_schema, *store
        )
        if _longest_part(encoded) > max_length
        else encoded
        for name, encoded in full.items()
    }
    truncation = {name: survey(task, full[name], cut[name], max_length) for name in full}
    for name, found in truncation.items():
        if found.rows_without == found.rows:
            raise DataError(
                f"nothing is left to learn from: all {found.rows} {name} rows lose their labels at "
                f"max_length {max_length}.",
                remedy="Give a larger `data.max_length`, or a model that reads longer texts.",
            )
    return EncodedSplits(cut, truncation, max_length)


def _encoded(
    task: Task,
    examples: Examples,
    tokenizer: Any,
    options: EncodeOptions,
    label_schema: LabelSchema,
    cache: Path,
    tell: Callable[[str], None],
) -> Encoded:
    """Sequences of the examples; a row that cannot be encoded is named by its place."""
    try:
        return encode(task, examples, tokenizer, options, label_schema, cache, tell)
    except RowError as error:
        raise DataError(
            f"the row cannot be used: {error}",
            location=_place_of_fault(task, examples, tokenizer, options, label_schema),
            remedy="Mend it, or take it out of the file.",
        ) from None


def _place_of_fault(
    task: Task, examples: Examples, tokenizer: Any, options: EncodeOptions, label_schema: LabelSchema
) -> str:
    for row in range(len(examples)):
        try:
            encode(task, examples.take(np.array([row])), tokenizer, options, label_schema)
        except RowError:
            return examples.location(row)
    return ""


def survey(task: Task, full: Encoded, cut: Encoded, max_length: int) -> TruncationReport:
    """What is lost between rows encoded in full and within `max_length`."""
    before, after = full.sum_by_row(full.lengths), cut.sum_by_row(cut.lengths)
    items_before, items_after = (e.sum_by_row(task.num_items(e)) for e in (full, cut))
    windows = np.bincount(cut.rows, minlength=cut.n_rows)
    tokens = int(before.sum())
    lost = dict(cut.lost)
    gone = np.zeros(full.n_rows) if task.windows else np.maximum(before - after, 0)
    if gone.any():
        lost = {"tokens": (int(gone.sum()), tokens), **lost}
    if task.item and items_after.sum() < items_before.sum():
        lost[task.item] = (int(items_before.sum() - items_after.sum()), int(items_before.sum()))
    return TruncationReport(
        max_length=max_length,
        rows=full.n_rows,
        rows_cut=int((gone > 0).sum()),
        rows_windowed=int((windows > 1).sum()),
        rows_without=int((items_after == 0).sum()),
        sequences=len(cut),
        tokens=tokens,
        lost=lost,
    )


def with_something_to_learn(task: Task, encoded: Encoded) -> Encoded:
    """Without the sequences that hold no item of the loss."""
    kept = np.flatnonzero(task.num_items(encoded) > 0)
    return encoded if len(kept) == len(encoded) else encoded.take(kept)


def _options(split: str, max_length: int | None, overlap: int) -> EncodeOptions:
    return EncodeOptions(max_length, "train" if split == _TRAIN_SPLIT else "score", overlap)


def _longest_part(encoded: Encoded) -> int:
    """Tokens of the longest sequence that the model reads, or writes, at once."""
    return max(
        int(values.lengths.max(initial=0)) for name, values in encoded.ragged.items() if "_of_" not in name
    )


def _chunks(columns: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Sequence[Any]]]:
    n = len(next(iter(columns.values())))
    for start in range(0, max(n, 1), _CHUNK_ROWS):
        yield {name: values[start : start + _CHUNK_ROWS] for name, values in columns.items()}


def _key(
    task: Task,
    columns: Mapping[str, Sequence[Any]],
    tokenizer: Any,
    options: EncodeOptions,
    label_schema: LabelSchema,
) -> str:
    digest = hashlib.sha256()
    facts = [
        _FORMAT, _code_of_tasks(), task.name, asdict(options), label_schema, sorted(columns),
        tokenizer.model_input_names, tokenizer.chat_template, tokenizer.special_tokens_map,
    ]  # fmt: skip
    digest.update(json.dumps(facts, default=str, sort_keys=True).encode())
    digest.update(tokenizer.backend_tokenizer.to_str().encode())
    for name in sorted(columns):
        for value in columns[name]:
            text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
            data = text.encode("utf-8", errors="surrogatepass")
            digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


@once
def _code_of_tasks() -> str:
    """A sum over the tasks' source files: what an older version encoded is not believed."""
    digest = hashlib.sha256()
    folder = Path(tasks.__file__).parent
    for path in sorted(p for p in folder.rglob("*") if p.suffix in (".py", ".jinja")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _write_parts(folder: Path, parts: Iterable[Encoded]) -> dict[str, Any]:
    """Appends part after part to the arrays in the folder; returns what else there is to know."""
    n_rows = 0
    lost: Lost = {}
    with contextlib.ExitStack() as stack:
        files: dict[str, GrowingArray] = {}

        def append(name: str, values: NDArray[Any]) -> None:
            if name not in files:
                files[name] = stack.enter_context(GrowingArray(folder / f"{name}.npy", values))
            files[name].append(values)

        for part in parts:
            for name, values in part.dense.items():
                append(f"dense.{name}", values)
            for name, ragged in part.ragged.items():
                first = f"offsets.{name}" not in files
                before = 0 if first else len(files[f"values.{name}"])
                append(f"values.{name}", ragged.values)
                append(f"offsets.{name}", ragged.offsets[0 if first else 1 :] + before)
            append("rows", part.rows + n_rows)
            n_rows += part.n_rows
            lost = add_losses(lost, part.lost)
    return {"n_rows": n_rows, "lost": lost}


def _load(entry: Path) -> Encoded | None:
    """Opens an entry of the store; None when it is missing or damaged."""
    facts = open_entry(entry)
    if facts is None:
        return None
    try:
        arrays = {p.stem: np.load(p, mmap_mode="r", allow_pickle=False) for p in sorted(entry.glob("*.npy"))}
    except (OSError, ValueError):  # removed meanwhile
        return None
    ragged = {
        name.removeprefix("values."): Ragged(
            values, np.asarray(arrays[name.replace("values.", "offsets.", 1)])
        )
        for name, values in arrays.items()
        if name.startswith("values.")
    }
    dense = {
        n.removeprefix("dense."): np.asarray(values) for n, values in arrays.items() if n.startswith("dense.")
    }
    lost = {name: (int(gone), int(total)) for name, (gone, total) in facts["lost"].items()}
    return replace(Encoded(ragged, dense, np.asarray(arrays["rows"]), int(facts["n_rows"])), lost=lost)
