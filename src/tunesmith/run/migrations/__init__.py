"""Files of an older run become those of today, in memory.

The format of a run is a number in its manifest. One file in this folder is one step, named after the format that
it starts from. A run passes through all steps from its own format on. A new format needs a new step, entered here.
"""

from __future__ import annotations

from tunesmith.run.migrations import from_1
from tunesmith.run.migrations.step import Document, Kind, Step

_STEPS: tuple[Step, ...] = (from_1.STEP,)

FORMAT = 1 + len(_STEPS)
"""The format that this version writes."""


def format_of(manifest: Document) -> int:
    """The format of a run; the first one did not stand in its manifest."""
    found: int = manifest.get("format", 1)
    return found


def migrate(kind: Kind, document: Document, found: int) -> Document:
    """A document of a run in today's format.

    Args:
        kind: Kind of the document.
        document: Content of the file; left as it is.
        found: Format of the run that it belongs to.
    """
    for step in _STEPS[found - 1 :]:
        document = step.get(kind, dict)(document)
    return document
