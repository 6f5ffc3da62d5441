"""The champion: which run of a folder of pointers is served, and the history of how it came to that.

    REGISTRY/
      champion.json            the pointer: number of the promotion that holds, and its run
      history/000001.json, …   every promotion and roll-back: who, when, why, evidence, SHA-256 of each file
      canaries/….json          canaries that a server has rolled back, and why

An entry of the history is written first, and then the pointer moves, in one rename. A process that is killed
leaves the old pointer or the new one. An entry above the pointer never held: it is not listed, and the next
promotion takes its number. One process at a time writes; others wait for it. Readers need no lock.

The registry holds no copy of a model. What the pointer names is checked when it moves, and again by whoever
loads it.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tunesmith.errors import RecipeError, RunError
from tunesmith.run.completeness import answering_files, complete_run, refuse_changed
from tunesmith.run.files import sync
from tunesmith.run.folder import Run
from tunesmith.run.json_files import read_json, write_json
from tunesmith.run.locking import needing_locks

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

POINTER = "champion.json"
FORMAT = 1
_HISTORY = "history"
_CANARIES = "canaries"
_LOCK = ".lock"
_WAIT_S = 60.0
_POLL_S = 0.02

Action = Literal["promote", "rollback"]


@dataclass(frozen=True)
class Promotion:
    """One entry of the history.

    Args:
        number: 1 for the first.
        action: what made it: `promote` or `rollback`.
        run: folder of the run that was the champion from then on.
        run_id: id of that run.
        task: its task.
        at: when, in UTC, as ISO 8601.
        by: who.
        reason: why.
        evidence: what it rests on, such as the tests of a comparison; plain JSON.
        files: SHA-256 of each file of the run on which its answers depend.
        previous: number of the promotion to which a roll-back returns; None where there is none.
    """

    number: int
    action: Action
    run: Path
    run_id: str
    task: str
    at: str
    by: str
    reason: str
    evidence: JsonObject = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    previous: int | None = None

    def to_json(self) -> JsonObject:
        """The entry as plain JSON."""
        return {
            "number": self.number, "action": self.action, "run": str(self.run), "run_id": self.run_id,
            "task": self.task, "at": self.at, "by": self.by, "reason": self.reason, "evidence": self.evidence,
            "files": dict(self.files), "previous": self.previous,
        }  # fmt: skip

    def checked_run(self) -> Run:
        """The run, if it is complete and has the files that were promoted.

        Raises:
            RunError: it is gone, incomplete or changed.
        """
        run = complete_run(self.run)
        refuse_changed(run, self.files)
        return run


class Registry:
    """A folder that names the champion.

    Args:
        folder: the folder; made by the first promotion.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.pointer_file = self.folder / POINTER
        self._entries = self.folder / _HISTORY

    # ---- reading ----

    def champion(self) -> Path:
        """The folder of the run that is the champion.

        Raises:
            RunError: there is none.
        """
        return self.current().run

    def current(self) -> Promotion:
        """The promotion that holds.

        Raises:
            RunError: there is none, or a newer version or something else wrote the folder.
        """
        number = self._number()
        if number is None:
            raise RunError(
                f"`{self.folder}` has no champion.",
                remedy=f"Name one: `tunesmith promote RUN --registry {self.folder}`.",
            )
        return self._entry(number)

    def history(self) -> list[Promotion]:
        """Every promotion and roll-back, the oldest first; empty before the first."""
        return [self._entry(number) for number in range(1, (self._number() or 0) + 1)]

    # ---- writing ----

    def promote(
        self,
        run: str | os.PathLike[str],
        *,
        by: str,
        reason: str,
        evidence: Mapping[str, object] | None = None,
    ) -> Promotion:
        """Makes a run the champion.

        Args:
            run: folder of a finished run.
            by: who promotes it.
            reason: why.
            evidence: what that rests on, as plain JSON.

        Raises:
            RunError: the run is incomplete, is the champion already, or is for another task than the champion.
            RecipeError: `by` or `reason` is empty, or the evidence is not JSON.
        """
        _refuse_unsaid(by=by, reason=reason)
        kept = _as_json(evidence or {})
        found = complete_run(run)
        files, task = answering_files(found), found.recipe().task
        with self._locked():
            number = self._number()
            before = None if number is None else self._entry(number)
            if before is not None:
                _refuse_unfit(before, found, files, task)
            where = found.path.resolve()
            return self._move(
                Promotion(
                    (number or 0) + 1,
                    "promote",
                    where,
                    found.run_id,
                    task,
                    _now(),
                    by,
                    reason,
                    kept,
                    files,
                    number,
                )
            )

    def rollback(self, *, by: str, reason: str) -> Promotion:
        """Makes the run the champion that was so before the last promotion; again, the one before that.

        Args:
            by: who rolls back.
            reason: why.

        Raises:
            RunError: there was no champion before, or its files are gone or have changed.
            RecipeError: `by` or `reason` is empty.
        """
        _refuse_unsaid(by=by, reason=reason)
        self.current()
        with self._locked():
            now = self.current()
            if now.previous is None:
                raise RunError(
                    f"`{now.run}` is the first champion of `{self.folder}`, and there is none to go back to.",
                    remedy=f"Name another: `tunesmith promote RUN --registry {self.folder}`.",
                )
            target = self._entry(now.previous)
            target.checked_run()
            evidence: JsonObject = {"rolled_back": now.number, "restored": target.number}
            return self._move(
                replace(
                    target,
                    number=now.number + 1,
                    action="rollback",
                    at=_now(),
                    by=by,
                    reason=reason,
                    evidence=evidence,
                )
            )

    # ---- canaries ----

    def remember_canary(
        self, run: str | os.PathLike[str], *, rule: str, evidence: Mapping[str, object]
    ) -> Path:
        """Keeps that a canary was rolled back, and why.

        Args:
            run: folder of the run that was the canary.
            rule: what it has broken.
            evidence: what that rests on, as plain JSON.

        Returns:
            The file.
        """
        found = Run(run)
        files = answering_files(found)
        file = self._canary_file(files)
        file.parent.mkdir(parents=True, exist_ok=True)
        known = {"format": FORMAT, "run": self._named(found.path.resolve()), "run_id": found.run_id}
        write_json(
            file, {**known, "at": _now(), "rule": rule, "evidence": _as_json(evidence), "files": files}
        )
        return file

    def remembered_canary(self, run: str | os.PathLike[str]) -> JsonObject | None:
        """What is kept of a canary that was rolled back, with its `file`; None for others, or other weights."""
        file = self._canary_file(answering_files(Run(run)))
        return self._read(file) | {"file": str(file)} if file.is_file() else None

    def _canary_file(self, files: Mapping[str, str]) -> Path:
        together = hashlib.sha256(json.dumps(dict(files), sort_keys=True).encode()).hexdigest()
        return self.folder / _CANARIES / f"{together[:16]}.json"

    # ---- the pointer ----

    def _move(self, promotion: Promotion) -> Promotion:
        """Writes an entry, and then the pointer to it."""
        named = {**promotion.to_json(), "run": self._named(promotion.run)}
        self._entries.mkdir(exist_ok=True)
        write_json(self._entry_file(promotion.number), {"format": FORMAT, **named})
        sync(self._entries)
        pointer = {"format": FORMAT, "promotion": promotion.number}
        write_json(self.pointer_file, pointer | {name: named[name] for name in ("run", "run_id", "at")})
        sync(self.folder)
        return promotion

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Holds the folder for this process; waits while another one writes."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._refuse_foreign()
        descriptor = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            self._acquire(descriptor)
            self._clean_up()
            yield
        finally:
            os.close(descriptor)

    def _refuse_foreign(self) -> None:
        """Raises RunError for a folder that holds something else."""
        known = {POINTER, _HISTORY, _CANARIES, _LOCK}
        others = [name for name in os.listdir(self.folder) if name not in known and name[:1] != "."]
        if others and not self.pointer_file.exists():
            raise RunError(
                f"the registry `{self.folder}` has no `{POINTER}`, but it has `{min(others)}`.",
                remedy="Give an empty folder, or one that is not there yet.",
            )

    def _acquire(self, descriptor: int) -> None:
        import fcntl

        until = time.monotonic() + _WAIT_S
        while True:
            try:
                with needing_locks(self.folder):
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() < until:
                    time.sleep(_POLL_S)
                    continue
                raise RunError(
                    f"another process has been writing to `{self.folder}` for {_WAIT_S:.0f} s.",
                    remedy="Wait for it to end.",
                ) from None
            return

    def _clean_up(self) -> None:
        """Removes what a killed process has left half-written."""
        for folder in (self.folder, self._entries):
            for file in folder.glob(".*.json.*"):
                file.unlink()

    # ---- files ----

    def _number(self) -> int | None:
        if not self.pointer_file.is_file():
            if self.folder.exists() and not self.folder.is_dir():
                raise RunError(f"`{self.folder}` is a file.", remedy="Give the folder of a registry.")
            return None
        return int(self._read(self.pointer_file)["promotion"])

    def _entry_file(self, number: int) -> Path:
        return self._entries / f"{number:06d}.json"

    def _entry(self, number: int) -> Promotion:
        known = self._read(self._entry_file(number))
        known.pop("format")
        return Promotion(**{**known, "run": (self.folder / known["run"]).resolve()})

    def _read(self, file: Path) -> JsonObject:
        try:
            found = read_json(file)
        except RunError as error:
            raise RunError(
                error.rule, remedy="The registry is damaged; put the file back from a copy."
            ) from None
        if found.get("format") != FORMAT:
            raise RunError(
                f"the format of a registry must be {FORMAT}, got `{found.get('format')}`.",
                location=str(file),
                remedy="Install the version of tunesmith that wrote it.",
            )
        return found

    def _named(self, run: Path) -> str:
        """The path of a run: relative if it is near, so that both can be moved together."""
        home = self.folder.resolve()
        return os.path.relpath(run, home) if run.is_relative_to(home.parent) else str(run)


def is_registry(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder names a champion."""
    return (Path(folder) / POINTER).is_file()


def _refuse_unsaid(**said: str) -> None:
    for name, value in said.items():
        if not value.strip():
            raise RecipeError(
                f"`{name}` must be said, got `{value}`: the history is for those who come later.",
                remedy=f"Say it in a few words, as `{name}`.",
            )


def _refuse_unfit(before: Promotion, run: Run, files: Mapping[str, str], task: str) -> None:
    """Raises RunError for the champion itself, or a run for another task."""
    if before.run == run.path.resolve() and dict(before.files) == dict(files):
        raise RunError(f"`{run.path}` is the champion already.", remedy="Nothing has to be done.")
    if before.task != task:
        raise RunError(
            f"the champion is for {before.task}, and `{run.path}` is for {task}.",
            remedy="Give another registry: clients of this one would not understand the answers.",
        )


def _as_json(evidence: Mapping[str, object]) -> JsonObject:
    try:
        found: JsonObject = json.loads(json.dumps(evidence, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise RecipeError(
            f"the evidence of a promotion must be plain JSON: {error}.",
            remedy="Give finite numbers and texts.",
        ) from None
    return found


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
