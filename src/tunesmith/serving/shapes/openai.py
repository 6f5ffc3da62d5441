"""OpenAI's shape for runs that write: chat and completions, streamed or not, and the list of runs.

What a request leaves open is what the run says: its length, and whether tokens are drawn. A prompt that is too
long is shortened as `predict` does it, and the answer says so in `tunesmith.truncated`. Parameters that would
change the text and are not supported are refused.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field
from starlette.responses import Response, StreamingResponse

from tunesmith.serving.call import Call
from tunesmith.serving.refused import Refused
from tunesmith.serving.shapes import Route, Shape, Strict
from tunesmith.serving.wire import encoded

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

_MOST_SEED = 2**63


class StreamOptions(Strict):
    """What a stream tells besides the text."""

    include_usage: bool | None = None


class WritingBody(Strict):
    """What chat and completions share."""

    model: str = Field("", description="Name of the run; the first one that writes without it.")
    max_tokens: int | None = Field(None, ge=1, le=1_000_000)
    temperature: float | None = Field(None, ge=0, le=10, description="0 takes the most probable token.")
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=0, le=1_000_000)
    seed: int | None = Field(None, ge=-_MOST_SEED, lt=_MOST_SEED)
    stop: str | list[str] | None = Field(None, description="At most 16 texts before which the text ends.")
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    n: Literal[1] | None = None
    presence_penalty: Literal[0] | None = None
    frequency_penalty: Literal[0] | None = None
    logit_bias: dict[str, float] | None = Field(None, max_length=0)
    logprobs: Literal[False] | None = None
    user: str | None = None
    metadata: dict[str, Any] | None = None
    store: Literal[False] | None = None


class ChatBody(WritingBody):
    """A conversation."""

    messages: list[dict[str, Any]] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1, le=1_000_000)
    tools: list[dict[str, Any]] | None = None
    tool_choice: Literal["auto"] | None = None
    response_format: Literal[None] = None
    top_logprobs: Literal[None] = None


class CompletionBody(WritingBody):
    """A text to go on from."""

    prompt: str | list[str]
    echo: Literal[False] | None = None
    best_of: Literal[1] | None = None
    suffix: Literal[None] = None


async def _chat(call: Call) -> Response:
    body = await call.body(ChatBody)
    run = _writer(call, body.model, kind="chats")
    call.refuse_unless(run["chats"], "ask `/v1/completions`, or `/answer`")
    first = "messages" if "messages" in run["inputs"] else "prompt"
    row: JsonObject = {first: body.messages}
    if body.tools:
        row["tools"] = body.tools
    return await _written(call, run, body, [row], _Chat(body.max_completion_tokens or body.max_tokens))


async def _complete(call: Call) -> Response:
    body = await call.body(CompletionBody)
    run = _writer(call, body.model, kind="generates")
    call.refuse_unless(run["generates"] and bool(run["text_column"]), "it does not go on from a text")
    prompts = [body.prompt] if isinstance(body.prompt, str) else body.prompt
    if not prompts or (body.stream and len(prompts) != 1):
        raise Refused("validation", "prompt: one text is needed" + (" for a stream" if prompts else ""))
    call.refuse_many(prompts)
    return await _written(call, run, body, list(prompts), _Completion(body.max_tokens))


def _writer(call: Call, name: str, kind: str) -> JsonObject:
    """The run that is named, or the first one that fits."""
    if (in_path := call.request.path_params.get("name")) is not None:
        return call.run(in_path)
    if name in call.service.runs:
        return call.run(name)
    fitting = next((run["name"] for run in call.service.runs.values() if run[kind]), None)
    return call.run(name or fitting) if name not in ("dummy", "tgi") else call.run(fitting)


class _Completion:
    """Texts in the shape of completions."""

    prefix, kind, chunk_kind = "cmpl", "text_completion", "text_completion"

    def __init__(self, most: int | None) -> None:
        self.max_tokens = most

    def choice(self, i: int, answer: JsonObject) -> JsonObject:
        return {
            "index": i,
            "text": answer["text"],
            "logprobs": None,
            "finish_reason": answer["finish_reason"],
        }

    def part(self, text: str) -> JsonObject:
        return {"index": 0, "text": text, "logprobs": None, "finish_reason": None}

    def last(self, reason: str) -> JsonObject:
        return {"index": 0, "text": "", "logprobs": None, "finish_reason": reason}

    def first(self) -> list[JsonObject]:
        return []


class _Chat(_Completion):
    """Texts in the shape of a chat."""

    prefix, kind, chunk_kind = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def choice(self, i: int, answer: JsonObject) -> JsonObject:
        message = {"role": "assistant", "content": answer["text"], "refusal": None}
        return {"index": i, "message": message, "logprobs": None, "finish_reason": answer["finish_reason"]}

    def part(self, text: str) -> JsonObject:
        return {"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": None}

    def last(self, reason: str) -> JsonObject:
        return {"index": 0, "delta": {}, "logprobs": None, "finish_reason": reason}

    def first(self) -> list[JsonObject]:
        delta = {"role": "assistant", "content": ""}
        return [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}]


async def _written(
    call: Call, run: JsonObject, body: WritingBody, rows: list[Any], shape: _Completion
) -> Response:
    message = settings_of(run, body, shape.max_tokens)
    head = {"id": f"{shape.prefix}-{call.request_id}", "created": int(time.time()), "model": run["name"]}
    if body.stream:
        usage = bool(body.stream_options and body.stream_options.include_usage)
        return await _streamed(call, run, rows, message, shape, head, with_usage=usage)
    answers = await texts_of(call, run, rows, message)
    return call.json({
        **head, "object": shape.kind,
        "choices": [shape.choice(i, answer) for i, answer in enumerate(answers)],
        "usage": _usage(answers), "tunesmith": _told(call, answers),
    })  # fmt: skip


async def texts_of(call: Call, run: JsonObject, rows: list[Any], message: JsonObject) -> list[JsonObject]:
    """What the run writes for each prompt."""
    if run["streams"]:
        return await call.answers(run, rows, "write", **message)
    answers = await call.answers(run, rows)
    return [_as_written(answer) for answer in answers]


def _as_written(answer: JsonObject) -> JsonObject:
    """An answer of a model that does not write token by token here, such as one with an encoder or with beams."""
    text = next(value for value in answer.values() if isinstance(value, str | dict))
    text = text["content"] if isinstance(text, dict) else text
    names = ("tokens", "tokens_read", "truncated", "completion_tokens")
    known: JsonObject = {name: answer[name] for name in names if name in answer}
    return {"text": text, "finish_reason": "stop", "prompt_tokens": answer["tokens"], **known}


def settings_of(run: JsonObject, body: WritingBody, most: int | None) -> JsonObject:
    """What the worker is told: only what the request says."""
    stops = [body.stop] if isinstance(body.stop, str) else body.stop or []
    if len(stops) > 16 or any(not stop or len(stop) > 256 for stop in stops):
        raise Refused("validation", "stop: at most 16 texts, each of 1 to 256 characters")
    chosen = {
        name: value
        for name in ("temperature", "top_p", "top_k")
        if (value := getattr(body, name)) is not None
    }
    if not run["streams"]:
        if chosen.keys() - {"temperature"} or chosen.get("temperature") or stops or most is not None:
            raise Refused(
                "unsupported",
                "this run writes with its own settings: leave out max_tokens, temperature, top_p, top_k and stop",
            )
        return {}
    seed = secrets.randbelow(_MOST_SEED) if body.seed is None else body.seed % _MOST_SEED
    return {"settings": {**chosen, "seed": seed}, "stops": stops, "max_tokens": most}


def _usage(answers: list[JsonObject]) -> JsonObject:
    read = sum(answer["prompt_tokens"] for answer in answers)
    written = sum(answer.get("completion_tokens", 0) for answer in answers)
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def _told(call: Call, answers: list[JsonObject]) -> JsonObject:
    """What OpenAI's shape has no place for."""
    told: JsonObject = {
        "request": call.request_id,
        "truncated": any(a.get("truncated", False) for a in answers),
    }
    if told["truncated"]:
        told["prompt_tokens_given"] = [answer["tokens"] for answer in answers]
    return told


