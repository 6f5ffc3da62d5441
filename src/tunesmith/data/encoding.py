"""Rows to token ids, cached by content: the same rows, tokenizer and options are encoded once.

The key is a SHA-256 over every value, the tokenizer, the options and the code that encodes. An entry of the cache
is plain `.npy` arrays, written in chunks of rows and memory-mapped, so a second run starts at once and a million
rows cost no memory. The checksums of an entry are checked before it is used; a damaged entry is encoded again.
Every text is encoded in full first, so the truncation by `max_length` (of texts, and of labels and answers) is
known and reported before training.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache as once
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from tunesmith import tasks
from tunesmith.cache import new_entry, open_entry
from tunesmith.data.examples import Examples
from tunesmith.data.npy_writer import GrowingArray
from tunesmith.data.truncation import TruncationReport, refuse_nothing_left, refuse_nothing_to_learn, survey
from tunesmith.encoded import Encoded, Lost, Ragged, add_losses
from tunesmith.errors import DataError, ModelError, RecipeError, first_line, is_panic
from tunesmith.tasks import EncodeOptions, LabelSchema, RowError, Task

if TYPE_CHECKING:
    from tunesmith.recipe import DataRecipe
    from tunesmith.types import Array, Columns, JsonObject, Tokenizer

_CHUNK_ROWS = 2_000  # the tokenizer's own objects take 5 kB per row until they are arrays
_FORMAT = 3
_ATTEMPTS = 3  # another process may remove an entry, or replace it, before it is opened
ENCODED = "encoded"
"""The folder of the encodings within the cache."""
_TRAIN_SPLIT = "train"
_PLAIN = EncodeOptions(None)


def ignore(text: str) -> None:
    """Drops a note; the default listener."""


def encode(
    task: Task,
    examples: Examples,
    tokenizer: Tokenizer,
    options: EncodeOptions,
    label_schema: LabelSchema,
    cache: Path | None = None,
    tell: Callable[[str], None] = ignore,
) -> Encoded:
    """Encodes the examples.

    Args:
        task: task that encodes.
        examples: rows to encode.
        tokenizer: a fast tokenizer of transformers.
        options: options of the encoding; with the purpose `predict`, only the task's input columns are read.
        label_schema: the task's label schema.
        cache: cache folder; None caches nothing.
        tell: function that receives a note if an entry of the cache is damaged.
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
    raise OSError(f"the files in `{entry}` were written, but cannot be read")


@dataclass(frozen=True)
class EncodedSplits:
    """The sequences of every split, with truncation reports.

    Args:
        splits: sequences by name of the split.
        truncation: truncation report by name of the split.
        max_length: most tokens of a sequence.
    """

    splits: dict[str, Encoded]
    truncation: dict[str, TruncationReport]
    max_length: int

    @property
    def longest(self) -> int:
        """Number of tokens in the longest sequence."""
        return max(int(encoded.ragged["input_ids"].lengths.max()) for encoded in self.splits.values())


def encode_splits(
    task: Task,
    splits: Mapping[str, Examples],
    tokenizer: Tokenizer,
    label_schema: LabelSchema,
    *,
    choose_max_length: Callable[[int], int],
    overlap: int | None,
    cache: Path,
    tell: Callable[[str], None] = ignore,
    how: EncodeOptions = _PLAIN,
) -> EncodedSplits:
    """Encodes every split, first in full, to know what `max_length` truncates.

    Args:
        task: task that encodes.
        splits: examples by name of the split.
        tokenizer: a fast tokenizer of transformers.
        label_schema: the task's label schema.
        choose_max_length: function from the number of tokens of the longest text to `max_length`.
        overlap: number of tokens that windows share; None takes a quarter of `max_length`.
        cache: cache folder.
        tell: function that receives a note if an entry of the cache is damaged.
        how: options of the recipe, see `options_of`; length, purpose and overlap are filled in here.

    Raises:
        DataError: a split has no row with anything left to learn from or to score.
        RecipeError: windows would share more than half of their tokens.
    """

    def encoded_within(name: str, most: int | None, shared: int) -> Encoded:
        options = _options(how, name, most, shared)
        return _encoded(task, splits[name], tokenizer, options, label_schema, cache, tell)

    full = {name: encoded_within(name, None, 0) for name in splits}
    refuse_nothing_to_learn(task, full)
    max_length = choose_max_length(max(_longest_part(encoded) for encoded in full.values()))
    shared = _overlap_of_windows(task, overlap, max_length)
    cut = {
        name: encoded_within(name, max_length, shared)
        if _longest_part(encoded) > task.length.of_prompt(max_length)
        else encoded
        for name, encoded in full.items()
    }
    truncation = {
        name: survey(task, full[name], cut[name], max_length, how.too_long, splits[name].location)
        for name in full
    }
    refuse_nothing_left(truncation)
    return EncodedSplits(cut, truncation, max_length)


