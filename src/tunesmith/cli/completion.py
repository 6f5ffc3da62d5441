"""What the shell completes: names of tasks and methods, without loading any of them."""

from __future__ import annotations


def complete_tasks(incomplete: str) -> list[str]:
    """Names of tasks that begin so."""
    from tunesmith.tasks import TASKS

    return [name for name in TASKS.names() if name.startswith(incomplete)]


def complete_methods(incomplete: str) -> list[str]:
    """Names of methods that begin so."""
    from tunesmith.recipe import METHODS

    return [name for name in METHODS if name.startswith(incomplete)]


def complete_formats(incomplete: str) -> list[str]:
    """Names of formats of predictions that begin so."""
    from tunesmith.inference.writing import FORMATS

    return [name for name in FORMATS if name.startswith(incomplete)]
