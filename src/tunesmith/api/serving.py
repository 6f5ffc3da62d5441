"""`serve` in Python."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.api.keywords import suggesting
from tunesmith.errors import RecipeError
from tunesmith.extras import refuse_without

if TYPE_CHECKING:
    from tunesmith.serving.service import Service
    from tunesmith.types import JsonObject

_MODULES = ("fastapi", "uvicorn", "httptools", "prometheus_client")
File = str | os.PathLike[str]


@suggesting
def serve(
    runs: File | Sequence[File],
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    engine: str = "auto",
    workers: int = 1,
    api_keys: File | None = None,
    allowed_hosts: Sequence[str] = (),
    tls_cert: File | None = None,
    tls_key: File | None = None,
    timeout: float = 60.0,
    max_queue: int = 2048,
    max_body: int = 4 << 20,
    max_inputs: int = 1024,
    max_connections: int = 1000,
    drain_delay: float = 0.0,
    log: str = "hashed",
    log_to: File | None = None,
    log_days: float | None = None,
    shadow: File | None = None,
    canary: File | None = None,
    canary_share: float = 0.05,
    canary_slower: float = 1.5,
    cascade: float | None = None,
    ready: Callable[[JsonObject], None] | None = None,
) -> None:
    """Serves runs over HTTP until SIGTERM or Ctrl-C; call it in the main thread.

    Args:
        runs: runs, exports or registries, or their folders; `NAME=FOLDER` gives a name. The first answers where
            none is named. The champion of a registry is followed: a new one answers as soon as it is loaded.
        host: address to listen on; another one than this machine's own needs `api_keys`.
        port: port to listen on; 0 for any that is free.
        engine: `auto` or `torch` for the run itself; `bf16`, `onnx`, `onnx-int8` for its export.
        workers: number of processes with the models.
        api_keys: file of hashed keys, see `tunesmith serve --new-key`.
        allowed_hosts: names under which clients may ask, besides the address.
        tls_cert: file of a certificate, for HTTPS.
        tls_key: file of its key.
        timeout: most seconds from a request to its answer.
        max_queue: most inputs that wait; others are refused with 429.
        max_body: most bytes of a request.
        max_inputs: most inputs of a request.
        max_connections: most connections at a time.
        drain_delay: seconds for which a server that was told to stop still takes requests.
        log: what is kept of answers: `off`, `hashed` (no text), or `text` (without personal data).
        log_to: folder of the log, or URL of a PostgreSQL database; by default `RUN-log`, beside the first run.
        log_days: days after which answers are deleted; by default they are kept.
        shadow: a challenger of the first run, which answers what that has answered; nobody gets its answers, and
            differences are kept in the log.
        canary: a challenger that gets a share of the requests for the first run, until it is worse.
        canary_share: that share.
        canary_slower: how many times longer than the slowest 5 % of the champion's requests a canary may take.
        cascade: a cheap model answers what it is sure of, with at most this share of wrong answers; the run
            answers the rest.
        ready: called when it listens, with `url`, `runs` and `notes`.

    Raises:
        UserError: a run or the address cannot be used, or a setting is unsafe.
    """
    refuse_without(_MODULES, "serve", "`tunesmith serve`")
    from tunesmith.api.using import open_door
    from tunesmith.serving.opening import open_canary, open_challenger, open_runs
    from tunesmith.serving.server import run_server
    from tunesmith.serving.settings import Settings

    if log == "off" and (log_to is not None or log_days is not None):
        raise RecipeError("`log_to` and `log_days` have no effect without a log.", remedy="Leave them out.")
    open_door()
    folders = [runs] if isinstance(runs, str | os.PathLike) else list(runs)
    opened = open_runs(folders, engine)
    if cascade is not None:
        opened[0]["cascade"] = _cascade(opened, cascade)
    _refuse_wrong_canary(canary, canary_share, canary_slower)
    settings = Settings(
        host=host, port=port, workers=workers, api_keys=_path(api_keys), timeout_s=timeout, max_queue=max_queue,
        max_body_bytes=max_body, max_inputs=max_inputs, max_connections=max_connections,
        drain_delay_s=drain_delay, tls_cert=_path(tls_cert), tls_key=_path(tls_key), hosts=tuple(allowed_hosts),
        log=log, log_days=log_days, engine=engine, canary_share=canary_share, canary_slower=canary_slower,
        log_to=f"{opened[0]['registry'] or opened[0]['run']}-log" if log_to is None else os.fspath(log_to),
        shadow=None if shadow is None else open_challenger(shadow, opened[0], engine),
        canary=None if canary is None else open_canary(canary, opened[0], engine),
    )  # fmt: skip
    run_server(opened, settings, lambda service, url: _tell(ready, service, url))


def make_key(file: File, name: str) -> str:
    """A new API key, whose hash is added to a file.

    Raises:
        UserError: the name is taken, or the file cannot be used.
    """
    from tunesmith.serving.keys import add_key

    return add_key(Path(file), name)


def _cascade(opened: Sequence[JsonObject], max_error: float) -> JsonObject:
    """The first stage for the only run.

    Raises:
        UserError: there are several runs, one is followed, or the promise cannot hold.
    """
    from tunesmith.pipeline.cascading import prepare_cascade
    from tunesmith.run import Run

    if len(opened) > 1 or opened[0]["registry"]:
        raise RecipeError(
            "a cascade is fitted for one run, and cannot follow a registry or answer for several runs.",
            remedy="Give the folder of one run.",
        )
    return prepare_cascade(Run.open(opened[0]["run"]), max_error)


def _refuse_wrong_canary(canary: File | None, share: float, slower: float) -> None:
    if not 0 < share <= 1:
        raise RecipeError(
            f"`canary_share` must be above 0 and at most 1, got {share}.", remedy="Example: 0.05."
        )
    if slower < 1:
        raise RecipeError(f"`canary_slower` must be at least 1, got {slower}.", remedy="Example: 1.5.")
    if canary is None and (share, slower) != (0.05, 1.5):
        raise RecipeError("`canary_share` and `canary_slower` need a `canary`.", remedy="Leave them out.")


def _path(file: File | None) -> Path | None:
    return None if file is None else Path(file)


def _tell(ready: Callable[[JsonObject], None] | None, service: Service, url: str) -> None:
    if ready is None:
        return
    runs = list(service.runs.values())
    notes = [f"{run['name']}: {note}" for run in runs for note in [*run["notes"], *_of_cascade(run)]]
    told = ("name", "task", "engine", "run", "promotion")
    shown = [{name: run[name] for name in told} for run in runs]
    ready({"url": url, "runs": shown, "notes": notes})


def _of_cascade(run: JsonObject) -> list[str]:
    """What a cascade is expected to do, in words; nothing without one."""
    if (it := run["cascade"]) is None:
        return []
    return [
        f"the first stage answers {it['share']:.0%} of the {it['rows']} validation rows, {it['wrong']} of them "
        f"wrongly (promise: at most {it['max_error']:.1%}); right answers: {it['right']:.1%} with it, "
        f"{it['right_alone']:.1%} without"
    ]
