"""Texts to token ids, kept by content: the same texts, tokenizer and options are encoded once.

The key is a SHA-256 over every text, the tokenizer's files and the options; the store is one folder of plain
`.npy` arrays (flat values and offsets), memory-mapped, so a second run starts at once and a million rows cost
no memory. A length survey comes first, without truncation, so that what `max_length` cuts is known and told
before anything is trained.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.examples import Examples
from tunesmith.tasks import Task, TextOptions

_CHUNK_ROWS = 10_000
_FORMAT = 1


@dataclass(frozen=True)
class Encoded:
    """Token ids of many rows.

    Args:
        offsets: [rows + 1], where each row begins in the flat arrays.
        fields: flat arrays by name, `input_ids` [tokens] among them.
    """

    offsets: NDArray[np.int64]
    fields: dict[str, NDArray[np.int32]]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """[rows], tokens of each row; computed once, for every batch asks."""
        return np.diff(self.offsets)

    def take(self, rows: NDArray[np.int64]) -> Encoded:
        """The given rows, in the given order, in memory."""
        lengths = self.lengths[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        starts = np.repeat(self.offsets[rows] - offsets[:-1], lengths)
        source = starts + np.arange(offsets[-1])
        return Encoded(offsets, {name: flat[source] for name, flat in self.fields.items()})


@dataclass(frozen=True)
class Truncation:
    """What `max_length` cuts."""

    max_length: int
    rows: int
    rows_cut: int
    tokens: int
    tokens_lost: int

    def __str__(self) -> str:
        if not self.rows_cut:
            return f"nothing is cut at max_length {self.max_length}"
        return (
            f"{self.rows_cut} of {self.rows} texts ({self.rows_cut / self.rows:.1%}) are cut at max_length "
            f"{self.max_length}, {self.tokens_lost} tokens ({self.tokens_lost / self.tokens:.1%}) are lost"
        )


def survey(full: Encoded, max_length: int) -> Truncation:
    """What would be lost of texts encoded in full."""
    lengths = full.lengths
    lost = np.maximum(lengths - max_length, 0)
    return Truncation(max_length, len(full), int((lost > 0).sum()), int(lengths.sum()), int(lost.sum()))


def encode(
    task: Task, examples: Examples, tokenizer: Any, max_length: int | None, cache: Path | None = None
) -> Encoded:
    """Token ids of the examples.

    Args:
        task: whose encoding is used.
        examples: the rows.
        tokenizer: a fast tokenizer of transformers.
        max_length: tokens kept of each row, or all.
        cache: folder of the store; none keeps nothing.
    """
    options = TextOptions(max_length)
    inputs = {c.name: examples.columns[c.name] for c in task.columns if _is_input(c, examples)}
    if cache is None:
        return _encode(task, inputs, tokenizer, options)
    folder = cache / "encoded" / _key(task, inputs, tokenizer, options)
    if not folder.is_dir():
        _store(folder, _encode(task, inputs, tokenizer, options))
    return _load(folder)


@dataclass(frozen=True)
class EncodedSplits:
    """Every split's token ids, and what was cut.

    Args:
        splits: by name.
        truncation: by name.
        max_length: that was used.
    """

    splits: dict[str, Encoded]
    truncation: dict[str, Truncation]
    max_length: int

    @property
    def longest(self) -> int:
        """Tokens of the longest row there is."""
        return max(int(encoded.lengths.max()) for encoded in self.splits.values())


def encode_splits(
    task: Task,
    splits: Mapping[str, Examples],
    tokenizer: Any,
    *,
    choose_max_length: Callable[[int], int],
    cache: Path,
) -> EncodedSplits:
    """Encodes every split, first in full to know what `max_length` would cut.

    Args:
        task: whose encoding is used.
        splits: examples by name.
        tokenizer: a fast tokenizer.
        choose_max_length: from the tokens of the longest text there is.
        cache: folder of the store.
    """
    full = {name: encode(task, examples, tokenizer, None, cache) for name, examples in splits.items()}
    max_length = choose_max_length(max(int(encoded.lengths.max()) for encoded in full.values()))
    truncation = {name: survey(encoded, max_length) for name, encoded in full.items()}
    cut = {
        name: encode(task, splits[name], tokenizer, max_length, cache)
        if truncation[name].rows_cut
        else encoded
        for name, encoded in full.items()
    }
    return EncodedSplits(cut, truncation, max_length)


def cache_folder() -> Path:
    """Where encodings are kept: `TUNESMITH_CACHE`, else `~/.cache/tunesmith`."""
    return Path(os.environ.get("TUNESMITH_CACHE") or Path.home() / ".cache" / "tunesmith")


def _is_input(column: Any, examples: Examples) -> bool:
    return not column.target and column.name in examples.columns


def _encode(task: Task, inputs: Mapping[str, list[Any]], tokenizer: Any, options: TextOptions) -> Encoded:
    lengths: list[NDArray[np.int64]] = []
    fields: dict[str, list[NDArray[np.int32]]] = {}
    for chunk in _chunks(inputs):
        encoded = task.encode(chunk, tokenizer, options)
        lengths.append(np.fromiter(map(len, encoded["input_ids"]), dtype=np.int64))
        for name, rows in encoded.items():
            flat = np.fromiter((token for row in rows for token in row), dtype=np.int32)
            fields.setdefault(name, []).append(flat)
    offsets = np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64)
    return Encoded(offsets, {name: np.concatenate(parts) for name, parts in fields.items()})


def _chunks(inputs: Mapping[str, list[Any]]) -> Iterator[dict[str, list[Any]]]:
    n = len(next(iter(inputs.values())))
    for start in range(0, max(n, 1), _CHUNK_ROWS):
        yield {name: values[start : start + _CHUNK_ROWS] for name, values in inputs.items()}


def _key(task: Task, inputs: Mapping[str, list[Any]], tokenizer: Any, options: TextOptions) -> str:
    digest = hashlib.sha256()
    facts = [_FORMAT, task.name, options.max_length, sorted(inputs), tokenizer.model_input_names]
    digest.update(json.dumps(facts).encode())
    digest.update(tokenizer.backend_tokenizer.to_str().encode())
    for name in sorted(inputs):
        for value in inputs[name]:
            text = str(value).encode("utf-8", errors="surrogatepass")
            digest.update(len(text).to_bytes(8, "little") + text)
    return digest.hexdigest()


def _store(folder: Path, encoded: Encoded) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".new-"))
    try:
        np.save(aside / "offsets.npy", encoded.offsets, allow_pickle=False)
        for name, flat in encoded.fields.items():
            np.save(aside / f"{name}.npy", flat, allow_pickle=False)
        aside.rename(folder)
    except OSError:
        shutil.rmtree(aside, ignore_errors=True)
        if not folder.is_dir():  # else another process was faster, and its store is the same
            raise


def _load(folder: Path) -> Encoded:
    arrays = {p.stem: np.load(p, mmap_mode="r", allow_pickle=False) for p in sorted(folder.glob("*.npy"))}
    offsets = np.asarray(arrays.pop("offsets"))
    return Encoded(offsets, arrays)
