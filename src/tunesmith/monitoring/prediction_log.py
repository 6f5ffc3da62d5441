"""The prediction log: what a served model answered, and which answers turned out right.

    answers → queue → one thread → SQLite, or PostgreSQL → a Parquet file a day

A request never waits for the log. Answers are written within `FLUSH_S` seconds, in one transaction for all that
have come; a process that is killed loses at most these. SQLite keeps a write-ahead log, so a file is whole after a
kill. Rows of past days become Parquet, one file a day, which any tool reads.

By default the input is kept as a keyed hash: equal inputs are equal, and nobody without the key, which is in the
same database, can find out which text it was by trying. With `text`, it is kept with personal data replaced.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import logging
import os
import queue
import secrets
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tunesmith.data.personal import redacted
from tunesmith.errors import RecipeError
from tunesmith.monitoring.log_place import open_storage
from tunesmith.monitoring.log_storage import DAY_S, LogStorage, is_refusal

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

MODES = ("off", "hashed", "text")
FLUSH_S = 0.25
"""Most seconds between an answer and its transaction."""
_MOST_WAITING = 100_000
_RETRY_S = 1.0
_PATIENCE_S = 10.0
_LAST_TRIES_S = 5.0
_KEY_FILE = "log.key"
_ROTATE_S = 60.0
_STOP = object()

_log = logging.getLogger("tunesmith.monitoring")


@dataclass(frozen=True)
class Answer:
    """One answer, as the log keeps it.

    Args:
        id: id of the request, and the position of the input in it: `7f…-0`.
        at: `time.time()` of the answer.
        run: name of the run.
        row: the input.
        answer: the answer, as the client got it.
        seconds: time of the request.
    """

    id: str
    at: float
    run: str
    row: Any
    answer: JsonObject
    seconds: float


@dataclass(frozen=True)
class Difference:
    """What a challenger has answered to an input, where the champion has answered something else.

    Args:
        answer: id of the champion's answer.
        at: `time.time()` of the challenger's answer.
        run: name of the challenger.
        given: what it answered.
        seconds: time that it took.
    """

    answer: str
    at: float
    run: str
    given: JsonObject
    seconds: float


class PredictionLog:
    """Keeps answers and feedback.

    Args:
        place: a folder, or the URL of a PostgreSQL database.
        mode: `hashed` or `text`.
        days: days after which rows are deleted; None keeps them.

    Raises:
        RecipeError: the mode is unknown, or the database cannot be reached.
    """

    def __init__(
        self, place: str | os.PathLike[str], mode: str = "hashed", days: float | None = None
    ) -> None:
        if mode not in MODES[1:]:
            raise RecipeError(f"`{mode}` is not a way to log.", remedy=f"Known: {', '.join(MODES)}.")
        self.mode, self.days = mode, days
        self.storage: LogStorage = open_storage(place)
        self.dropped = 0
        self._key = key_of(self.storage)
        self._waiting: queue.Queue[Any] = queue.Queue(_MOST_WAITING)
        self._rotated, self._give_up_at = 0.0, float("inf")
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)
        self._thread.start()

    def add(self, answers: Iterable[Answer | Difference]) -> None:
        """Takes answers, without waiting; those that find no place are counted in `dropped`."""
        for answer in answers:
            try:
                self._waiting.put_nowait(answer)
            except queue.Full:
                self.dropped += 1

    def feedback(self, answer: str, label: Any, by: str = "") -> bool:
        """Keeps the right label of an answer; False for an id that is not known.

        Args:
            answer: id of the answer.
            label: what is right, as JSON.
            by: who says so.
        """
        self.flush()
        return self.storage.add_feedback(answer, _as_json(label), by, time.time())

    def delete(self, answers: Sequence[str]) -> int:
        """Deletes answers and their feedback, wherever they are kept; the number of deleted rows."""
        self.flush()
        return self.storage.delete(answers)

    def flush(self) -> None:
        """Waits until what was added is written.

        Raises:
            TimeoutError: it cannot be written for now.
        """
        done = threading.Event()
        with contextlib.suppress(queue.Full):
            self._waiting.put(done, timeout=_PATIENCE_S)
        if not done.wait(_PATIENCE_S):
            raise TimeoutError("the prediction log cannot be written for now")

    def close(self) -> None:
        """Writes what is left, and ends; what cannot be written for some seconds is given up, and said."""
        self._give_up_at = time.monotonic() + _LAST_TRIES_S
        self._waiting.put(_STOP)
        self._thread.join()
        self.storage.close()

    # ---- the thread ----

    def _run(self) -> None:
        while True:
            taken = self._take()
            rows = [self._row(it) for it in taken if isinstance(it, Answer)]
            rows += [self._other(it) for it in taken if isinstance(it, Difference)]
            while rows and not self._wrote(rows) and time.monotonic() < self._give_up_at:
                time.sleep(_RETRY_S)
            for it in taken:
                if isinstance(it, threading.Event):
                    it.set()
            if _STOP in taken:
                return
            self._clean_up()

    def _take(self) -> list[Any]:
        """What has come since; waits for the first, and a moment for more."""
        try:
            found = [self._waiting.get(timeout=_ROTATE_S)]
        except queue.Empty:
            return []
        until = time.monotonic() + FLUSH_S
        while isinstance(found[-1], Answer | Difference) and (left := until - time.monotonic()) > 0:
            try:
                found.append(self._waiting.get(timeout=left))
            except queue.Empty:
                break
        return found

    def _wrote(self, rows: list[JsonObject]) -> bool:
        """Whether rows are settled: written, or refused for what they hold; others are tried again."""
        try:
            self.storage.add(rows)
        except Exception as error:  # a full disk, a database that is away, a number that is too large
            if is_refusal(error):
                return self._wrote_apart(rows)
            _log.exception("the prediction log cannot be written; %d answers wait", len(rows))
            return False
        return True

    def _wrote_apart(self, rows: list[JsonObject]) -> bool:
        """Writes rows one by one, so that one that the database refuses keeps no other from being written."""
        if len(rows) == 1:
            self.dropped += 1
            _log.exception("the prediction log does not take the answer `%s`", rows[0]["id"])
            return True
        while rows:
            if not self._wrote(rows[:1]):
                return False
            del rows[0]
        return True

    def _row(self, answer: Answer) -> JsonObject:
        given = answer.answer
        kept = None if self.mode == "hashed" else _as_json(_redacted(answer.row))
        return {
            "id": answer.id,
            "at": answer.at,
            "run": answer.run,
            "input": hashed_input(self._key, answer.row),
            "text": kept,
            "answer": _as_json(_answer_of(given, self.mode)),
            "label": _label(given),
            "score": _number(given.get("score")),
            "abstained": _flag(given.get("abstained")),
            "out_of_scope": _flag((given.get("out_of_scope") or {}).get("is_out")),
            "truncated": bool(given.get("truncated", False)),
            "tokens": given.get("tokens"),
            "seconds": answer.seconds,
        }

    def _other(self, other: Difference) -> JsonObject:
        return {
            "answer": other.answer,
            "run": other.run,
            "at": other.at,
            "given": _as_json(_answer_of(other.given, self.mode)),
            "label": _label(other.given),
            "score": _number(other.given.get("score")),
            "seconds": other.seconds,
        }

    def _clean_up(self) -> None:
        """Rotates past days, and deletes what is too old, now and then."""
        now = time.time()
        if now - self._rotated < _ROTATE_S:
            return
        self._rotated = now
        try:
            self.storage.rotate(now - now % DAY_S)
            if self.days is not None:
                self.storage.delete_before(now - self.days * DAY_S)
        except Exception:
            _log.exception("the prediction log cannot be rotated")


def key_of(storage: LogStorage) -> bytes:
    """The key of a log, with which its inputs are hashed."""
    return storage.secret(_KEY_FILE, lambda: secrets.token_bytes(32))


def hashed_input(key: bytes, row: Any) -> str:
    """The hash of an input: a text, or a mapping of columns."""
    text = row if isinstance(row, str) else json.dumps(row, sort_keys=True)
    return hmac.new(key, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def read_log(place: str | os.PathLike[str], since: float = 0.0) -> Iterator[JsonObject]:
    """The answers of a log, the oldest first, each with its `feedback` if there is one.

    Args:
        place: folder or URL of the log.
        since: `time.time()` of the oldest answer.
    """
    storage = open_storage(place)
    try:
        yield from storage.rows(since)
    finally:
        storage.close()


def read_differences(place: str | os.PathLike[str]) -> Iterator[JsonObject]:
    """What challengers answered where the champion answered something else, the oldest first.

    Args:
        place: folder or URL of the log.

    Yields:
        `answer` (id of the champion's answer), `run`, `at`, `given`, `label`, `score`, `seconds`, and the
        `feedback` to that answer if there is one.
    """
    storage = open_storage(place)
    try:
        yield from storage.differences()
    finally:
        storage.close()


def _as_json(value: Any) -> str:
    """JSON that every database takes: half of a character that JSON has escaped becomes a question mark."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace").decode("utf-8")


def _redacted(row: Any) -> Any:
    if isinstance(row, str):
        return redacted(row)
    if isinstance(row, Mapping):
        return {key: _redacted(value) for key, value in row.items()}
    return [_redacted(value) for value in row] if isinstance(row, list | tuple) else row


_ECHOES = (
    "text",
    "word",
    "answer",
    "generated_text",
    "summary_text",
    "translation_text",
    "message",
    "sequence",
)
"""Entries of answers that may repeat the input, or be a text themselves."""


def _answer_of(given: JsonObject, mode: str) -> Any:
    """The answer without texts, or with what is personal replaced."""
    if mode == "text":
        return _redacted(given)
    return _without_texts(given)


def _without_texts(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_texts(item) for key, item in value.items() if key not in _ECHOES}
    return [_without_texts(item) for item in value] if isinstance(value, list | tuple) else value


def _label(given: JsonObject) -> str | None:
    """The answer as one word, where it is one: a label, or several in a list."""
    label = given.get("label", given.get("labels"))
    if label is None or isinstance(label, str):
        return label
    return json.dumps(label, ensure_ascii=False)


def _flag(value: Any) -> bool | None:
    """Whether something is so; of a list, such as that of withheld entities, whether it has some."""
    return None if value is None else bool(value)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None
