"""A page to try the runs by hand. It is three files; what it shows, it asks for like any other client.

So the page needs no key and tells nothing: the key that a person types is sent with each question. A strict policy
lets it load nothing but these files, and texts are written as text, never as HTML.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.responses import Response

from tunesmith import reports
from tunesmith.serving.call import Call
from tunesmith.serving.refused import Refused
from tunesmith.serving.shapes import Route, Shape

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

_FOLDER = Path(__file__).parent.parent / "page"
_FILES = {
    "page.css": "text/css; charset=utf-8",
    "report.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_SHOWN = (
    "name", "task", "engine", "labels", "inputs", "text_column", "alternatives", "entries", "generates", "streams",
    "chats", "masks", "compares", "max_length", "max_error", "examples", "takes_pairs",
    "version", "promotion",
)  # fmt: skip


@cache
def _file(name: str) -> bytes:
    folder = Path(reports.__file__).parent if name == "report.css" else _FOLDER
    return (folder / name).read_bytes()


async def _page(call: Call) -> Response:
    headers = {"content-security-policy": _POLICY, "x-frame-options": "DENY"}
    return Response(_file("index.html"), headers=headers, media_type="text/html; charset=utf-8")


async def _part(call: Call) -> Response:
    name = call.request.path_params["file"]
    if name not in _FILES:
        raise Refused("not_found", "there is no such file")
    return Response(_file(name), media_type=_FILES[name])


async def _runs(call: Call) -> Response:
    runs: list[JsonObject] = list(call.service.runs.values())
    return call.json({"runs": [{name: run[name] for name in _SHOWN} for run in runs]})


shape = Shape(
    "The page",
    (
        Route("GET", "/", _page, "the page to try the runs by hand"),
        Route("GET", "/page/{file}", _part, "a file of the page"),
        Route("GET", "/runs", _runs, "what the runs take and give, with example inputs"),
    ),
)
