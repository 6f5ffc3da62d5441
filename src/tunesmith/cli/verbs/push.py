"""`tunesmith push`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from tunesmith.cli.arguments import JSON, RUN

if TYPE_CHECKING:
    from tunesmith.sharing import Upload

EXAMPLES = (
    "tunesmith push runs/reviews me/bicycle-reviews --dry-run",
    "tunesmith push runs/reviews me/bicycle-reviews --private",
)


def verb(
    run: str = RUN,
    repo: str = typer.Argument(..., metavar="NAME", help="The name on the Hub, USER/NAME."),
    private: bool = typer.Option(False, "--private", help="Make a new repository private."),
    dry_run: bool = typer.Option(
        False, "--dry-run", help="Show every file and the model card, and upload nothing."
    ),
    license_name: str = typer.Option(
        "", "--license", help="The licence, as the Hub names it. By default that of the base model."
    ),
    force: bool = typer.Option(False, "--force", help="Add a commit to a repository that has files."),
    as_json: bool = JSON,
) -> None:
    """Upload a run, or an export, with its model card to the Hub.

    Data, secrets and paths of this machine are refused.
    """
    from tunesmith import sharing
    from tunesmith.cli.output import print_json

    upload = sharing.push(run, repo, private=private, dry_run=dry_run, license=license_name, force=force)
    if as_json:
        print_json(upload.to_json())
    else:
        _print(upload)


def _print(upload: Upload) -> None:
    from tunesmith.cli.output import print_line, print_table

    rows = [[name, _in_words(size)] for name, size in upload.sizes().items()]
    print_table(["file", "size"], rows)
    if upload.url:
        print_line(f"\npushed  {upload.url}")
        print_line(f"next    tunesmith pull {upload.repo}")
        return
    print_line(f"\n{upload.card}")
    print_line(f"nothing was uploaded; without --dry-run, this would be {upload.repo}")


def _in_words(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 1e6 else f"{size / 1e3:,.1f} kB"
