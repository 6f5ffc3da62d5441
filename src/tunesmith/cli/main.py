"""`tunesmith VERB …`: finds the verb, and turns an error into a message and an exit code.

Nothing heavy is imported here or at the top of a verb's file, so that `--help` answers at once.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from tunesmith._telemetry import switch_off_telemetry
from tunesmith.cli import VERBS
from tunesmith.cli.help import GroupedCommand
from tunesmith.cli.interrupts import end_with_code_of
from tunesmith.cli.usage import USAGE_ERRORS, explained
from tunesmith.errors import (
    InterruptedRunError,
    ModelError,
    OtherProcessError,
    TunesmithError,
    UserError,
    first_line,
    is_panic,
)
from tunesmith.process import set_process_options
from tunesmith.run.files import free_bytes

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

_ORDER = (
    "demo",
    "init",
    "check",
    "models",
    "train",
    "evaluate",
    "compare",
    "predict",
    "embed",
    "export",
    "push",
    "pull",
    "serve",
    "promote",
    "rollback",
    "forget",
    "monitor",
    "list",
    "env",
    "help",
    "version",
)
_INTERRUPTED = 130
"""Exit code with which typer answers Ctrl-C."""


def build_app() -> typer.Typer:
    """The application with every verb of the folder."""
    app = typer.Typer(
        help="Fine-tune a pretrained language model on your own data, and know honestly how good it is.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for name in sorted(VERBS.names(), key=lambda n: (_ORDER.index(n) if n in _ORDER else len(_ORDER), n)):
        if origin := VERBS.origin(name):
            _add_unloaded(app, name, origin)
        else:
            app.command(name, cls=GroupedCommand)(VERBS.get(name))
    app.callback(invoke_without_command=False)(_root)
    return app


def _add_unloaded(app: typer.Typer, name: str, origin: str) -> None:
    """A package's verb, which is imported when it is run: a broken one breaks no `--help` but its own."""

    def forward(context: typer.Context) -> None:
        one = typer.Typer(
            add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None,
            context_settings={"help_option_names": ["-h", "--help"]},
        )  # fmt: skip
        one.command(name, cls=GroupedCommand)(VERBS.get(name))
        _run(one, args=context.args, prog_name=context.command_path)

    takes_all = {"ignore_unknown_options": True, "allow_extra_args": True}
    app.command(name, help=f"Added by {origin}.", add_help_option=False, context_settings=takes_all)(forward)


def _root(
    version: bool = typer.Option(
        False, "--version", help="Print the version.", callback=lambda v: _version(v)
    ),
) -> None:
    """Fine-tune a pretrained language model on your own data, and know honestly how good it is."""


def _version(wanted: bool) -> None:
    if wanted:
        import tunesmith

        typer.echo(tunesmith.__version__)
        raise typer.Exit


def main() -> None:
    """The command `tunesmith`."""
    switch_off_telemetry()
    set_process_options()
    # Threads of the tokenizer and of torch would fight over the same cores in forked workers.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    sys.exit(end_with_code_of(_code))


def _code() -> int:
    """Runs the command; returns its exit code, after an error too, which is reported."""
    try:
        return _run(build_app(), prog_name="tunesmith")
    except TunesmithError as error:
        if isinstance(error, InterruptedRunError) and _is_one_of_several():
            # `torchrun` sends SIGTERM to the others as soon as one has ended; each has an exit code of its own.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        return _report(error)
    except (KeyboardInterrupt, typer.Abort):
        remedy = "No file is half-written. The same command resumes from what was saved, or starts again."
        return _report(InterruptedRunError("stopped.", remedy=remedy))
    except OSError as error:
        return _report(_from_system(error))
    except BaseException as error:
        if not is_panic(error):
            raise
        remedy = "The tokenizer or a file of the model was made to do harm, or is damaged: use another copy."
        return _report(ModelError(f"a library gave up: {first_line(error)}", remedy=remedy))


def _run(app: typer.Typer, **arguments: Any) -> int:
    """Runs a command, and returns its exit code.

    Raises:
        TunesmithError: the command line is wrong, or the command fails.
        KeyboardInterrupt: Ctrl-C was pressed.
    """
    try:
        code = app(standalone_mode=False, **arguments)
    except USAGE_ERRORS as error:
        if type(error).__name__ == "NoArgsIsHelpError" and "--json" not in sys.argv:
            typer.echo(str(error), err=True)
            return UserError.exit_code
        raise explained(error) from None
    if code == _INTERRUPTED:
        raise KeyboardInterrupt
    return code if isinstance(code, int) else 0


def _from_system(error: OSError) -> TunesmithError:
    """A full disk or a missing permission, as a message instead of a traceback."""
    if isinstance(error, (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)):
        return UserError(
            f"{error.strerror}: `{error.filename}`.", remedy="Check the path and its permissions."
        )
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        is_named = bool(error.filename) and error.errno != errno.EFBIG
        free = f"; {free_bytes(Path(error.filename)) / 1e6:.1f} MB are free there" if is_named else ""
        return TunesmithError(
            f"a file cannot be written: {error.strerror}{free}.",
            location=str(error.filename or ""),
            remedy="What was written before is whole. "
            f"{'Raise the limit (`ulimit -f`)' if error.errno == errno.EFBIG else 'Free space'}; the same command "
            "resumes from there.",
        )
    return TunesmithError(
        f"the operating system reports: {error}.",
        remedy="Free the resource that is missing, and run the command again.",
    )


def _report(error: TunesmithError) -> int:
    if _is_reported_by_another(error):
        return error.exit_code
    if "--json" in sys.argv:
        fields: JsonObject = {"rule": error.rule, "remedy": error.remedy, "place": error.location}
        print(json.dumps({"error": fields, "exit_code": error.exit_code}, ensure_ascii=False))  # noqa: T201
    typer.echo(f"error: {error}", err=True)
    return error.exit_code


def _is_one_of_several() -> bool:
    from tunesmith.training.processes import launched

    return launched()[1] > 1


def _is_reported_by_another(error: TunesmithError) -> bool:
    """Whether another process of the same training has the same error and reports it."""
    from tunesmith.training.processes import is_first_process

    return not is_first_process() and not isinstance(error, OtherProcessError)
