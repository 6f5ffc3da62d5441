"""The shape of text-embeddings-inference: `/predict`, `/embed`, `/similarity`, `/tokenize`, `/info`.

https://github.com/huggingface/text-embeddings-inference. `["a", "b"]` is a pair of texts there. For a run that was
not trained with pairs, it is two texts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field
from starlette.responses import Response

from tunesmith.serving.call import Call, truncation_headers
from tunesmith.serving.refused import Refused
from tunesmith.serving.shapes import Route, Shape, Strict

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

Texts = list[str]


class PredictBody(Strict):
    """Texts to classify."""

    inputs: str | list[str | Texts] = Field(description="A text, a pair of texts, or a list of these.")
    raw_scores: bool = Field(False, description="Not supported: scores are calibrated probabilities.")
    truncate: bool | None = Field(None, description="false refuses a text that is too long.")
    truncation_direction: str = Field("Right", pattern="^[Rr]ight$")
    model: str | None = Field(None, description="Name of the run; the first one without it.")


class EmbedBody(Strict):
    """Texts to embed."""

    inputs: str | Texts
    normalize: bool = True
    truncate: bool | None = None
    truncation_direction: str = Field("Right", pattern="^[Rr]ight$")
    prompt_name: None = None
    dimensions: None = None
    model: str | None = None


class SimilarityInputs(Strict):
    """A text and others."""

    source_sentence: str
    sentences: Texts


class SimilarityBody(Strict):
    """Texts to compare."""

    inputs: SimilarityInputs
    parameters: dict[str, Any] | None = Field(None, max_length=0)
    model: str | None = None


class TokenizeBody(Strict):
    """Texts to tokenize."""

    inputs: str | Texts
    add_special_tokens: bool = True
    prompt_name: None = None
    model: str | None = None


def rows_of(inputs: str | list[Any], run: JsonObject) -> tuple[list[Any], bool]:
    """The rows of `inputs`, and whether it is a single one."""
    if isinstance(inputs, str):
        return [inputs], True
    if run["takes_pairs"] and len(inputs) == 2 and all(isinstance(text, str) for text in inputs):
        return [_row(inputs)], True
    return [text if isinstance(text, str) else _row(text) for text in inputs], False


def _row(texts: list[str]) -> Any:
    if len(texts) == 1:
        return texts[0]
    if len(texts) != 2:
        raise Refused("validation", "inputs: an input is a text, or a list of one text or two")
    return {"text": texts[0], "text_pair": texts[1]}


def scores_of(answer: JsonObject) -> list[JsonObject]:
    """The labels of an answer with their scores, the best first."""
    found = answer.get("top", answer.get("labels"))
    return [{"label": answer["label"], "score": answer["score"]}] if found is None else list(found)


async def _predict(call: Call) -> Response:
    body = await call.body(PredictBody)
    run = call.run(body.model)
    call.refuse_unless(not run["generates"] and not run["entries"] and not run["compares"] and not run["masks"],
                       "ask `/answer`")  # fmt: skip
    if body.raw_scores:
        raise Refused("unsupported", "raw_scores: this server gives calibrated probabilities")
    rows, is_one = rows_of(body.inputs, run)
    answers = await call.answers(run, rows, top_k=None)
    refuse_cut(answers, body.truncate)
    found = [scores_of(answer) for answer in answers]
    return call.json(found[0] if is_one else found, headers=doubt_headers(answers))


def refuse_cut(answers: list[JsonObject], truncate: bool | None) -> None:
    """Raises Refused for a text that was cut where the client said that it must not be."""
    cut = next((answer for answer in answers if answer.get("truncated")), None)
    if truncate is False and cut is not None:
        raise Refused(
            "too_large",
            f"a text has {cut['tokens']} tokens, and the model reads {cut['tokens_read']} of them",
        )


def doubt_headers(answers: list[JsonObject]) -> dict[str, str]:
    """Headers for what the bodies of this shape have no room for: the numbers of inputs that are doubtful."""
    doubtful = {
        "x-tunesmith-abstained": [i for i, one in enumerate(answers) if one.get("abstained") is True],
        "x-tunesmith-out-of-scope": [
            i for i, one in enumerate(answers) if one.get("out_of_scope", {}).get("is_out")
        ],
    }
    return truncation_headers(answers) | {
        name: ",".join(map(str, numbers[:100])) for name, numbers in doubtful.items() if numbers
    }


async def embed(call: Call, run: JsonObject, texts: list[str], *, normalize: bool) -> list[list[float]]:
    """Vectors of texts.

    Raises:
        Refused: the run has none.
    """
    call.refuse_unless(run["embeds"], "it has no vectors")
    answers = await call.answers(run, texts, "embed")
    vectors = [answer["vector"] for answer in answers]
    return [_unit(vector) for vector in vectors] if normalize else vectors


def _unit(vector: list[float]) -> list[float]:
    length = sum(value * value for value in vector) ** 0.5 or 1.0
    return [value / length for value in vector]


async def _embed(call: Call) -> Response:
    body = await call.body(EmbedBody)
    run = call.run(body.model)
    texts = [body.inputs] if isinstance(body.inputs, str) else body.inputs
    return call.json(await embed(call, run, texts, normalize=body.normalize))


async def _similarity(call: Call) -> Response:
    body = await call.body(SimilarityBody)
    run = call.run(body.model)
    return call.json(await similarities(call, run, body.inputs.source_sentence, body.inputs.sentences))


async def similarities(call: Call, run: JsonObject, text: str, others: list[str]) -> list[float]:
    """The cosine of a text with each of the others."""
    first, *rest = await embed(call, run, [text, *others], normalize=True)
    return [sum(a * b for a, b in zip(first, vector, strict=True)) for vector in rest]


async def _tokenize(call: Call) -> Response:
    body = await call.body(TokenizeBody)
    run = call.run(body.model)
    texts = [body.inputs] if isinstance(body.inputs, str) else body.inputs
    found = await call.answers(run, texts, "tokenize", add_special_tokens=body.add_special_tokens)
    return call.json(found)


async def _info(call: Call) -> Response:
    run, settings = call.run(call.request.query_params.get("model")), call.service.settings
    labels = run["labels"]
    kind: JsonObject = {"embedding": {"pooling": "mean"}} if run["compares"] else {
        "classifier": {"id2label": {str(i): label for i, label in enumerate(labels)},
                       "label2id": {label: i for i, label in enumerate(labels)}}
    }  # fmt: skip
    return call.json({
        "model_id": run["name"], "model_sha": None, "model_dtype": run["dtype"], "model_type": kind,
        "max_concurrent_requests": settings.max_queue, "max_input_length": run["max_length"],
        "max_batch_tokens": run["batch_tokens"], "max_batch_requests": None,
        "max_client_batch_size": settings.max_inputs, "auto_truncate": True, "tokenization_workers": 1,
        "version": call.service.version, "sha": None, "docker_label": None,
        "task": run["task"], "engine": run["engine"], "runs": list(call.service.runs),
    })  # fmt: skip


shape = Shape(
    "text-embeddings-inference",
    (
        Route("POST", "/predict", _predict, "labels of texts with their scores", PredictBody),
        Route("POST", "/embed", _embed, "vectors of texts", EmbedBody),
        Route("POST", "/similarity", _similarity, "cosines of a text with others", SimilarityBody),
        Route("POST", "/tokenize", _tokenize, "tokens of texts", TokenizeBody),
        Route("GET", "/info", _info, "what is served, and the limits"),
    ),
)
