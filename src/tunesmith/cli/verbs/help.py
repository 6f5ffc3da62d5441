"""`tunesmith help`."""

from __future__ import annotations

from typing import Optional

import typer


def verb(
    context: typer.Context,
    name: Optional[str] = typer.Argument(None, metavar="[VERB]", help="The verb; all verbs without it."),
) -> None:
    """Show the help of a verb, or all verbs.

    The same as `tunesmith VERB --help`.
    """
    from tunesmith.cli import VERBS
    from tunesmith.cli.output import print_line
    from tunesmith.errors import UnknownNameError, did_you_mean

    group = context.find_root()
    if name is None:
        print_line(group.get_help())
        return
    if name not in VERBS.names():
        raise UnknownNameError(f"`{name}` is not a verb.", remedy=did_you_mean(name, VERBS.names()))
    commands: dict[str, typer.core.TyperCommand] = getattr(group.command, "commands", {})
    commands[name].main(["--help"], prog_name=f"tunesmith {name}", standalone_mode=False)
