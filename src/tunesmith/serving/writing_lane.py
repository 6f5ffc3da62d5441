"""The lane of a decoder: texts are written together, token by token, and streamed."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tunesmith.inference.continuous import Continuous, Text
from tunesmith.inference.sampling import Choice
from tunesmith.inference.text_stream import TextStream
from tunesmith.models.positions import position_limit
from tunesmith.serving.batching import Item
from tunesmith.serving.lane import Lane, lengths
from tunesmith.tasks import EvalPredictions

if TYPE_CHECKING:
    from tunesmith.inference.predictor import Predictor
    from tunesmith.serving.lane import Reply
    from tunesmith.types import JsonObject

_REPORT_S = 0.25

_log = logging.getLogger(__name__)


@dataclass
class _Writing:
    """What a text is written for."""

    item: Item
    stream: TextStream
    streams: bool


class WritingLane(Lane):
    """Answers the requests for a run whose model writes token by token.

    `write` asks for one text with settings of its own, and may be streamed; `answer` for what `predict` gives.
    """

    def __init__(self, name: str, predictor: Predictor, reply: Reply) -> None:
        self._continuous = Continuous(predictor.model, predictor.tokenizer, bf16=predictor.bf16)
        settings = predictor.model.generation_config
        self._usual, self._most_new = Choice.of_model(settings), int(settings.max_new_tokens or 256)
        self._most_positions = position_limit(predictor.model, predictor.tokenizer)
        self._reported, self._tokens, self._seconds, self._done = time.monotonic(), 0, 0.0, 0
        super().__init__(name, predictor, reply)

    def work(self) -> None:
        """Writes for ever."""
        while True:
            try:
                self._round()
            except Exception:
                _log.exception("writing for `%s` failed", self.name)
                for text in self._continuous.texts:
                    self.refuse(text.owner.item.job, "failed", "the model failed on this input")
                    text.is_over = True
                self._continuous.texts = []

    def _round(self) -> None:
        """One token more for every text, or the first one of new texts."""
        drawn, joining = self._joining()
        if drawn:
            self._answer(drawn)
        now = time.monotonic()
        for text in self._continuous.texts:
            text.is_over = text.is_over or not text.owner.item.job.is_due(now)
        self._continuous.drop()
        texts = [*self._continuous.texts, *joining]
        if not texts:
            return
        if joining:
            self._start(joining)
        else:
            self._continuous.step()
        self._tokens += len(texts)
        self._seconds += time.monotonic() - now
        if messages := [message for text in texts for message in self._said(text)]:
            self.reply(*messages)
        self._report_writing()

    def _start(self, joining: list[Text]) -> None:
        try:
            self._continuous.start(joining)
        except Exception:
            _log.exception("a prompt for `%s` failed", self.name)
            for text in joining:
                text.is_over = True
                self.refuse(text.owner.item.job, "failed", "the model failed on this input")

    def _joining(self) -> tuple[list[Item], list[Text]]:
        """What waits: rows whose answers are drawn as `predict` draws them, and texts for which there is room."""
        with self._changed:
            while not self._waiting and not self._continuous.texts:
                self._changed.wait()
            now = time.monotonic()
            waiting = [item for item in self._waiting if item.job.is_due(now)]
            drawn = [item for item in waiting if self._is_drawn(item)]
            waiting = [item for item in waiting if not self._is_drawn(item)]
            joining: list[Text] = []
            while waiting and self._continuous.has_room_for(text := self._text(waiting[0]), joining):
                joining.append(text)
                waiting.pop(0)
            self._waiting = waiting
        for item in (*drawn, *(text.owner.item for text in joining)):
            item.job.started = item.job.started or now
        same = [item for item in drawn if item.kind == drawn[0].kind]
        self._put([item for item in drawn if item.kind != drawn[0].kind])
        return same, joining

    def _is_drawn(self, item: Item) -> bool:
        return item.job.ask["op"] != "write" and bool(self._usual.temperature)

    def _text(self, item: Item) -> Text:
        ask, ids = item.job.ask, item.chunk.encoded.ragged["input_ids"]
        sequence = int(item.chunk.encoded.rows.searchsorted(item.row))
        prompt = ids[sequence].tolist()
        asked = ask.get("settings") or {}
        room = max(self._most_positions - len(prompt), 1)
        stream = TextStream(
            self.predictor.tokenizer, ask.get("stops") or (),
            strip=ask["op"] == "write" and self.predictor.task.chat is not None,
        )  # fmt: skip
        return Text(
            prompt,
            min(int(ask.get("max_tokens") or self._most_new), room),
            replace(self._usual, **asked),
            _Writing(item, stream, bool(ask.get("streams"))),
        )

    def _said(self, text: Text) -> list[JsonObject]:
        """What the front hears of a text after a token."""
        writing: _Writing = text.owner
        job = writing.item.job
        if job.is_over:
            return []
        gained = ""
        if text.is_over or writing.streams or job.ask.get("stops"):
            gained = writing.stream.feed(text.written, is_end=text.is_over)
        text.is_over = text.is_over or writing.stream.is_stopped
        messages: list[JsonObject] = []
        if writing.streams and gained:
            messages.append({"id": job.number, "delta": gained})
        if text.is_over:
            self._done += 1
            job.answers[writing.item.position] = self._answer_of(text, writing)
            job.missing -= 1
            if not job.missing:
                messages.append(self._finished(job))
        return messages

    def _answer_of(self, text: Text, writing: _Writing) -> JsonObject:
        item = writing.item
        if item.job.ask["op"] == "write":
            ended = text.ended or writing.stream.is_stopped
            return {
                "text": writing.stream.text,
                "finish_reason": "stop" if ended else "length",
                "prompt_tokens": len(text.prompt),
                "completion_tokens": len(text.written),
                **lengths(item.chunk, item.row),
            }
        prepared = item.chunk.take(np.array([item.row]))
        made: Any = EvalPredictions(
            prepared.columns,
            prepared.encoded,
            None,
            [writing.stream.text],
            self.predictor.tokenizer,
            [text.ended],
        )
        prediction = self.predictor.answers_of(prepared, made)[0]
        written = {"completion_tokens": len(text.written)}
        return {**self.predictor.answer(prediction), **lengths(item.chunk, item.row), **written}

    def _report_writing(self) -> None:
        now = time.monotonic()
        if now - self._reported < _REPORT_S and self._continuous.texts:
            return
        self.reply({"batch": {"run": self.name, "items": self._done, "tokens": self._tokens,
                              "padded": self._tokens, "seconds": round(self._seconds, 6)}})  # fmt: skip
        self._reported, self._tokens, self._seconds, self._done = now, 0, 0.0, 0
