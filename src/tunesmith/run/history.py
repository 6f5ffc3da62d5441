"""The runs in a folder: their state and scores, and what each changed against its parent.

The parent of a run is the run whose model it began from. Without one, it is the last run of the same task on the
same data that began before. A folder that is damaged is listed with the reason, and hides no other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tunesmith.errors import RunError, first_line
from tunesmith.run.comparison import differing_values
from tunesmith.run.folder import Run
from tunesmith.run.locking import is_locked

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

State = Literal["finished", "unfinished", "running", "damaged"]

_DEEPEST = 3


@dataclass(frozen=True)
class Entry:
    """One run of a list.

    Args:
        path: its folder.
        state: whether it came to its end, can be resumed, is being written, or cannot be read.
        problem: why it cannot be read.
        began: when it began, as in the manifest.
        task: its task.
        primary: its primary score, as in `metrics.json`; empty without one.
        parent: the folder of its parent; None without one.
        parent_kind: `model`, if it began from the model of its parent; `data`, if both have the same data.
        changed: values of the parent and of this run by each key of the recipe that differs.
    """

    path: Path
    state: State
    problem: str = ""
    began: str = ""
    task: str = ""
    primary: JsonObject = field(default_factory=dict)
    parent: Path | None = None
    parent_kind: Literal["model", "data", ""] = ""
    changed: dict[str, tuple[Any, ...]] = field(default_factory=dict)

    def to_json(self) -> JsonObject:
        """The entry as `tunesmith list runs --json` gives it."""
        return {
            "run": str(self.path),
            "state": self.state,
            "problem": self.problem,
            "began": self.began,
            "task": self.task,
            "primary": self.primary,
            "parent": None if self.parent is None else str(self.parent),
            "parent_kind": self.parent_kind,
            "changed": {key: {"parent": then, "this": now} for key, (then, now) in self.changed.items()},
        }


@dataclass(frozen=True)
class _Read:
    """A run whose manifest can be read."""

    run: Run
    manifest: JsonObject

    @property
    def began(self) -> str:
        return str(self.manifest.get("started", ""))

    @property
    def requested(self) -> JsonObject:
        return dict(self.manifest.get("requested") or self.manifest.get("used") or {})

    @property
    def about(self) -> tuple[object, object]:
        """What it learns, and from what."""
        return self.requested.get("task"), self.manifest.get("data", {}).get("fingerprint")


def runs_in(folder: Path) -> list[Entry]:
    """The runs in a folder and its folders, the oldest first; those that cannot be read come last.

    Args:
        folder: a folder of runs, or a run.

    Raises:
        RunError: the folder is not there.
    """
    if not folder.is_dir():
        raise RunError(f"there is no folder `{folder}`.", remedy="Give the folder that holds the runs.")
    read: list[_Read] = []
    damaged: list[Entry] = []
    for path in _run_folders(folder, _DEEPEST):
        try:
            read.append(_Read(Run(path), _checked(Run(path).manifest())))
        except Exception as error:  # whatever a damaged file leads to
            damaged.append(Entry(path, "damaged", problem=first_line(error)))
    read.sort(key=lambda one: (one.began, str(one.run.path)))
    return [*(_entry(one, read[:number]) for number, one in enumerate(read)), *damaged]


def _run_folders(folder: Path, depth: int) -> Iterator[Path]:
    if (folder / "manifest.json").exists():
        yield folder
        return
    if depth:
        for child in sorted(child for child in folder.iterdir() if child.is_dir() and not child.is_symlink()):
            try:
                yield from _run_folders(child, depth - 1)
            except PermissionError:
                continue


def _checked(manifest: object) -> JsonObject:
    """Raises ValueError for a manifest that is JSON, but not what a run writes."""
    if not isinstance(manifest, dict):
        raise ValueError("manifest.json is not an object.")
    for key in ("requested", "used", "data", "model"):
        if not isinstance(manifest.get(key, {}), dict):
            raise ValueError(f"`{key}` of manifest.json is not an object.")
    return manifest


def _entry(one: _Read, earlier: Sequence[_Read]) -> Entry:
    parent, kind = _parent(one, earlier)
    found: JsonObject = {
        "began": one.began,
        "task": str(one.requested.get("task", "")),
        "parent": None if parent is None else parent.run.path,
        "parent_kind": kind,
        "changed": {} if parent is None else differing_values([parent.manifest, one.manifest]),
    }
    if not one.manifest.get("finished"):
        return Entry(one.run.path, "running" if is_locked(one.run.path) else "unfinished", **found)
    try:
        return Entry(one.run.path, "finished", primary=dict(one.run.metrics["primary"]), **found)
    except Exception as error:  # whatever a damaged file leads to
        return Entry(one.run.path, "damaged", problem=f"metrics.json: {first_line(error)}", **found)


def _parent(one: _Read, earlier: Sequence[_Read]) -> tuple[_Read | None, Literal["model", "data", ""]]:
    if one.manifest.get("model", {}).get("found_in") == "run":
        begun_from = Path(str(one.requested.get("model", "")))
        same = [other for other in earlier if other.run.path.resolve() == begun_from.resolve()]
        named = [other for other in earlier if other.run.path.name == begun_from.name]
        if same or named:  # the folder of the runs may have moved
            return (same or named)[-1], "model"
    alike = [other for other in earlier if other.about == one.about and one.about[1] is not None]
    return (alike[-1], "data") if alike else (None, "")
