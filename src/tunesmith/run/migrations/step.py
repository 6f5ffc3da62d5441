"""What a migration step is: for each kind of document that it changes, a function that makes the new one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from tunesmith.types import JsonObject

Document = JsonObject
Kind = Literal["manifest", "metrics", "state"]
Step = Mapping[Kind, Callable[[Document], Document]]


def renamed(document: Document, names: Mapping[str, str]) -> Document:
    """A copy with keys renamed, in the same order; a new name that is there already wins."""
    changed = {names.get(key, key): value for key, value in document.items()}
    return changed | {new: document[new] for new in names.values() if new in document}
