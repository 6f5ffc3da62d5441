"""`tunesmith version`."""

from __future__ import annotations

from tunesmith.cli.arguments import JSON


def verb(as_json: bool = JSON) -> None:
    """Show the version.

    `tunesmith env` shows those of all libraries, too.
    """
    import tunesmith
    from tunesmith.cli.output import print_json, print_line

    if as_json:
        print_json({"version": tunesmith.__version__})
    else:
        print_line(tunesmith.__version__)