async def _streamed(
    call: Call,
    run: JsonObject,
    rows: list[Any],
    message: JsonObject,
    shape: _Completion,
    head: JsonObject,
    *,
    with_usage: bool,
) -> Response:
    """Server-sent events; an error before the first part is an ordinary answer."""
    events = _events(call, run, rows, message, shape, head, with_usage=with_usage)
    first = await anext(events)

    async def all_events() -> AsyncIterator[bytes]:
        try:
            yield first
            async for event in events:
                yield event
        finally:
            await events.aclose()

    return StreamingResponse(all_events(), headers=call.headers(), media_type="text/event-stream")


async def _events(
    call: Call,
    run: JsonObject,
    rows: list[Any],
    message: JsonObject,
    shape: _Completion,
    head: JsonObject,
    *,
    with_usage: bool,
) -> AsyncGenerator[bytes, None]:
    def event(choices: list[JsonObject], **more: Any) -> bytes:
        chunk = {**head, "object": shape.chunk_kind, "choices": choices, **more}
        return b"data: " + encoded(chunk) + b"\n\n"

    has_begun = False
    try:
        async for part, answer in _parts(call, run, rows, message):
            if not has_begun:
                has_begun = True
                for choice in shape.first():
                    yield event([choice])
            if part:
                yield event([shape.part(part)])
            if answer is not None:
                yield event([shape.last(answer["finish_reason"])], tunesmith=_told(call, [answer]))
                if with_usage:
                    yield event([], usage=_usage([answer]))
    except Refused as error:
        if not has_begun:
            raise
        yield b"data: " + encoded(error.as_openai()) + b"\n\n"
        return
    yield b"data: [DONE]\n\n"


