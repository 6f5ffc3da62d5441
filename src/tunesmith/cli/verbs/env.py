"""`tunesmith env`."""

from __future__ import annotations

from tunesmith.cli.arguments import JSON


def verb(as_json: bool = JSON) -> None:
    """Show the machine and the versions, for a bug report."""
    from tunesmith.cli.output import print_json, print_table
    from tunesmith.environment import machine, versions

    facts = {"versions": versions(), "machine": machine()}
    if as_json:
        print_json(facts)
        return
    rows = [[key, str(value)] for part in facts.values() for key, value in part.items()]
    print_table(["what", "is"], rows)
