"""`tunesmith promote`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Optional

import typer

from tunesmith.cli.arguments import BY, JSON, REASON, REGISTRY, RUN

if TYPE_CHECKING:
    from tunesmith.run.champion import Promotion

EXAMPLES = (
    "tunesmith promote runs/reviews --registry registry",
    'tunesmith promote runs/new --registry registry --reason "better on new words" --evidence compare.json',
)


def verb(
    run: str = RUN,
    registry: Path = REGISTRY,
    reason: Optional[str] = REASON,
    by: Optional[str] = BY,
    evidence: Optional[Path] = typer.Option(
        None,
        help="A JSON file for the history, such as of `tunesmith compare --json`. By default both scores.",
    ),
    as_json: bool = JSON,
) -> None:
    """Make a run the champion of a registry.

    The run is checked and loaded first. `tunesmith serve REGISTRY` switches to it without losing a request.
    `tunesmith list promotions REGISTRY` shows the history, and `tunesmith rollback` undoes it.
    """
    from tunesmith.api.promoting import NO_REASON, promote

    made = promote(run, registry=registry, reason=reason or NO_REASON, by=by, evidence=evidence)
    show(made, registry, as_json=as_json)


def show(made: Promotion, registry: Path, *, as_json: bool) -> None:
    """Prints a promotion or a roll-back."""
    from tunesmith.cli.output import print_json, print_line

    if as_json:
        print_json(made.to_json())
        return
    print_line(f"champion   {made.run}")
    print_line(f"promotion  {made.number}, {made.action} by {made.by}")
    print_line(f"next       tunesmith serve {registry}")
