"""The listener that gives events to trackers: recipe, curves, final scores, report.

A tracker that fails is reported once and left out from then on: it may be a disk or a server of somebody else, and
a training is worth more than its curves. The run's own `events.jsonl` has them all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith import events
from tunesmith.run import Run
from tunesmith.trackers import TRACKERS, Opened, TrackedRun

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

_FOLDER, _ENTRY = "trackers", "trackers"
"""The folder of a run with files of trackers; the entry of its manifest with what they recorded."""


class Tracking:
    """A listener that passes a run to trackers.

    Args:
        names: names of trackers, as in `train.report_to`.
        run: run that is tracked.
        warn: takes a line for the user.
    """

    def __init__(self, names: Sequence[str], run: Run, warn: Callable[[str], None]) -> None:
        self._names, self._run, self._warn = list(dict.fromkeys(names)), run, warn
        self._opened: dict[str, Opened] = {}
        self._has_begun = False

    def __call__(self, event: events.Event) -> None:
        """Takes one event."""
        match event:
            case events.Started():
                self._begin(event.step)
            case events.Step(is_logged=True):
                names = ("loss", "learning_rate", "grad_norm", "epoch")
                self._log({f"train/{name}": getattr(event, name) for name in names}, event.step)
            case events.Evaluation():
                self._log({f"validation/{name}": value for name, value in event.scores.items()}, event.step)
            case events.Logged():
                self._log(event.values, event.step)
            case events.Finished():
                self._finish()
            case events.Failed():
                self._close(is_done=False)

    def _begin(self, step: int) -> None:
        if self._has_begun or not self._names:
            return
        self._has_begun = True
        manifest = self._run.manifest()
        known = manifest.get(_ENTRY, {})
        for name in self._names:
            self._guarded(name, self._open, name, step, manifest, known.get(name, {}))
        self._run.update_manifest(**{
            _ENTRY: {**known, **{name: opened.record for name, opened in self._opened.items()}}
        })  # fmt: skip

    def _open(self, name: str, step: int, manifest: JsonObject, known: JsonObject) -> None:
        folder = self._run.path / _FOLDER / name
        tracked = TrackedRun(self._run.path.resolve().name, folder, manifest["run_id"], step, known)
        opened = self._opened[name] = TRACKERS.get(name).open(tracked)
        if not opened.has_recipe:
            opened.tracker.store_init_configuration(_hyperparameters(manifest))

    def _log(self, values: Mapping[str, float], step: int) -> None:
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        for name, opened in list(self._opened.items()):
            if step > opened.last_step:
                self._guarded(name, opened.tracker.log, finite, step=step)

    def _finish(self) -> None:
        metrics = self._run.metrics
        step = int(metrics["train"]["steps"])
        self._begin(step)
        final = dict(_final(metrics))
        for name, opened in list(self._opened.items()):
            self._guarded(name, opened.tracker.log, final, step=step)
            if opened.save is not None:
                self._guarded(name, opened.save, Path(self._run.report_file))
        self._close(is_done=True)

    def _close(self, *, is_done: bool) -> None:
        for name, opened in list(self._opened.items()):
            self._guarded(name, opened.finish, is_done)
        self._opened.clear()

    def _guarded(self, name: str, act: Callable[..., object], *args: Any, **kwargs: Any) -> None:
        """Calls a function of a tracker; one that fails is left out."""
        if name not in self._opened and act != self._open:
            return  # it failed with the call before
        try:
            act(*args, **kwargs)
        except Exception as error:  # whatever a tracker raises
            self._opened.pop(name, None)
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            self._warn(f"the tracker {name} failed and gets nothing from here on: {reason}")


def _hyperparameters(manifest: JsonObject) -> dict[str, str | int | float | bool]:
    """Every value of the recipe by its dotted key, and the names of hooks."""
    found = dict(_flat(manifest["used"]))
    for name, entry in manifest.get("hooks", {}).items():
        entries = entry if isinstance(entry, list) else [entry]
        found[f"hooks.{name}"] = ", ".join(one["name"] for one in entries)
    return found


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str | int | float | bool]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, str | int | float | bool):
            yield prefix + name, value
        elif value is not None:
            yield prefix + name, ", ".join(map(str, value))


def _final(metrics: JsonObject) -> Iterator[tuple[str, float]]:
    """The scores with the ends of their intervals, and those of the baselines."""
    for split, scores in metrics["splits"].items():
        for name, score in scores.items():
            ends = {"": score["value"], "_low": score["low"], "_high": score["high"]}
            yield from ((f"{split}/{name}{end}", value) for end, value in ends.items() if value is not None)
    for baseline, values in metrics.get("baselines", {}).items():
        yield from (
            (f"baselines/{baseline}/{name}", value) for name, value in values.items() if value is not None
        )
