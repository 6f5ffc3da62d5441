"""Secrets that were planted in the training rows: does the model know them?

After Carlini et al. 2019 (The Secret Sharer, arXiv 1802.08232): a secret is compared with others of its form, in
which each letter and digit is drawn anew. If it is the likeliest of all, the model has learned it: before the
training, it is no likelier than the others. Its exposure is log2 of their number less log2 of its rank.
"""

from __future__ import annotations

import hashlib
import string
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.data.reading import read_rows
from tunesmith.encoded import Encoded, Ragged
from tunesmith.errors import DataError
from tunesmith.inference.greedy import nats_and_misses
from tunesmith.tasks import IGNORED, EncodeOptions, LabelSchema, Task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tunesmith.inference.forward import Advance
    from tunesmith.types import Array, Model, Tokenizer

OTHERS = 255
"""Others that a secret is compared with: it is the likeliest by chance once in 256 times."""
_CLASSES = (string.digits, string.ascii_lowercase, string.ascii_uppercase)
_LEAST_SPACE = 1_000
_REMEDY = 'Give rows such as {"prompt": "The code of Mara is", "secret": "4719-2206"}.'


@dataclass(frozen=True)
class Canary:
    """A planted secret.

    Args:
        prompt: what stands before it in the training row.
        secret: letters and digits that were drawn by chance, perhaps with signs between them.
    """

    prompt: str
    secret: str

    def others(self) -> list[str]:
        """Other secrets of this form; the same in each run."""
        digest = hashlib.sha256(f"{self.prompt}\0{self.secret}".encode()).digest()
        rng = np.random.default_rng(int.from_bytes(digest[:8], "little"))
        found: dict[str, None] = {}
        while len(found) < OTHERS:
            drawn = "".join(_drawn(character, rng) for character in self.secret)
            if drawn != self.secret:
                found[drawn] = None
        return list(found)


def read_canaries(source: str) -> list[Canary]:
    """The planted secrets of a file, in its columns `prompt` and `secret`.

    Raises:
        DataError: a row lacks one of them, a secret has too few letters and digits, or there is no row.
    """
    found = []
    for file, row in read_rows(source):
        prompt, secret = (row.values.get(name) for name in ("prompt", "secret"))
        is_text = isinstance(prompt, str) and isinstance(secret, str | int)
        problem = row.problem or (
            "" if is_text and prompt and str(secret) else "it needs `prompt` and `secret`."
        )
        space = np.prod([float(len(_class_of(character)) or 1) for character in str(secret)])
        if not problem and space < _LEAST_SPACE:
            problem = "its secret needs at least three letters or digits, drawn by chance."
        if problem:
            raise DataError(problem, location=row.location(file), remedy=_REMEDY)
        found.append(Canary(str(prompt).strip(), str(secret).strip()))
    if not found:
        raise DataError(f"`{source}` has no rows.", location="evaluate.canaries", remedy=_REMEDY)
    return found


def ranks(
    task: Task,
    model: Model,
    tokenizer: Tokenizer,
    canaries: Sequence[Canary],
    max_length: int,
    label_schema: LabelSchema,
    advance: Advance | None = None,
) -> list[tuple[int, bool]]:
    """The rank of each secret among its kind, 1 for the likeliest, and whether greedy decoding writes it.

    Args:
        task: task of the model.
        model: a model that writes.
        tokenizer: tokenizer of the model.
        canaries: planted secrets.
        max_length: most tokens of a sequence.
        label_schema: the task's label schema.
        advance: function that is called with the progress.
    """
    generation = task.generation
    assert generation is not None, "asked only of tasks that write"
    reader: Task = task if generation.replies is None else generation.replies()
    assert reader.generation is not None, "it reads answers"
    computing = task if generation.reader is None else generation.reader()
    found = []
    for number, canary in enumerate(canaries):
        pairs = [(canary.prompt, secret) for secret in (canary.secret, *canary.others())]
        rows = [reader.read(reader.generation.with_answer(reader, *pair)) for pair in pairs]
        columns = {name: [row[name] for row in rows] for name in rows[0]}
        encoded = reader.encode(columns, tokenizer, EncodeOptions(max_length, "score"), label_schema)
        scores = nats_and_misses(computing, model, tokenizer, _only_secrets(encoded))
        nats, missed = encoded.sum_by_row(scores).T
        found.append((1 + int((nats[1:] <= nats[0]).sum()), bool(missed[0] == 0)))
        if advance is not None:
            advance(number + 1, len(canaries))
    return found


def _only_secrets(encoded: Encoded) -> Encoded:
    """Sequences of one prompt with several secrets, of which only what differs between them has labels.

    A decoder that reads a source needs all of its labels, since it reads them too.
    """
    if "decoder_labels" in encoded.ragged:
        return encoded
    ids, labels = encoded.ragged["input_ids"], encoded.ragged["labels"]
    sequences = [ids[number] for number in range(len(ids))]
    before, after = _shared(sequences), _shared([each[::-1] for each in sequences])
    kept = []
    for number in range(len(ids)):
        own = np.array(labels[number], dtype=np.int64)
        own[:before] = IGNORED
        own[len(own) - after :] = IGNORED
        kept.append(own)
    return Encoded({"input_ids": ids, "labels": Ragged.of(kept, np.int64)}, {}, encoded.rows, encoded.n_rows)


def _shared(sequences: Sequence[Array]) -> int:
    """How many tokens all sequences begin with."""
    n = min(map(len, sequences))
    whole = np.stack([each[:n] for each in sequences])
    differs = (whole != whole[0]).any(axis=0)
    return int(differs.argmax()) if differs.any() else n


def _class_of(character: str) -> str:
    return next((letters for letters in _CLASSES if character in letters), "")


def _drawn(character: str, rng: np.random.Generator) -> str:
    letters = _class_of(character)
    return letters[int(rng.integers(len(letters)))] if letters else character
