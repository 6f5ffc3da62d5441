"""Shapes of requests and answers that clients know. Each file in this folder is one: its routes, and no more.

A route gets a `Call` and returns a response. Which runs it fits is asked of the facts of the run, which come from
the capabilities of its task (`loading.facts_of_run`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict
from starlette.responses import Response

from tunesmith.registry import Registry
from tunesmith.serving.call import Call


class Strict(BaseModel):
    """A body without unknown keys."""

    model_config = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class Route:
    """One route.

    Args:
        method: `GET`, `POST` or `DELETE`.
        path: path, with names in braces.
        answer: gives the response to a call.
        summary: one line for the docs.
        body: what the request brings; None for nothing.
        errors: the shape of its errors.
        is_measured: whether it asks a model, so that its time is measured.
    """

    method: Literal["GET", "POST", "DELETE"]
    path: str
    answer: Callable[[Call], Awaitable[Response]]
    summary: str
    body: type[BaseModel] | None = None
    errors: Literal["tei", "openai"] = "tei"

    @property
    def is_measured(self) -> bool:
        """Whether it asks a model, so that its time is measured."""
        return self.body is not None


@dataclass(frozen=True)
class Shape:
    """The routes that belong together.

    Args:
        summary: whose shape it is, for the docs.
        routes: the routes.
    """

    summary: str
    routes: tuple[Route, ...]


SHAPES: Registry[Shape] = Registry("tunesmith.serving.shapes", "shape", Shape)
