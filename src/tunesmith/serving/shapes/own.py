"""Our own shape: answers of any run as `tunesmith predict` gives them, with all that is known of each."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from starlette.responses import Response

from tunesmith.serving.call import Call
from tunesmith.serving.shapes import Route, Shape, Strict


class AnswerBody(Strict):
    """Inputs for a run."""

    inputs: str | dict[str, Any] | list[str | dict[str, Any]] = Field(
        description="A text, a row as an object of columns, or a list of these."
    )
    run: str | None = Field(None, description="Name of the run; the first one without it.")
    top_k: int | None = Field(1, ge=1, le=10_000, description="Number of labels or answers; null for all.")
    coverage: float | None = Field(
        None, gt=0, lt=1, description="Probability with which `set` or `interval` holds the true answer."
    )


async def _answer(call: Call) -> Response:
    body = await call.body(AnswerBody)
    run = call.run(body.run)
    rows = body.inputs if isinstance(body.inputs, list) else [body.inputs]
    answers = await call.answers(run, rows, top_k=body.top_k, coverage=body.coverage)
    return call.json({"run": run["version"], "request": call.request_id, "answers": answers})


shape = Shape(
    "tunesmith",
    (Route("POST", "/answer", _answer, "answers of any run, as `tunesmith predict` gives them", AnswerBody),),
)
