"""One request as a route sees it: its body, the run that it names, and answers from the workers."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from tunesmith.serving.asks import Answered
from tunesmith.serving.refused import Refused
from tunesmith.serving.service import Service
from tunesmith.serving.wire import encoded

if TYPE_CHECKING:
    from tunesmith.serving.deployment import Deployment
    from tunesmith.serving.keys import Key
    from tunesmith.types import JsonObject

Body = TypeVar("Body", bound=BaseModel)

_PLACEHOLDERS = ("", "dummy", "tgi")
"""Names of models that clients send where they know only an address."""
_TIMEOUT_HEADER = b"x-request-timeout"
_MOST_PROBLEMS = 3


class Call:
    """One request.

    Args:
        service: gives answers.
        request: request of Starlette, after `Guard`.
    """

    def __init__(self, service: Service, request: Request) -> None:
        self.service, self.request = service, request
        self.began = time.monotonic()
        self.log_id = "" if service.log is None else uuid.uuid4().hex
        self._n_bytes = 0
        self._data_read: bytes | None = None
        self._run: JsonObject | None = None
        self._held: list[Deployment] = []
        self.went_to_champion = False

    @property
    def request_id(self) -> str:
        """The id of the request."""
        return str(self.request.scope["request_id"])

    @property
    def seconds(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self.began

    # ---- what the client sent ----

    async def body(self, kind: type[Body]) -> Body:
        """The body of the request.

        Raises:
            Refused: it is too large, comes too slowly, or is not what the route takes.
        """
        self.service.refuse_when_full()
        if self._data_read is None:
            self._data_read = await self._data()
        data = self._data_read
        try:
            return kind.model_validate_json(data)
        except ValidationError as error:
            raise _unfit(error) from None

    async def _data(self) -> bytes:
        """The bytes of the body; what all clients together are sending is bounded, too."""
        service, parts = self.service, []
        try:
            async with asyncio.timeout(service.settings.body_timeout_s):
                async for part in self.request.stream():
                    parts.append(part)
                    self._n_bytes += len(part)
                    service.n_bytes_read += len(part)
                    self._refuse_large()
        except TimeoutError:
            raise Refused("slow", "the body came too slowly", {"connection": "close"}) from None
        except ClientDisconnect:
            raise Refused("gone", "the client left") from None
        finally:
            service.n_bytes_read -= self._n_bytes
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _refuse_large(self) -> None:
        settings = self.service.settings
        if self._n_bytes > settings.max_body_bytes:
            raise Refused(
                "too_large", f"a body may have {settings.max_body_bytes:,} bytes", {"connection": "close"}
            )
        if self.service.n_bytes_read > max(settings.max_queue_bytes, settings.max_body_bytes):
            self.service.metrics.rejected.inc()
            raise Refused(
                "overloaded",
                "too much is being sent; try again in 1 s",
                {"retry-after": "1", "connection": "close"},
            )

    def run(self, name: str | None = None) -> JsonObject:
        """The run that the request names, or the first one.

        Raises:
            Refused: there is no such run.
        """
        runs, found = self.service.runs, None
        if name is None or name in _PLACEHOLDERS:
            found = self.service.first_run
        elif name in runs:
            found = runs[name]
        if found is None:
            raise Refused("not_found", f"no run has that name; there are: {', '.join(runs)}")
        if self.request.method == "POST" and not self.went_to_champion:
            found = self.service.challengers.choose(found, self.request_id)
        self._hold(found)
        self._run = found
        return found

    def _hold(self, run: JsonObject) -> None:
        """Keeps the run until the request is over, whoever is the champion then."""
        deployment = self.service.deployments.of(run)
        deployment.hold()
        self._held.append(deployment)

    def close(self) -> None:
        """Ends the request: what it held may end."""
        while self._held:
            self._held.pop().release()

    @property
    def is_canary(self) -> bool:
        """Whether a canary has it."""
        return self._run is not None and self.service.challengers.is_canary(self._run)

    def go_to_champion(self) -> None:
        """Begins again, with the champion."""
        self.went_to_champion = True

    def refuse_unless(self, fits: bool, what: str) -> None:
        """Raises Refused where the run cannot do what the route is for."""
        assert self._run is not None
        if not fits:
            raise Refused("unsupported", f"the run `{self._run['name']}` is for {self._run['task']}: {what}")

    # ---- answers ----

    async def answers(
        self, run: JsonObject, rows: Sequence[Any], operation: str = "answer", **message: Any
    ) -> list[JsonObject]:
        """One answer for each row, as `predict` gives it, with the number of its `tokens`.

        Args:
            run: facts of the run.
            rows: texts, or mappings of columns.
            operation: `answer`, `embed`, `tokenize` or `write`.
            **message: what else the worker is told: `top_k`, `coverage`, ….

        Raises:
            Refused: there is no answer.
        """
        self.refuse_many(rows)
        rows = list(rows)
        if not rows:
            return []
        said = await self.service.ask(run, operation, rows, receive=self.request.receive, **self.how(message))
        answers: list[JsonObject] = said["answers"]
        if operation != "tokenize":
            self.service.metrics.queued.observe(said["queued_s"])
            self.service.metrics.worked.observe(said["worked_s"])
            self.count(run, rows, answers, operation, message)
        return answers

    def refuse_many(self, rows: Sequence[Any]) -> None:
        """Raises Refused for more inputs than a request may have."""
        if len(rows) > self.service.settings.max_inputs:
            most = self.service.settings.max_inputs
            raise Refused("too_large", f"a request may have {most:,} inputs, and this one has {len(rows):,}")

    def how(self, message: Mapping[str, Any]) -> JsonObject:
        """Keywords of `Service.ask` that every operation takes."""
        return {"n_bytes": self._n_bytes, "timeout_s": self._timeout(), "message": message}

    def _timeout(self) -> float | None:
        asked = self.request.scope["headers_by_name"].get(_TIMEOUT_HEADER)
        if asked is None:
            return None
        try:
            seconds = float(asked)
        except ValueError:
            seconds = -1.0
        if not 0 < seconds < float("inf"):
            raise Refused("validation", "x-request-timeout must be a number of seconds above 0")
        return seconds

    def count(
        self,
        run: JsonObject,
        rows: list[Any],
        answers: list[JsonObject],
        operation: str,
        how: Mapping[str, Any],
    ) -> None:
        """Counts answers, and tells those who keep a log or compare."""
        is_cascade = run["cascade"] is not None and operation == "answer"
        self.service.metrics.answers(run["name"], answers, is_cascade=is_cascade)
        key: Key | None = self.request.scope["api_key"]
        if key is not None:
            key.tokens.take(sum(a.get("tokens", 0) + a.get("completion_tokens", 0) for a in answers))
        if self.service.listeners:
            told = Answered(self.log_id, run, operation, rows, answers, self.seconds, how)
            for listener in self.service.listeners:
                listener(told)

    # ---- what the client gets ----

    def json(self, content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
        """A JSON answer, which names the run that gave it."""
        return Response(encoded(content), status, {**self.headers(), **(headers or {})}, "application/json")

    def headers(self) -> dict[str, str]:
        """Headers that name the run, and the answer in the log."""
        if self._run is None:
            return {}
        found = {"x-tunesmith-run": header_text(self._run["version"])}
        if self._run["promotion"] is not None:
            found["x-tunesmith-promotion"] = str(self._run["promotion"])
        if self.log_id:
            found["x-tunesmith-log-id"] = self.log_id
        return found


def header_text(text: str) -> str:
    """A text as a header may hold it."""
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in text)


def truncation_headers(answers: Sequence[JsonObject]) -> dict[str, str]:
    """A header for shapes whose bodies have no room for it: the numbers of the inputs that were cut."""
    cut = [str(i) for i, answer in enumerate(answers) if answer.get("truncated")]
    return {"x-tunesmith-truncated": ",".join(cut[:100])} if cut else {}


def _unfit(error: ValidationError) -> Refused:
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    if problems[0]["type"] == "json_invalid":
        return Refused("json", "the body is not JSON")
    said = "; ".join(
        f"{'.'.join(map(str, problem['loc'])) or 'body'}: {problem['msg']}"
        for problem in problems[:_MOST_PROBLEMS]
    )
    return Refused("validation", said)