def _overlap_of_windows(task: Task, overlap: int | None, max_length: int) -> int:
    """Number of tokens that windows share; a quarter of `max_length` if none is given."""
    shared = max_length // 4 if overlap is None else overlap
    if task.windows and shared > max_length // 2:
        raise RecipeError(
            f"data.overlap_tokens must be at most half of data.max_length: it is {shared}, and data.max_length "
            f"is {max_length}.",
            remedy=f"Give at most {max_length // 2}, or leave it at `auto`.",
        )
    return shared


def _encoded(
    task: Task,
    examples: Examples,
    tokenizer: Tokenizer,
    options: EncodeOptions,
    label_schema: LabelSchema,
    cache: Path,
    tell: Callable[[str], None],
) -> Encoded:
    """Encodes the examples; a row that cannot be encoded is named by its location."""
    try:
        return encode(task, examples, tokenizer, options, label_schema, cache, tell)
    except RowError as error:
        raise DataError(
            f"the row cannot be used: {error}",
            location=_place_of_fault(task, examples, tokenizer, options, label_schema),
            remedy=error.hint or "Fix it, or take it out of the file.",
        ) from None
    except BaseException as error:
        if not is_panic(error):
            raise
        raise ModelError(
            f"the tokenizer gives up on a text of these rows: {first_line(error)}",
            remedy="Its tokenizer.json has a pattern that takes too long; use another copy of the model.",
        ) from None


def _place_of_fault(
    task: Task, examples: Examples, tokenizer: Tokenizer, options: EncodeOptions, label_schema: LabelSchema
) -> str:
    for row in range(len(examples)):
        try:
            encode(task, examples.take(np.array([row])), tokenizer, options, label_schema)
        except RowError:
            return examples.location(row)
    return ""


def with_something_to_learn(task: Task, encoded: Encoded) -> Encoded:
    """The sequences that hold at least one item of the loss."""
    kept = np.flatnonzero(task.num_items(encoded) > 0)
    return encoded if len(kept) == len(encoded) else encoded.take(kept)


def options_of(data: DataRecipe) -> EncodeOptions:
    """The options of a recipe that hold for all its rows.

    Windows lose nothing of what is learned, so they are the default. Of a long conversation in which the last turn
    alone is learned, a window would hold that turn without the system turn, and perhaps half of it; so it is cut.

    Args:
        data: data section of the recipe.
    """
    is_cut = data.too_long == "cut" or (data.train_on == "last" and data.too_long != "window")
    return EncodeOptions(None, train_on=data.train_on, too_long="cut" if is_cut else "window")


def _options(how: EncodeOptions, split: str, max_length: int | None, overlap: int) -> EncodeOptions:
    purpose: Literal["train", "score"] = "train" if split == _TRAIN_SPLIT else "score"
    return replace(how, max_length=max_length, purpose=purpose, overlap=overlap)


def _longest_part(encoded: Encoded) -> int:
    """Number of tokens of the longest sequence that the model reads or writes at once."""
    return max(
        int(values.lengths.max(initial=0)) for name, values in encoded.ragged.items() if "_of_" not in name
    )


def _chunks(columns: Mapping[str, Sequence[object]]) -> Iterator[Columns]:
    n = len(next(iter(columns.values())))
    for start in range(0, max(n, 1), _CHUNK_ROWS):
        yield {name: values[start : start + _CHUNK_ROWS] for name, values in columns.items()}


def _key(
    task: Task,
    columns: Mapping[str, Sequence[object]],
    tokenizer: Tokenizer,
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
    """A checksum over the tasks' source files, so that encodings of an older version are not used."""
    digest = hashlib.sha256()
    folder = Path(tasks.__file__).parent
    for path in sorted(p for p in folder.rglob("*") if p.suffix in (".py", ".jinja")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _write_parts(folder: Path, parts: Iterable[Encoded]) -> JsonObject:
    """Appends part after part to the arrays in the folder; returns the facts of the entry."""
    n_rows = 0
    lost: Lost = {}
    with contextlib.ExitStack() as stack:
        files: dict[str, GrowingArray] = {}

        def append(name: str, values: Array) -> None:
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
    """Opens an entry of the cache; None if it is missing or damaged."""
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
