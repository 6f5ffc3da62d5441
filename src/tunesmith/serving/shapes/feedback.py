"""What people say to answers that were given before, and answers that shall be forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pydantic import Field
from starlette.responses import Response

from tunesmith.serving.call import Call
from tunesmith.serving.refused import Refused
from tunesmith.serving.shapes import Route, Shape, Strict

if TYPE_CHECKING:
    from tunesmith.monitoring.prediction_log import PredictionLog


class FeedbackBody(Strict):
    """What is right."""

    id: str = Field(min_length=1, max_length=64, description="Header `x-tunesmith-log-id` of the answer.")
    input: int = Field(0, ge=0, description="Number of the input in its request, from 0.")
    label: Any = Field(description="The right answer: a label, or whatever the task has.")


async def _feedback(call: Call) -> Response:
    body, log = await call.body(FeedbackBody), _log(call)
    key = call.request.scope["api_key"]
    answer = f"{body.id}-{body.input}"
    if not await _in_thread(log.feedback, answer, body.label, "" if key is None else key.name):
        raise Refused("not_found", "there is no such answer in the log")
    return call.json({"id": body.id, "input": body.input})


async def _forget(call: Call) -> Response:
    log, asked = _log(call), call.request.path_params["id"]
    n_inputs = call.service.settings.max_inputs
    gone = await _in_thread(log.delete, [f"{asked}-{i}" for i in range(n_inputs)])
    if not gone:
        raise Refused("not_found", "there is no such answer in the log")
    return call.json({"deleted": gone})


async def _in_thread(function: Callable[..., Any], *given: Any) -> Any:
    try:
        return await asyncio.to_thread(function, *given)
    except TimeoutError as error:
        raise Refused("unavailable", str(error), {"retry-after": "10"}) from None


def _log(call: Call) -> PredictionLog:
    if call.service.log is None:
        raise Refused("not_found", "this server keeps no log")
    return call.service.log


shape = Shape(
    "Feedback",
    (
        Route(
            "POST",
            "/feedback",
            _feedback,
            "the right answer to an earlier input",
            FeedbackBody,
        ),
        Route("DELETE", "/log/{id}", _forget, "forgets the answers of a request"),
    ),
)
