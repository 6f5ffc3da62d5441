"""A small stand-in of the Hub: as much of its HTTP interface as an upload and a download need.

It keeps repositories in memory. Paths and answers are those that `huggingface_hub` asks for and reads:
https://huggingface.co/docs/hub/api, and the batch interface of Git LFS.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from tunesmith._telemetry import import_huggingface_hub

if TYPE_CHECKING:
    import pytest

    from tunesmith.types import JsonObject

TOKEN = "hf_of_the_stand_in"
_LARGE_BYTES = 10_000


@dataclass
class Repository:
    """A repository of the stand-in.

    Args:
        private: whether only its owner may read it.
        files: content of each file.
        commits: number of commits.
        earlier: files of earlier commits, by their ids.
    """

    private: bool = False
    files: dict[str, bytes] = field(default_factory=dict)
    commits: int = 0
    earlier: dict[str, dict[str, bytes]] = field(default_factory=dict)

    @property
    def head(self) -> str:
        """The id of the last commit."""
        return hashlib.sha1(str(self.commits).encode(), usedforsecurity=False).hexdigest()

    def replace(self, files: dict[str, bytes]) -> None:
        """Adds a commit with other files."""
        self.earlier[self.head] = self.files
        self.files, self.commits = files, self.commits + 1

    def at(self, revision: str) -> tuple[str, dict[str, bytes]]:
        """The id and the files of a branch or commit."""
        if revision in self.earlier:
            return revision, self.earlier[revision]
        return self.head, self.files


class StandIn:
    """The repositories and large files of a stand-in.

    Args:
        url: its address.

    `after_file` is called with the path of each file that was sent; files in `withheld` are listed, and not sent.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.after_file: Callable[[str], object] = lambda path: None
        self.withheld: set[str] = set()
        self.repositories: dict[str, Repository] = {}
        self.large: dict[str, bytes] = {}


@contextmanager
def stand_in_hub() -> Iterator[StandIn]:
    """A running stand-in, on this machine alone."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    hub = StandIn(f"http://127.0.0.1:{server.server_address[1]}")
    server.hub = hub  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def client_of(hub: StandIn, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A context in which the real client asks a stand-in."""
    huggingface_hub = import_huggingface_hub()
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    huggingface_hub.close_session()
    yield
    huggingface_hub.close_session()


