"""`tunesmith rollback`."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

from tunesmith.cli.arguments import BY, JSON, REASON, REGISTRY

EXAMPLES = ('tunesmith rollback --registry registry --reason "complaints about refunds"',)


def verb(
    registry: Path = REGISTRY,
    reason: Optional[str] = REASON,
    by: Optional[str] = BY,
    as_json: bool = JSON,
) -> None:
    """Make the previous champion of a registry the champion again.

    A second time goes back one more. The files of that run must be those that were promoted.
    """
    from tunesmith.api.promoting import NO_REASON, rollback
    from tunesmith.cli.verbs.promote import show

    show(rollback(registry=registry, reason=reason or NO_REASON, by=by), registry, as_json=as_json)
