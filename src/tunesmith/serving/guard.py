"""What is checked before a route sees a request: to whom it was sent, who asks, and how much it brings."""

from __future__ import annotations

import ipaddress
import json
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

from tunesmith.serving.refused import Refused

if TYPE_CHECKING:
    from tunesmith.serving.keys import Key
    from tunesmith.serving.service import Service

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Any, Send], Awaitable[None]]

OPEN = frozenset({"/livez", "/readyz", "/health", "/v2/health/live", "/v2/health/ready"})
"""Paths that need no key: they tell nothing."""
_PAGE_FILES = "/page/"
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_MOST_ID = 128
_SECURITY = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]


class Guard:
    """An ASGI application around another one.

    Args:
        app: application with the routes.
        service: settings and keys.
    """

    def __init__(self, app: App, service: Service) -> None:
        self._app, self._service = app, service
        settings = service.settings
        self._most_bytes = settings.max_body_bytes
        self._hosts = {host.lower() for host in (*settings.hosts, *_own_hosts(settings.host))}
        self._checks_host = is_loopback(settings.host) or bool(settings.hosts)

    async def __call__(self, scope: Scope, receive: Any, send: Send) -> None:
        """Hands a request on, or refuses it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        request = headers.get(b"x-request-id", "")
        if not (request.isascii() and request.isprintable() and 0 < len(request) <= _MOST_ID):
            request = uuid.uuid4().hex
        scope["request_id"], scope["headers_by_name"] = request, headers
        extra = [*_SECURITY, (b"x-request-id", request.encode("ascii"))]
        if self._service.is_draining:
            extra.append((b"connection", b"close"))

        async def tell(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *extra]
            await send(message)

        try:
            self._refuse_other_host(scope["method"], headers)
            self._refuse_large(headers)
            scope["api_key"] = self._key(scope["method"], scope["path"], headers)
        except Refused as error:
            await _say(error, scope["path"], tell)
            return
        await self._app(scope, receive, tell)

    def _refuse_other_host(self, method: str, headers: dict[bytes, str]) -> None:
        """Refuses a name that is not ours: a web site could have its own name point here (DNS rebinding)."""
        host = headers.get(b"host", "")
        if self._checks_host and _name_of(host) not in self._hosts:
            raise Refused("misdirected", "this server does not answer under that host name")
        origin = headers.get(b"origin")
        if origin is not None and origin.partition("://")[2].lower() != host.lower():
            raise Refused("forbidden", "pages of other origins may not ask this server")
        is_link = method == "GET" and headers.get(b"sec-fetch-mode") == "navigate"
        if headers.get(b"sec-fetch-site") in ("cross-site", "same-site") and not is_link:
            raise Refused("forbidden", "pages of other origins may not ask this server")

    def _refuse_large(self, headers: dict[bytes, str]) -> None:
        length = headers.get(b"content-length", "0")
        if length.isdigit() and int(length) > self._most_bytes:
            raise Refused("too_large", f"a body may have {self._most_bytes:,} bytes", {"connection": "close"})

    def _key(self, method: str, path: str, headers: dict[bytes, str]) -> Key | None:
        keys = self._service.keys
        if keys is None or _is_open(method, path):
            return None
        key = keys.find(_given(headers))
        if key is None:
            raise Refused("unauthorized", "an API key is needed", {"www-authenticate": "Bearer"})
        if wait := max(key.requests.wait_s(1.0), key.tokens.wait_s()):
            seconds = str(int(wait) + 1)
            raise Refused("rate_limited", f"the limit of this key is reached; try again in {seconds} s",
                          {"retry-after": seconds})  # fmt: skip
        key.requests.take(1)
        return key


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_open(method: str, path: str) -> bool:
    """Whether no key is needed. The page itself tells nothing: what it shows is asked for with a key."""
    return path in OPEN or (method in ("GET", "HEAD") and (path == "/" or path.startswith(_PAGE_FILES)))


def _own_hosts(host: str) -> tuple[str, ...]:
    return (*_LOOPBACK, f"[{host}]" if ":" in host else host)


def _name_of(host: str) -> str:
    """The name in a Host header, without the port."""
    if host.startswith("["):
        return host.partition("]")[0].lower() + "]"
    return host.partition(":")[0].lower()


def _given(headers: dict[bytes, str]) -> str:
    """The key that a client gave."""
    kind, _, key = headers.get(b"authorization", "").partition(" ")
    return key.strip() if kind.lower() == "bearer" else headers.get(b"x-api-key", "")


async def _say(error: Refused, path: str, send: Send) -> None:
    found = error.as_openai() if path.startswith("/v1/") else error.as_tei()
    body = json.dumps(found).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(name.encode(), value.encode()) for name, value in error.headers.items()]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
