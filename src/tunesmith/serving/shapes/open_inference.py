"""The Open Inference Protocol, version 2 (https://github.com/kserve/open-inference-protocol), over REST.

Inputs are named like the columns of the run's task and hold texts (`BYTES`). The outputs are `label` and `score`
where an answer is one label, and always `answer`: the whole answer of each input, as JSON.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from tunesmith.serving.call import Call
from tunesmith.serving.refused import Refused
from tunesmith.serving.shapes import Route, Shape, Strict
from tunesmith.serving.wire import encoded

if TYPE_CHECKING:
    from tunesmith.types import JsonObject


class Tensor(BaseModel):
    """An input."""

    model_config = ConfigDict(extra="forbid")

    name: str
    shape: list[int] = Field(max_length=2)
    datatype: Literal["BYTES"]
    data: list[str] | list[list[str]]
    parameters: dict[str, Any] | None = None


class RequestedOutput(Strict):
    """The name of an output."""

    name: str
    parameters: dict[str, Any] | None = None


class InferBody(Strict):
    """Inputs for a run."""

    id: str | None = None
    inputs: list[Tensor] = Field(min_length=1, max_length=8)
    outputs: list[RequestedOutput] | None = None
    parameters: dict[str, Any] | None = Field(None, max_length=0)


def _rows(body: InferBody, run: JsonObject) -> list[JsonObject]:
    columns = {}
    for tensor in body.inputs:
        if tensor.name not in run["inputs"]:
            raise Refused(
                "validation", f"inputs: the run has {', '.join(run['inputs'])}, not `{tensor.name}`"
            )
        flat = [text for part in tensor.data for text in ([part] if isinstance(part, str) else part)]
        size = 1
        for length in tensor.shape:
            size *= length
        if size != len(flat):
            raise Refused(
                "validation", f"inputs.{tensor.name}: the shape {tensor.shape} has not {len(flat)} texts"
            )
        columns[tensor.name] = flat
    if len({len(values) for values in columns.values()}) != 1:
        raise Refused("validation", "inputs: all must have the same number of texts")
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


async def _infer(call: Call) -> Response:
    body = await call.body(InferBody)
    run = call.run(call.request.path_params["name"])
    answers = await call.answers(run, _rows(body, run))
    outputs = _outputs(answers, run)
    if body.outputs is not None:
        outputs = [outputs[asked.name] for asked in body.outputs if asked.name in outputs]
        if len(outputs) != len(body.outputs):
            raise Refused("validation", f"outputs: the run has {', '.join(_outputs(answers, run))}")
    found = list(outputs.values()) if isinstance(outputs, dict) else outputs
    return call.json({"model_name": run["name"], "id": body.id or call.request_id, "outputs": found})


def _outputs(answers: list[JsonObject], run: JsonObject) -> Any:
    """The outputs by their names."""
    columns: dict[str, tuple[str, list[Any]]] = {}
    if answers and all("label" in answer for answer in answers):
        columns["label"] = ("BYTES", [answer["label"] for answer in answers])
    if answers and all(isinstance(answer.get("score"), float) for answer in answers):
        columns["score"] = ("FP64", [answer["score"] for answer in answers])
    columns["answer"] = ("BYTES", [encoded(answer).decode() for answer in answers])
    return {
        name: {"name": name, "shape": [len(values)], "datatype": kind, "data": values}
        for name, (kind, values) in columns.items()
    }


async def _server(call: Call) -> Response:
    return call.json({"name": "tunesmith", "version": call.service.version, "extensions": []})


async def _model(call: Call) -> Response:
    run = call.run(call.request.path_params["name"])
    inputs = [{"name": name, "datatype": "BYTES", "shape": [-1]} for name in run["inputs"]]
    labelled = bool(run["labels"]) and not run["entries"]
    kinds = ({"label": "BYTES", "score": "FP64"} if labelled else {}) | {"answer": "BYTES"}
    outputs = [{"name": name, "datatype": kind, "shape": [-1]} for name, kind in kinds.items()]
    return call.json({"name": run["name"], "versions": ["1"], "platform": f"tunesmith_{run['engine']}",
                      "inputs": inputs, "outputs": outputs})  # fmt: skip


async def _live(call: Call) -> Response:
    return call.json({"live": True})


async def _ready(call: Call) -> Response:
    if not call.service.is_ready:
        raise Refused("unavailable", "the server is not ready", {"retry-after": "1"})
    return call.json({"ready": True})


async def _model_ready(call: Call) -> Response:
    run = call.run(call.request.path_params["name"])
    if not call.service.is_ready:
        raise Refused("unavailable", "the run is not ready", {"retry-after": "1"})
    return call.json({"name": run["name"], "ready": True})


shape = Shape(
    "Open Inference Protocol v2",
    (
        Route("GET", "/v2", _server, "name and version of the server"),
        Route("GET", "/v2/health/live", _live, "200 while the server runs"),
        Route("GET", "/v2/health/ready", _ready, "200 while requests are taken, else 503"),
        Route("GET", "/v2/models/{name}", _model, "inputs and outputs of a run"),
        Route("GET", "/v2/models/{name}/ready", _model_ready, "whether a run is ready"),
        Route("POST", "/v2/models/{name}/infer", _infer, "answers of a run", InferBody),
    ),
)
