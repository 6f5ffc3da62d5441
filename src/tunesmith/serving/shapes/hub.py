"""The shapes of the Hub's inference API, so that `huggingface_hub.InferenceClient(model=URL)` works.

`POST /` asks the first run, `POST /models/NAME` another one, and `POST /pipeline/TASK` the vectors or cosines of a
run that has them. The shape of an answer follows from what the run's task is capable of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field
from starlette.responses import Response

from tunesmith.serving.call import Call, truncation_headers
from tunesmith.serving.refused import Refused
from tunesmith.serving.shapes import Route, Shape, Strict
from tunesmith.serving.shapes.openai import WritingBody, settings_of, texts_of
from tunesmith.serving.shapes.tei import doubt_headers, embed, refuse_cut, scores_of, similarities

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

_VECTORS, _COSINES = "feature-extraction", "sentence-similarity"


class Options(Strict):
    """Options of the hosted API, which have no effect here: the model is always loaded, and nothing is cached."""

    use_cache: bool | None = None
    wait_for_model: bool | None = None


class Parameters(Strict):
    """Parameters of a task."""

    top_k: int | None = Field(None, ge=1, le=10_000)
    aggregation_strategy: Literal["simple", "first", "average", "max"] | None = Field(
        None, description="Entities are whole words with any of these."
    )
    normalize: bool | None = None
    truncate: bool | None = None
    max_new_tokens: int | None = Field(None, ge=1, le=1_000_000)
    temperature: float | None = Field(None, ge=0, le=10)
    top_p: float | None = Field(None, gt=0, le=1)
    seed: int | None = Field(None, ge=0, lt=2**63)
    stop: list[str] | None = None
    do_sample: bool | None = None
    return_full_text: Literal[False] | None = None

    def writing(self) -> WritingBody | None:
        """What is said of how a text is written; None where nothing is."""
        said = {name: getattr(self, name) for name in ("temperature", "top_p", "top_k", "seed", "stop")}
        if self.do_sample is False:
            said["temperature"] = 0.0
        elif self.do_sample and self.temperature is None:
            said["temperature"] = 1.0
        said["max_tokens"] = self.max_new_tokens
        return WritingBody(**said) if any(value is not None for value in said.values()) else None


class HubBody(Strict):
    """Inputs and parameters of a task."""

    inputs: Any = Field(description="What the task needs: a text, texts, or an object.")
    parameters: Parameters = Parameters()
    options: Options | None = None
    normalize: bool | None = None
    truncate: bool | None = None


async def _first(call: Call) -> Response:
    body = await call.body(HubBody)
    return await _inferred(call, body, call.run())


async def _named(call: Call) -> Response:
    body = await call.body(HubBody)
    return await _inferred(call, body, call.run(call.request.path_params["name"]))


async def _pipeline(call: Call) -> Response:
    body = await call.body(HubBody)
    run = call.run(call.request.path_params.get("name"))
    return await _inferred(call, body, run, call.request.path_params["task"])


async def _inferred(call: Call, body: HubBody, run: JsonObject, task: str = "") -> Response:
    """The answer that the Hub would give for a task; without one, for that of the run."""
    inputs, parameters = body.inputs, body.parameters
    if task == _COSINES or (not task and run["compares"] and isinstance(inputs, dict)):
        if isinstance(inputs, dict) and "sentences" in inputs:
            return call.json(await similarities(call, run, *_compared(inputs)))
    elif task == _VECTORS or (not task and run["compares"]):
        texts = _texts(inputs)
        vectors = await embed(call, run, texts, normalize=bool(body.normalize or parameters.normalize))
        return call.json(vectors)
    elif task and task not in (run["task"], run["pipeline"]):
        call.refuse_unless(False, f"it does not do {task}")
    rows = inputs if isinstance(inputs, list) else [inputs]
    _refuse_odd(rows)
    if (writing := parameters.writing()) is not None and run["generates"]:
        call.refuse_many(rows)
        written = await texts_of(call, run, rows, settings_of(run, writing, writing.max_tokens))
        return call.json(
            [{"generated_text": one["text"]} for one in written], headers=truncation_headers(written)
        )
    _refuse_without_effect(parameters, run)
    top_k = parameters.top_k or (None if run["alternatives"] else 1)
    answers = await call.answers(run, rows, top_k=top_k)
    refuse_cut(answers, body.truncate if parameters.truncate is None else parameters.truncate)
    found = [_as_on_the_hub(answer, run, asked=parameters.top_k) for answer in answers]
    is_one = not isinstance(inputs, list)
    content = _for_one(found[0], run) if is_one else found
    return call.json(content, headers=doubt_headers(answers) | truncation_headers(answers))


def _compared(inputs: dict[str, Any]) -> tuple[str, list[str]]:
    text, others = inputs.get("source_sentence"), inputs.get("sentences")
    if (
        not isinstance(text, str)
        or not isinstance(others, list)
        or not all(isinstance(t, str) for t in others)
    ):
        raise Refused("validation", "inputs: `source_sentence` is a text, and `sentences` a list of texts")
    return text, others


def _texts(inputs: Any) -> list[str]:
    texts = inputs if isinstance(inputs, list) else [inputs]
    if not all(isinstance(text, str) for text in texts):
        raise Refused("validation", "inputs: a text or a list of texts is needed")
    return texts


def _refuse_odd(rows: list[Any]) -> None:
    if not all(isinstance(row, str | dict) for row in rows):
        raise Refused("validation", "inputs: each is a text, or an object with what the task needs")


def _refuse_without_effect(parameters: Parameters, run: JsonObject) -> None:
    """Raises Refused for parameters that have no effect on a run of this kind."""
    if parameters.top_k is not None and not run["alternatives"] and not run["labels"]:
        raise Refused("unsupported", f"top_k has no effect on a run for {run['task']}")
    for name in ("max_new_tokens", "temperature", "top_p", "seed", "stop", "do_sample"):
        if getattr(parameters, name) is not None:
            raise Refused("unsupported", f"{name} has no effect on a run for {run['task']}")


def _as_on_the_hub(answer: JsonObject, run: JsonObject, *, asked: int | None) -> Any:
    """An answer in the shape of the Hub's type for the task."""
    if run["generates"]:
        return {name: value for name, value in answer.items() if name not in _OWN}
    if run["entries"] and run["entries"] in answer:
        return answer[run["entries"]]
    if run["alternatives"] == "top":  # answers that stand in a text, or fill it
        best = {name: value for name, value in answer.items() if name not in ("top", *_OWN)}
        return answer.get("top", [best]) if run["masks"] or asked is not None else best
    if "label" in answer or "labels" in answer:
        return scores_of(answer)
    return {name: value for name, value in answer.items() if name not in _OWN}


_OWN = (
    "tokens",
    "tokens_read",
    "completion_tokens",
    "truncated",
    "abstained",
    "out_of_scope",
    "set",
    "interval",
    "stage",
)


def _for_one(found: Any, run: JsonObject) -> Any:
    """The answer to a single input: the Hub lists the labels of one text, and generated texts, once more."""
    is_labels = (
        isinstance(found, list) and not run["entries"] and not run["masks"] and "label" in (found or [{}])[0]
    )
    return [found] if is_labels or (run["generates"]) else found


shape = Shape(
    "Hugging Face Hub",
    (
        Route("POST", "/", _first, "the first run, in the Hub's shape for its task", HubBody),
        Route("POST", "/models/{name}", _named, "a run, in the Hub's shape for its task", HubBody),
        Route("POST", "/pipeline/{task}", _pipeline, "the first run, for a task that it can do", HubBody),
        Route(
            "POST", "/models/{name}/pipeline/{task}", _pipeline, "a run, for a task that it can do", HubBody
        ),
    ),
)
