"""`tunesmith pull`."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import typer

from tunesmith.cli.arguments import JSON

EXAMPLES = ("tunesmith pull me/bicycle-reviews", "tunesmith pull me/bicycle-reviews -o models/reviews")


def verb(
    repo: str = typer.Argument(..., metavar="NAME", help="The name on the Hub, USER/NAME."),
    output_dir: Optional[Path] = typer.Option(
        None, "--output-dir", "-o", help="The folder to write. By default runs/NAME."
    ),
    revision: Optional[str] = typer.Option(None, "--revision", help="A branch, a tag or a commit."),
    force: bool = typer.Option(False, "--force", help="Replace an earlier pull."),
    as_json: bool = JSON,
) -> None:
    """Download a model that was pushed, and use it like a run.

    Files are compared with the checksums that `push` has written.
    """
    from tunesmith import sharing
    from tunesmith.cli.output import print_json, print_line

    facts = sharing.pull(repo, output_dir, revision=revision, force=force)
    if as_json:
        print_json(facts)
        return
    print_line(f"pulled  {facts['path']}  ({facts['task']})")
    print_line(f'next    tunesmith predict {facts["path"]} "a text"')