class _RefusedError(Exception):
    def __init__(self, status: int, code: str = "") -> None:
        super().__init__(status)
        self.status, self.code = status, code


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def hub(self) -> StandIn:
        return self.server.hub  # type: ignore[attr-defined,no-any-return]

    def log_message(self, *_: object) -> None:
        """Nothing: tests read what the client says."""

    def do_GET(self) -> None:
        """A file, or facts of a repository."""
        self._answer(_GET)

    do_HEAD = do_GET  # noqa: N815 (a name of the library)

    def do_POST(self) -> None:
        """A new repository, a question before an upload, or a commit."""
        self._answer(_POST)

    def do_PUT(self) -> None:
        """A large file."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.hub.large[self.path.rpartition("/")[2]] = body
        self._send(200, b"{}")

    def _answer(self, routes: dict[str, Callable[..., Any]]) -> None:
        size = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(size) if size else self._chunks()
        path = self.path.partition("?")[0]
        try:
            for pattern, route in routes.items():
                if match := re.fullmatch(pattern, path):
                    route(self, body, *match.groups())
                    return
            raise _RefusedError(404)
        except _RefusedError as refused:
            self._send(refused.status, b"{}", {"X-Error-Code": refused.code} if refused.code else {})

    def _chunks(self) -> bytes:
        parts = b""
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                parts += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        return parts

    def send_json(self, content: object, status: int = 200) -> None:
        self._send(status, json.dumps(content).encode())

    def _send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def require_token(self) -> None:
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            raise _RefusedError(401)

    def repository(self, name: str) -> Repository:
        found = self.hub.repositories.get(name)
        if found is None:
            raise _RefusedError(404, "RepoNotFound")
        if found.private:
            self.require_token()
        return found

    def send_file(self, content: bytes, head: str) -> None:
        etag = hashlib.sha256(content).hexdigest()
        self._send(200, content, {"ETag": f'"{etag}"', "X-Repo-Commit": head})


def _create(handler: _Handler, body: bytes) -> None:
    handler.require_token()
    asked: JsonObject = json.loads(body)
    name = f"{asked.get('organization') or 'me'}/{asked['name']}"
    known = name in handler.hub.repositories
    if not known:
        handler.hub.repositories[name] = Repository(
            bool(asked.get("private")) or asked.get("visibility") == "private"
        )
    handler.send_json({"url": f"{handler.hub.url}/{name}"}, 409 if known else 200)


def _validate(handler: _Handler, _: bytes) -> None:
    handler.send_json({"errors": [], "warnings": []})


def _preupload(handler: _Handler, body: bytes, name: str) -> None:
    handler.require_token()
    handler.repository(name)
    files = [
        {
            "path": file["path"],
            "uploadMode": "lfs" if file["size"] > _LARGE_BYTES else "regular",
            "shouldIgnore": False,
        }
        for file in json.loads(body)["files"]
    ]
    handler.send_json({"files": files})


def _batch(handler: _Handler, body: bytes, _: str) -> None:
    objects = [
        {**it, "actions": {"upload": {"href": f"{handler.hub.url}/large/{it['oid']}"}}}
        for it in json.loads(body)["objects"]
    ]
    handler.send_json({"transfer": "basic", "objects": objects})


def _commit(handler: _Handler, body: bytes, name: str) -> None:
    handler.require_token()
    repository = handler.repository(name)
    files = dict(repository.files)
    for line in body.splitlines():
        entry = json.loads(line)
        value = entry["value"]
        if entry["key"] == "file":
            files[value["path"]] = base64.b64decode(value["content"])
        elif entry["key"] == "lfsFile":
            files[value["path"]] = handler.hub.large[value["oid"]]
        elif entry["key"] == "deletedFile":
            del files[value["path"]]
    repository.replace(files)
    url = f"{handler.hub.url}/{name}/commit/{repository.head}"
    handler.send_json({"success": True, "commitOid": repository.head, "commitUrl": url, "hookOutput": ""})


def _info(handler: _Handler, _: bytes, name: str, revision: str = "main") -> None:
    repository = handler.repository(name)
    head, files = repository.at(revision)
    siblings = [{"rfilename": path} for path in files]
    handler.send_json(
        {
            "id": name,
            "modelId": name,
            "sha": head,
            "private": repository.private,
            "siblings": siblings,
        }
    )


def _tree(handler: _Handler, _: bytes, name: str, revision: str) -> None:
    _head, files = handler.repository(name).at(revision)
    handler.send_json(
        [
            {
                "type": "file",
                "path": path,
                "size": len(content),
                "oid": hashlib.sha1(content, usedforsecurity=False).hexdigest(),
            }
            for path, content in files.items()
        ]
    )


def _file(handler: _Handler, _: bytes, name: str, revision: str, path: str) -> None:
    head, files = handler.repository(name).at(revision)
    if path not in files or path in handler.hub.withheld:
        raise _RefusedError(404, "EntryNotFound")
    handler.send_file(files[path], head)
    if handler.command == "GET":
        handler.hub.after_file(path)


_NAME = r"([\w.-]+/[\w.-]+)"
_POST: dict[str, Callable[..., Any]] = {
    "/api/repos/create": _create,
    "/api/validate-yaml": _validate,
    f"/api/models/{_NAME}/preupload/main": _preupload,
    f"/{_NAME}\\.git/info/lfs/objects/batch": _batch,
    f"/api/models/{_NAME}/commit/main": _commit,
}
_GET: dict[str, Callable[..., Any]] = {
    f"/api/models/{_NAME}": _info,
    f"/api/models/{_NAME}/revision/(\\w+)": _info,
    f"/api/models/{_NAME}/tree/(\\w+)": _tree,
    f"/{_NAME}/resolve/(\\w+)/(.+)": _file,
}
