"""The process that listens: its sockets, its signals, and how it ends.

The first SIGTERM or SIGINT ends it in order: it says that it is not ready, stops listening, answers what it has
taken, and exits with 0. The second one ends it at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tunesmith.errors import RecipeError, UserError
from tunesmith.serving.app import make_app
from tunesmith.serving.guard import is_loopback
from tunesmith.serving.keeping import keep_log
from tunesmith.serving.keys import Keys
from tunesmith.serving.service import Service

if TYPE_CHECKING:
    from tunesmith.serving.settings import Settings
    from tunesmith.types import JsonObject

_IDLE_S = 15
"""Seconds after which a connection is closed on which nothing is asked."""
_HANDSHAKE_S = 10
_LAST_REQUESTS_S = 0.5
"""Seconds in which clients with an open connection learn, with an answer, that it is closed."""


class Protocol(HttpToolsProtocol):
    """A connection: refused above their limit, and closed when the head of a request does not come."""

    most = 1000

    def connection_made(self, transport: Any) -> None:
        """See asyncio.Protocol."""
        super().connection_made(transport)
        if len(self.connections) > self.most:
            transport.abort()
            return
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol; a head that comes in drops gets no more time than one that does not come."""
        waited = self.timeout_keep_alive_task
        if waited is not None and b"\r\n\r\n" not in data and self.cycle is None:
            self.timeout_keep_alive_task = None
            super().data_received(data)
            if self.cycle is None:
                self.timeout_keep_alive_task = waited
            else:
                waited.cancel()
            return
        super().data_received(data)

    def _await_head(self) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(_IDLE_S, self.timeout_keep_alive_handler)


class Server(uvicorn.Server):
    """The server of uvicorn, which ends as this module says."""

    def __init__(self, config: uvicorn.Config, service: Service, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._service, self._ready = service, ready
        self._draining: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """See uvicorn; the process does not end by the signal, but with 0."""
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self._on_signal)
        try:
            yield
        finally:
            for name in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(name)

    def _on_signal(self) -> None:
        if self._draining is not None:
            os._exit(130)
        self._draining = asyncio.get_running_loop().create_task(self._drain())

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn, which lets a client take a minute for a handshake."""
        loop, config = asyncio.get_running_loop(), self.config
        seconds = None if config.ssl is None else _HANDSHAKE_S

        def make() -> asyncio.Protocol:
            return Protocol(config, self.server_state, self.lifespan.state, loop)

        self.servers = [
            await loop.create_server(
                make, sock=one, ssl=config.ssl, backlog=config.backlog, ssl_handshake_timeout=seconds
            )
            for one in sockets or ()
        ]
        self.started = True
        self._ready()

    async def _drain(self) -> None:
        self._service.is_draining = True
        await asyncio.sleep(self._service.settings.drain_delay_s)
        for server in self.servers:
            server.close()
        await asyncio.sleep(_LAST_REQUESTS_S)
        self.should_exit = True


def run_server(runs: list[JsonObject], settings: Settings, ready: Callable[[Service, str], None]) -> None:
    """Serves until a signal comes.

    Args:
        runs: name, run, folder and engine of each run.
        settings: settings of the server.
        ready: called with the service and its URL when it listens.

    Raises:
        UserError: the address cannot be used, a run cannot be loaded, or a setting is unsafe.
    """
    keys = None if settings.api_keys is None else Keys(settings.api_keys)
    refuse_open_door(settings)
    listening = _listen(settings.host, settings.port)
    _raise_file_limit()
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_serve(runs, settings, keys, listening, ready))
    finally:
        listening.close()


async def _serve(
    runs: list[JsonObject],
    settings: Settings,
    keys: Keys | None,
    listening: socket.socket,
    ready: Callable[[Service, str], None],
) -> None:
    service = Service(settings, runs, keys, metadata.version("tunesmith"))
    if settings.log != "off":
        keep_log(service)
    await service.start()
    scheme = "http" if settings.tls_cert is None else "https"
    host, port = settings.host, listening.getsockname()[1]
    url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
    server = Server(_config(service, settings), service, lambda: ready(service, url))
    Protocol.most = settings.max_connections
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # not what strangers send
    try:
        await server.serve(sockets=[listening])
    finally:
        await service.stop()
        if service.log is not None:
            service.log.close()


def _config(service: Service, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        make_app(service), http=Protocol, ws="none", lifespan="off", log_config=None, access_log=False,
        server_header=False, timeout_keep_alive=_IDLE_S, proxy_headers=False, backlog=2048,
        timeout_graceful_shutdown=int(settings.drain_timeout_s),
        ssl_certfile=settings.tls_cert and str(settings.tls_cert),
        ssl_keyfile=settings.tls_key and str(settings.tls_key),
    )  # fmt: skip


def refuse_open_door(settings: Settings) -> None:
    """Raises RecipeError for an address that others reach, where anybody could ask."""
    if settings.api_keys is None and not is_loopback(settings.host):
        raise RecipeError(
            f"`{settings.host}` is not only this machine, and anybody who reaches it could ask.",
            remedy="Give `--api-keys FILE`. `tunesmith serve --new-key NAME --api-keys FILE` makes a key.",
        )
    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise RecipeError("--tls-cert and --tls-key belong together.", remedy="Give both, or none.")
    for file in (settings.tls_cert, settings.tls_key):
        if file is not None and not Path(file).is_file():
            raise UserError(f"there is no file `{file}`.", remedy="Check the path.")


def _listen(host: str, port: int) -> socket.socket:
    """A socket that is bound, before models are loaded for nothing."""
    bound = None
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        if bound is not None:
            bound.close()
        raise RecipeError(
            f"`{host}:{port}` cannot be used: {error.strerror or error}.",
            remedy="Give another --host or --port.",
        ) from None
    return bound


def _raise_file_limit() -> None:
    """As many open files as this process may have: each connection is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 65_536) if most > 0 else 65_536, most))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
