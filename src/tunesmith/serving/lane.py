"""One run in a worker: rows are encoded as they come, and answered in batches.

Two threads share the work. The intake encodes rows while the model computes others (tokenizer and model release
the interpreter's lock), and the lane's own thread takes batches. Answers are those of `Predictor.predict_rows`.
"""

from __future__ import annotations

import copy
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

from tunesmith.inference.embedder import Embedder
from tunesmith.inference.forward import tokens_per_pass
from tunesmith.inference.prepared import Prepared
from tunesmith.serving.answering_first import AnsweringFirst
from tunesmith.serving.batching import Item, Job, choose, padded
from tunesmith.tasks import RowError

if TYPE_CHECKING:
    from tunesmith.inference.predictor import Predictor
    from tunesmith.types import JsonObject

_CHUNK_ROWS = 128
"""Rows that are encoded at once; the model can begin with the first of a large request."""

_log = logging.getLogger(__name__)


class Reply(Protocol):
    """Takes messages for the front."""

    def __call__(self, *messages: JsonObject) -> None:
        """Sends them together."""


class Lane:
    """Answers the requests for one run.

    Args:
        name: of the run.
        predictor: of the run.
        reply: sends messages to the front.
        first: answers before the model where it is sure; None without a cascade.
    """

    def __init__(
        self, name: str, predictor: Predictor, reply: Reply, first: AnsweringFirst | None = None
    ) -> None:
        self.name, self.predictor, self.reply = name, predictor, reply
        # A tokenizer is changed while it encodes, and some tasks decode with it at the same time.
        self._reader = _with_own_tokenizer(predictor)
        self._embedder: Embedder | None = None
        self._first = first
        self._waiting: list[Item] = []
        self._changed = threading.Condition()
        self._most_tokens = tokens_per_pass(predictor.model)

    # ---- the intake's thread ----

    def take_in(self, jobs: Sequence[Job]) -> None:
        """Reads, encodes and queues the rows of some requests; refuses those that cannot be used."""
        read: list[tuple[Job, int, JsonObject]] = []
        for job in jobs:
            if job.ask["op"] == "tokenize":
                self._tokenize(job)
                continue
            try:
                read.extend((job, i, self._read(job, i)) for i in range(job.size))
            except RowError as error:
                self.refuse(job, "row", str(error))
        if self._first is not None:
            read, done = self._first.answer(read)
            self.reply(*map(self._finished, done))
        alike: dict[tuple[object, ...], list[tuple[Job, int, JsonObject]]] = {}
        for job, i, row in read:
            if not job.is_over:
                kind = (job.ask["op"], job.ask.get("coverage"), *row)
                alike.setdefault(kind, []).append((job, i, row))
        for kind, rows in alike.items():
            for start in range(0, len(rows), _CHUNK_ROWS):
                self._encode(kind, rows[start : start + _CHUNK_ROWS])

    def _read(self, job: Job, i: int) -> JsonObject:
        try:
            return self._source(job).read(job.ask["rows"][i])
        except RowError as error:
            raise RowError(f"input {i}: {error}" if job.size > 1 else str(error)) from None

    def _source(self, job: Job) -> Predictor:
        """What reads and encodes: for vectors, single texts are read."""
        if job.ask["op"] != "embed":
            return self._reader
        if self._embedder is None:
            self._embedder = Embedder(self._reader)
        return cast("Predictor", self._embedder.predictor)

    def _encode(self, kind: tuple[object, ...], rows: list[tuple[Job, int, JsonObject]]) -> None:
        try:
            chunk = self._source(rows[0][0]).prepare([row for _, _, row in rows])
        except RowError as error:
            if len(rows) == 1:
                self.refuse(rows[0][0], "row", str(error))
                return
            for one in rows:
                if not one[0].is_over:
                    self._encode(kind, [one])
            return
        self._put([
            Item(job, position, chunk, i, *chunk.size_of(i), kind=(*kind, chunk.kind))
            for i, (job, position, _) in enumerate(rows)
        ])  # fmt: skip

    def _put(self, items: Sequence[Item]) -> None:
        with self._changed:
            self._waiting.extend(items)
            self._changed.notify()

    def _tokenize(self, job: Job) -> None:
        tokenizer = self._reader.tokenizer
        specials = bool(job.ask.get("add_special_tokens", True))
        found = [_tokens(tokenizer, text, specials=specials) for text in job.ask["rows"]]
        job.is_over = True
        self.reply({"id": job.number, "answers": found})

    def refuse(self, job: Job, kind: str, message: str) -> None:
        """Ends a job with an error."""
        if not job.is_over:
            job.is_over = True
            self.reply({"id": job.number, "error": kind, "message": message})

    # ---- the lane's thread ----

    def work(self) -> None:
        """Answers for ever."""
        while True:
            batch = self._next()
            if not batch:
                continue
            began = time.monotonic()
            self._answer(batch)
            self._report(batch, time.monotonic() - began)

    def _next(self) -> list[Item]:
        """The next batch; waits until there is one."""
        with self._changed:
            while not self._waiting:
                self._changed.wait()
            now = time.monotonic()
            self._waiting = [item for item in self._waiting if item.job.is_due(now)]
            if not self._waiting:
                return []
            chosen = set(choose(self._waiting, self._most_tokens))
            batch = [item for i, item in enumerate(self._waiting) if i in chosen]
            self._waiting = [item for i, item in enumerate(self._waiting) if i not in chosen]
        for item in batch:
            item.job.started = item.job.started or now
        return batch

    def _answer(self, batch: list[Item]) -> None:
        done = []
        for item, found in _each(batch, self._computed):
            if isinstance(found, Exception):
                self._refuse_item(item, found)
                continue
            item.job.answers[item.position] = found
            item.job.missing -= 1
            if not item.job.missing and not item.job.is_over:
                done.append(item.job)
        if done:
            self.reply(*map(self._finished, done))

    def _refuse_item(self, item: Item, error: Exception) -> None:
        if isinstance(error, RowError):
            self.refuse(
                item.job, "row", f"input {item.position}: {error}" if item.job.size > 1 else str(error)
            )
            return
        _log.error("an input for `%s` failed", self.name, exc_info=error)
        self.refuse(item.job, "failed", "the model failed on this input")

    def _finished(self, job: Job) -> JsonObject:
        job.is_over = True
        return {
            "id": job.number,
            "answers": job.answers,
            "queued_s": round(job.started - job.began, 6),
            "worked_s": round(time.monotonic() - job.started, 6),
        }

    def _computed(self, batch: list[Item]) -> list[JsonObject]:
        """The answers of a batch, in its order."""
        order, prepared = _joined(batch)
        ask = batch[0].job.ask
        if ask["op"] == "embed":
            assert self._embedder is not None
            found = [{"vector": vector.tolist()} for vector in self._embedder.vectors_of(prepared.encoded)]
        else:
            predictions = self.predictor.complete(prepared, ask.get("coverage"))
            found = [
                self.predictor.answer(prediction, batch[i].job.ask.get("top_k", 1))
                for i, prediction in zip(order, predictions, strict=True)
            ]
        answers: list[JsonObject] = [{}] * len(batch)
        for at, i in enumerate(order):
            answers[i] = {**found[at], **lengths(prepared, at)}
        if self.predictor.task.generation is not None:
            self._count_written(answers)
        return answers

    def _count_written(self, answers: list[JsonObject]) -> None:
        """Adds how many tokens the texts have that were written as `predict` writes them."""
        texts = [text_of_answer(answer) for answer in answers]
        ids = self.predictor.tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
        for answer, tokens in zip(answers, ids, strict=True):
            answer["completion_tokens"] = len(tokens)

    def _report(self, batch: list[Item], seconds: float) -> None:
        self.reply({
            "batch": {"run": self.name, "items": len(batch), "tokens": sum(item.tokens for item in batch),
                      "padded": padded(batch), "seconds": round(seconds, 6)},
        })  # fmt: skip


