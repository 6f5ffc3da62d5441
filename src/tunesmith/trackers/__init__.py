"""Trackers of experiments. Each module in this folder is one, with the name that `train.report_to` takes.

A tracker opens an object of accelerate (`accelerate.tracking`) for a run; `_tracking` gives it the recipe, the
curves, the scores and the report. By default, a tracker writes to this machine and asks no server; whoever has set
the tracker's own variables (`MLFLOW_TRACKING_URI`, `WANDB_MODE`, …) gets what they say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.extras import refuse_without
from tunesmith.registry import Registry

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

PROJECT = "tunesmith"
"""The project or experiment of all runs, unless the tracker's own variable names another."""


@dataclass(frozen=True)
class TrackedRun:
    """A run to be tracked.

    Args:
        name: name of the run folder.
        folder: folder within the run folder for the tracker's own files; it may not exist yet.
        run_id: id of the run.
        step: optimizer steps that are done: more than 0 where the run resumes.
        known: what the tracker recorded when it was opened for this run before; empty for a new run.
    """

    name: str
    folder: Path
    run_id: str
    step: int
    known: JsonObject


@dataclass(frozen=True)
class Opened:
    """A tracker that has begun.

    Args:
        tracker: object of accelerate with `store_init_configuration`, `log` and `finish`.
        record: values by which a later process opens the same entry.
        last_step: last step that it holds already; those up to it are not logged again.
        has_recipe: whether it holds the recipe already.
        save: function that stores a file as an artefact; None where it has no artefacts.
        close: function that ends the entry; its argument says whether the run came to its end.
    """

    tracker: Any
    record: JsonObject = field(default_factory=dict)
    last_step: int = 0
    has_recipe: bool = False
    save: Callable[[Path], object] | None = None
    close: Callable[[bool], object] | None = None

    def finish(self, is_done: bool) -> None:
        """Ends the entry."""
        if self.close is not None:
            self.close(is_done)
        else:
            self.tracker.finish()


@dataclass(frozen=True)
class Tracker:
    """One tracker.

    Args:
        summary: one-line description for `tunesmith list`.
        open: function that begins or continues the entry of a run.
        modules: additional Python modules that it needs.
        extra: extra of this package that installs these modules.
    """

    summary: str
    open: Callable[[TrackedRun], Opened]
    modules: tuple[str, ...] = ()
    extra: str = ""


TRACKERS: Registry[Tracker] = Registry("tunesmith.trackers", "tracker", Tracker)


def refuse_unusable(names: Sequence[str]) -> None:
    """Raises an error if a tracker does not exist, or its package is missing.

    Raises:
        UnknownNameError: there is no tracker of that name; the message lists those there are.
        UserError: a package is not installed.
    """
    for name in names:
        tracker = TRACKERS.get(name)
        refuse_without(tracker.modules, tracker.extra, f"train.report_to `{name}`")
