"""The application: the routes of every shape behind the guard, and their description as OpenAPI."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tunesmith.serving.call import Call
from tunesmith.serving.guard import Guard
from tunesmith.serving.refused import Refused
from tunesmith.serving.shapes import SHAPES, Route, Shape

if TYPE_CHECKING:
    from tunesmith.serving.guard import App, Scope, Send
    from tunesmith.serving.service import Service
    from tunesmith.types import JsonObject

Endpoint = Callable[[Request], Awaitable[Response]]

_COMPONENTS = "#/components/schemas/{model}"
_NOT_THE_CANARY = frozenset({"gone", "timeout", "overloaded", "rate_limited", "slow", "json"})
"""Refusals that say nothing about the run that was asked."""
_OF_STATUS = {404: "not_found", 405: "method_not_allowed"}

_log = logging.getLogger("tunesmith.serving")


def make_app(service: Service) -> App:
    """The application of a server."""
    app = FastAPI(title="tunesmith", version=service.version, docs_url=None, redoc_url=None)
    shapes, errors = SHAPES.loadable()
    for error in errors:
        _log.error("%s", error)
    direct: dict[tuple[str, str], Endpoint] = {}
    for shape in shapes.values():
        for route in shape.routes:
            endpoint = direct[route.method, route.path] = _endpoint(service, route)
            app.add_api_route(
                route.path, endpoint, methods=[route.method], summary=route.summary,
                tags=[shape.summary], response_model=None, openapi_extra=_extra(route),
            )  # fmt: skip
    app.add_exception_handler(HTTPException, _unknown)
    app.add_exception_handler(Exception, _broken)
    _describe(app, list(shapes.values()))
    return Guard(_Direct(app, direct), service)


class _Direct:
    """Routes without names in their paths are found at once; all others, and mistakes, are FastAPI's.

    Its routing takes as long as all else that the front does for a short text.

    Args:
        app: application of FastAPI.
        routes: endpoint by method and path.
    """

    def __init__(self, app: FastAPI, routes: dict[tuple[str, str], Endpoint]) -> None:
        self._app, self._routes = app, routes

    async def __call__(self, scope: Scope, receive: Any, send: Send) -> None:
        """Answers a request."""
        endpoint = self._routes.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if endpoint is None:
            await self._app(scope, receive, send)
            return
        response = await endpoint(Request(scope, receive))
        await response(scope, receive, send)


def _endpoint(service: Service, route: Route) -> Endpoint:
    metrics, path = service.metrics, route.path

    async def answer(request: Request) -> Response:
        call = Call(service, request)
        try:
            if not route.is_measured:
                return await _or_refusal(call, route)
            metrics.requests.labels(path).inc()
            response = await _or_refusal(call, route)
            if response.status_code < 400:
                metrics.successes.labels(path).inc()
                metrics.duration.labels(path).observe(call.seconds)
            return response
        finally:
            call.close()

    return answer


async def _or_refusal(call: Call, route: Route) -> Response:
    """The answer of a route, or its error in the route's shape."""
    response, refused = await _tried(call, route)
    if call.is_canary and (refused is None or refused.kind not in _NOT_THE_CANARY):
        if refused is not None:
            call.go_to_champion()
            response, refused = await _tried(call, route)
        call.service.challengers.canary_said(is_error=call.went_to_champion and refused is None)
    if response is not None:
        return response
    assert refused is not None
    if route.is_measured:
        call.service.metrics.failures.labels(route.path, refused.kind).inc()
    body = refused.as_openai() if route.errors == "openai" else refused.as_tei()
    return call.json(body, refused.status, refused.headers)


async def _tried(call: Call, route: Route) -> tuple[Response | None, Refused | None]:
    """The answer of a route, or why there is none."""
    try:
        return await route.answer(call), None
    except Refused as error:
        return None, error
    except Exception:
        _log.exception("a request failed")
        return None, Refused("failed", "the server failed on this request")


async def _unknown(request: Request, error: Any) -> Response:
    kind = _OF_STATUS.get(error.status_code, "validation")
    message = {"not_found": "there is no such route", "method_not_allowed": "the route has another method"}
    refused = Refused(kind, message.get(kind, "the request cannot be read"))
    body = refused.as_openai() if request.url.path.startswith("/v1/") else refused.as_tei()
    return JSONResponse(body, refused.status, headers=error.headers)


async def _broken(request: Request, error: Exception) -> Response:
    refused = Refused("failed", "the server failed on this request")
    return JSONResponse(refused.as_tei(), refused.status)


# ---- OpenAPI ----


def _extra(route: Route) -> JsonObject:
    extra: JsonObject = {"responses": {"default": {"description": "an error, as JSON"}}}
    if route.body is not None:
        schema = {"$ref": _COMPONENTS.format(model=route.body.__name__)}
        extra["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    names = [part[1:-1] for part in route.path.split("/") if part.startswith("{")]
    if names:
        extra["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
        ]
    return extra


def _describe(app: FastAPI, shapes: list[Shape]) -> None:
    """Adds the schemas of the bodies, which the routes read themselves, to the description of the routes."""
    bodies = {route.body: None for shape in shapes for route in shape.routes if route.body is not None}
    _, definitions = models_json_schema([(body, "validation") for body in bodies], ref_template=_COMPONENTS)
    stock = app.openapi

    def described() -> dict[str, Any]:
        known = stock()
        known.setdefault("components", {}).setdefault("schemas", {}).update(definitions.get("$defs", {}))
        return known

    app.openapi = described  # type: ignore[method-assign]
