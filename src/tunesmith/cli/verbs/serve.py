"""`tunesmith serve`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Optional

import typer

from tunesmith.cli.arguments import JSON

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

EXAMPLES = (
    "tunesmith serve runs/reviews",
    "tunesmith serve runs/reviews runs/entities --engine onnx-int8 --workers 2",
    "tunesmith serve registry --canary runs/new --canary-share 0.05",
    "tunesmith serve runs/reviews --cascade 0.02",
    "tunesmith serve --new-key alice --api-keys keys.txt",
    "tunesmith serve runs/reviews --host 0.0.0.0 --api-keys keys.txt --tls-cert cert.pem --tls-key key.pem",
)
_WHO, _LIMITS, _LOG, _CHALLENGERS = "Who may ask", "Limits", "Log", "Challengers of the first run"


def _limit(default: Any, text: str, **how: Any) -> Any:
    return typer.Option(default, help=text, rich_help_panel=_LIMITS, **how)


def verb(
    runs: list[str] = typer.Argument(
        None,
        metavar="RUN",
        help="Run folders, exports, or registries, whose champion is followed. NAME=FOLDER gives a name; else it "
        "is the folder's.",
    ),
    host: str = typer.Option("127.0.0.1", help="The address to listen on. Another one needs --api-keys."),
    port: int = typer.Option(8080, min=0, max=65535, help="The port; 0 for any that is free."),
    engine: Literal["auto", "torch", "bf16", "onnx", "onnx-int8"] = typer.Option(
        "auto", help="What computes: the run itself, or an export beside it that was checked."
    ),
    workers: int = typer.Option(1, min=1, help="Number of processes with the models, which share the cores."),
    api_keys: Optional[Path] = typer.Option(None, help="A file of hashed API keys.", rich_help_panel=_WHO),
    new_key: Optional[str] = typer.Option(
        None, metavar="NAME", help="Print a new key, add its hash to the file, and end.", rich_help_panel=_WHO
    ),
    allowed_host: list[str] = typer.Option(
        [], help="A name under which clients may ask. Repeatable.", rich_help_panel=_WHO
    ),
    tls_cert: Optional[Path] = typer.Option(None, help="A certificate, for HTTPS.", rich_help_panel=_WHO),
    tls_key: Optional[Path] = typer.Option(None, help="The key of the certificate.", rich_help_panel=_WHO),
    timeout: float = _limit(60.0, "Most seconds from a request to its answer.", min=0.001),
    max_queue: int = _limit(2048, "Most inputs that wait; others get 429.", min=1),
    max_body: int = _limit(4 << 20, "Most bytes of a request.", min=1),
    max_inputs: int = _limit(1024, "Most inputs of a request.", min=1),
    max_connections: int = _limit(1000, "Most connections at a time.", min=1),
    drain_delay: float = _limit(0.0, "Seconds for which a stopping server still takes requests.", min=0),
    log: Literal["off", "hashed", "text"] = typer.Option(
        "hashed",
        help="What is kept of answers: no text, or texts without personal data.",
        rich_help_panel=_LOG,
    ),
    log_to: Optional[str] = typer.Option(
        None, help="A folder, or the URL of a PostgreSQL database. By default RUN-log.", rich_help_panel=_LOG
    ),
    log_days: Optional[float] = typer.Option(
        None,
        min=0.01,
        help="Days after which answers are deleted. By default they are kept.",
        rich_help_panel=_LOG,
    ),
    shadow: Optional[str] = typer.Option(
        None,
        metavar="RUN",
        help="A challenger that answers silently; differences are kept in the log.",
        rich_help_panel=_CHALLENGERS,
    ),
    canary: Optional[str] = typer.Option(
        None,
        metavar="RUN",
        help="A challenger that gets a share of the requests, until it fails more or is slower.",
        rich_help_panel=_CHALLENGERS,
    ),
    canary_share: float = typer.Option(0.05, help="That share.", rich_help_panel=_CHALLENGERS),
    canary_slower: float = typer.Option(
        1.5, help="How many times longer it may take.", rich_help_panel=_CHALLENGERS
    ),
    cascade: Optional[float] = typer.Option(
        None,
        metavar="ERROR",
        help="A cheap model answers what it is sure of, with at most this share of wrong answers.",
    ),
    as_json: bool = JSON,
) -> None:
    """Serve runs over HTTP.

    The page at the address is for trying them by hand. docs/serve.md has the routes.
    """
    from tunesmith.api.serving import make_key, serve
    from tunesmith.errors import RecipeError

    if new_key is not None:
        if api_keys is None or runs:
            raise RecipeError("--new-key NAME needs --api-keys FILE, and no run.", remedy="Give both.")
        _show_key(make_key(api_keys, new_key), new_key, api_keys, as_json=as_json)
        return
    if not runs:
        raise RecipeError(
            "there is no run to serve.", remedy="Give its folder: `tunesmith serve runs/reviews`."
        )
    serve(
        runs, host=host, port=port, engine=engine, workers=workers, api_keys=api_keys,
        allowed_hosts=allowed_host, tls_cert=tls_cert, tls_key=tls_key, timeout=timeout, max_queue=max_queue,
        max_body=max_body, max_inputs=max_inputs, max_connections=max_connections, drain_delay=drain_delay,
        log=log, log_to=log_to, log_days=log_days, shadow=shadow, canary=canary, canary_share=canary_share,
        canary_slower=canary_slower, cascade=cascade, ready=lambda facts: _show(facts, as_json=as_json),
    )  # fmt: skip


def _show_key(key: str, name: str, file: Path, *, as_json: bool) -> None:
    from tunesmith.cli.output import print_json, print_line

    if as_json:
        print_json({"name": name, "key": key, "file": str(file)})
        return
    print_line(key)
    typer.echo(f"The key is shown once. {file} has its hash.", err=True)


def _show(facts: JsonObject, *, as_json: bool) -> None:
    import sys

    from tunesmith.cli.output import print_json, print_line

    for note in facts["notes"]:
        typer.echo(note, err=True)
    if as_json:
        print_json(facts)
    else:
        for run in facts["runs"]:
            print_line(f"{run['name']}  {run['task']}, {run['engine']}")
        print_line(f"serving on {facts['url']}")
    sys.stdout.flush()
