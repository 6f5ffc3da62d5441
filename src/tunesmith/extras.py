"""Packages that only some features need: the extras of this package."""

from __future__ import annotations

import importlib.util

from tunesmith.errors import UserError


def refuse_without(modules: tuple[str, ...], extra: str, what: str) -> None:
    """Raises an error if a module cannot be imported.

    Args:
        modules: names of the modules.
        extra: extra of this package that installs them.
        what: feature that needs them, for the message.

    Raises:
        UserError: a module is missing; the remedy is the command that installs it.
    """
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"{what} needs the package `{missing[0]}`, which is not installed.",
            remedy=f"Install it: `pip install 'tunesmith[{extra}]'`.",
        )