def lengths(prepared: Prepared, row: int) -> JsonObject:
    """How long a text is, and how much of it was read if not all."""
    tokens = int(prepared.tokens[row])
    if not prepared.is_cut[row]:
        return {"tokens": tokens}
    return {"tokens": tokens, "truncated": True, "tokens_read": int(prepared.read[row])}


def text_of_answer(answer: JsonObject) -> str:
    """The text of an answer of a run that writes."""
    found = next(value for value in answer.values() if isinstance(value, str | dict))
    return str(found["content"] if isinstance(found, dict) else found)


def _joined(batch: list[Item]) -> tuple[list[int], Prepared]:
    """The rows of a batch as one, and the number of each in the batch."""
    by_chunk: dict[int, list[int]] = {}
    for i, item in enumerate(batch):
        by_chunk.setdefault(id(item.chunk), []).append(i)
    order, parts = [], []
    for numbers in by_chunk.values():
        numbers.sort(key=lambda i: batch[i].row)
        order.extend(numbers)
        parts.append(batch[numbers[0]].chunk.take(np.array([batch[i].row for i in numbers])))
    return order, Prepared.join(parts)


def _each(
    batch: list[Item], compute: Callable[[list[Item]], list[JsonObject]]
) -> Iterator[tuple[Item, JsonObject | Exception]]:
    """The answer of each item, or why there is none: one that cannot be answered spoils no other."""
    try:
        yield from zip(batch, compute(batch), strict=True)
    except Exception as error:  # whatever a model raises for an input
        if len(batch) == 1:
            yield batch[0], error
            return
        for item in batch:
            yield from _each([item], compute)


def _with_own_tokenizer(predictor: Predictor) -> Predictor:
    task = predictor.task
    if task.generation is None and task.masking is None:
        return predictor
    found = copy.copy(predictor)
    found.tokenizer = copy.deepcopy(predictor.tokenizer)
    return found


def _tokens(tokenizer: Any, text: str, *, specials: bool) -> list[JsonObject]:
    """Every token of a text, as text-embeddings-inference lists them."""
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    found = backend.encode(text, add_special_tokens=specials)
    rows = zip(found.ids, found.tokens, found.special_tokens_mask, found.offsets, strict=True)
    return [
        {"id": i, "text": name, "special": bool(special), "start": None if special else start,
         "stop": None if special else stop}
        for i, name, special, (start, stop) in rows
    ]  # fmt: skip
