"""Whether the server lives, and whether it is ready, as Kubernetes asks; and its counters."""

from __future__ import annotations

from starlette.responses import Response

from tunesmith.serving.call import Call
from tunesmith.serving.refused import Refused
from tunesmith.serving.shapes import Route, Shape


async def _live(call: Call) -> Response:
    return call.json({"status": "live"})


async def _ready(call: Call) -> Response:
    if not call.service.is_ready:
        raise Refused("unavailable", "the server is not ready", {"retry-after": "1"})
    return call.json({"status": "ready"})


async def _metrics(call: Call) -> Response:
    return Response(call.service.metrics.text(), media_type="text/plain; version=0.0.4")


shape = Shape(
    "Health and metrics",
    (
        Route("GET", "/livez", _live, "200 while the server runs"),
        Route("GET", "/readyz", _ready, "200 while requests are taken, else 503"),
        Route("GET", "/health", _ready, "the same, as text-embeddings-inference has it"),
        Route("GET", "/metrics", _metrics, "counters for Prometheus"),
    ),
)