async def _parts(
    call: Call, run: JsonObject, rows: list[Any], message: JsonObject
) -> AsyncIterator[tuple[str, JsonObject | None]]:
    """Parts of the text; with the last one, what is known of it. A run that does not stream has one part."""
    if not run["streams"]:
        (answer,) = await texts_of(call, run, rows, message)
        yield answer["text"], answer
        return
    async with call.service.stream(run, rows, **call.how(message)) as (parts, answered):
        async for part in parts:
            yield part, None
        said = await answered
    call.count(run, rows, said["answers"], "write", message)
    yield "", said["answers"][0]


async def _models(call: Call) -> Response:
    runs = call.service.runs.values()
    return call.json({"object": "list", "data": [_model_of(run) for run in runs]})


async def _model(call: Call) -> Response:
    return call.json(_model_of(call.run(call.request.path_params["name"])))


def _model_of(run: JsonObject) -> JsonObject:
    return {"id": run["name"], "object": "model", "created": run["created"], "owned_by": "tunesmith",
            "task": run["task"], "max_length": run["max_length"]}  # fmt: skip


shape = Shape(
    "OpenAI",
    (
        Route("POST", "/v1/chat/completions", _chat, "the next reply of a conversation", ChatBody, "openai"),
        Route(
            "POST",
            "/models/{name}/v1/chat/completions",
            _chat,
            "the same of a run, as the Hub's client asks it",
            ChatBody,
            "openai",
        ),
        Route("POST", "/v1/completions", _complete, "how a text goes on", CompletionBody, "openai"),
        Route("GET", "/v1/models", _models, "the runs", errors="openai"),
        Route("GET", "/v1/models/{name}", _model, "a run", errors="openai"),
    ),
)
