"""What a server may take, and how long. One object; its defaults are those of the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tunesmith.types import JsonObject


@dataclass(frozen=True)
class Settings:
    """Settings of a server.

    Args:
        host: address to listen on.
        port: port to listen on; 0 for any that is free.
        workers: number of worker processes.
        api_keys: file of hashed keys; None for none.
        timeout_s: most seconds from a request to its answer; a request can ask for fewer.
        max_queue: most inputs that wait or are computed, over all requests.
        max_queue_bytes: most bytes of the same.
        max_body_bytes: most bytes of a request's body.
        max_inputs: most inputs of a request.
        body_timeout_s: most seconds in which a client may send a request.
        max_connections: most connections at a time.
        drain_delay_s: seconds for which a server that was told to stop still takes requests, while it says that it
            is not ready, so that load balancers notice.
        drain_timeout_s: most seconds in which it finishes what it has taken.
        tls_cert: file of the certificate; None for HTTP.
        tls_key: file of its key.
        log: what is kept of answers: `off`, `hashed` or `text`.
        log_to: folder or database of the log.
        log_days: days after which it is deleted; None keeps it.
        hosts: names under which clients may ask, besides the address.
        engine: engine that was asked for, for champions to come.
        shadow: a challenger whose answers nobody gets, from `open_challenger`; None for none.
        canary: a challenger that gets a share of the requests for the first run.
        canary_share: that share.
        canary_slower: how many times longer than the champion's slowest 5 % it may take.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 1
    api_keys: Path | None = None
    timeout_s: float = 60.0
    max_queue: int = 2048
    max_queue_bytes: int = 64 << 20
    max_body_bytes: int = 4 << 20
    max_inputs: int = 1024
    body_timeout_s: float = 20.0
    max_connections: int = 1000
    drain_delay_s: float = 0.0
    drain_timeout_s: float = 60.0
    tls_cert: Path | None = None
    tls_key: Path | None = None
    log: str = "off"
    log_to: str = ""
    log_days: float | None = None
    hosts: tuple[str, ...] = ()
    engine: str = "auto"
    shadow: JsonObject | None = None
    canary: JsonObject | None = None
    canary_share: float = 0.05
    canary_slower: float = 1.5
