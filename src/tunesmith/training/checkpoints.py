"""Checkpoints: only safetensors and JSON, written whole or not at all, and checked before they are used.

There always is at least one whole checkpoint. A new one is written into a temporary folder: every file is synced
and read back, and a manifest of SHA-256 checksums is written last. The folder is synced and renamed. Only then are
older ones removed; the newest and the best stay. The name of a folder shows its state:

    .new-step-00040    being written
    step-00040         whole
    .old-step-00040    replaced by another of the same step; restored if that one is not whole
    .gone-step-00040   being removed

The checksums find damage that comes later. A run then resumes from the newest whole checkpoint, and ends with the
best whole one, with a notice. A checkpoint has the id of its run, and one of another run is refused.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.errors import RunError
from tunesmith.run import Run, sha256_of, write_json
from tunesmith.run.files import free_bytes, give_usual_rights, sync
from tunesmith.run.migrations import FORMAT, format_of, migrate
from tunesmith.training.tensor_files import bytes_of, in_words, load_tensors, save_tensors

if TYPE_CHECKING:
    import torch

    from tunesmith.types import JsonObject

_MODEL, _OPTIMIZER, _STATE, _MANIFEST = (
    "model.safetensors",
    "optimizer.safetensors",
    "state.json",
    "manifest.json",
)
_SLACK_BYTES = 2**20
"""Room for everything else that a run writes."""
_NEW, _OLD, _GONE = ".new-", ".old-", ".gone-"


@dataclass
class State:
    """The state of a training besides its weights.

    Args:
        step: number of optimizer steps done.
        seconds: time spent training, over all starts.
        tokens: number of real tokens trained on.
        examples: number of rows trained on.
        best_step: step with the best validation metric; -1 before the first validation.
        best_value: validation metric of that step.
        evals_without_improvement: number of validations since then.
        history: scores of every validation, `{"step": …, "accuracy": …}`.
        skipped: steps, from 0, whose batches are left out, since a number was not finite after them.
        spikes: steps whose loss was far above that of the steps before, `{"step": …, "loss": …}`.
        recent_losses: losses of the last steps, by which the next spike is known.
        hooks: states of an optimizer, a scheduler and callbacks of a program; empty without any.
    """

    step: int = 0
    seconds: float = 0.0
    tokens: int = 0
    examples: int = 0
    best_step: int = -1
    best_value: float = 0.0
    evals_without_improvement: int = 0
    history: list[JsonObject] = field(default_factory=list)
    skipped: list[int] = field(default_factory=list)
    spikes: list[JsonObject] = field(default_factory=list)
    recent_losses: list[float] = field(default_factory=list)
    hooks: JsonObject = field(default_factory=dict)

    def to_json(self) -> JsonObject:
        """The content of `state.json`; hooks that a run does not have are not among it."""
        found = asdict(self)
        return found if self.hooks else {name: v for name, v in found.items() if name != "hooks"}


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint on disk."""

    path: Path

    @property
    def step(self) -> int:
        """Optimizer steps done when it was written."""
        return int(self.path.name.removeprefix("step-"))

    def manifest(self) -> JsonObject:
        """The checksums of its files, its format, and the id of its run."""
        found: JsonObject = json.loads((self.path / _MANIFEST).read_text(encoding="utf-8"))
        return found

    def problem(self) -> str:
        """What is wrong with its files; empty when all checksums agree."""
        try:
            expected = self.manifest()["sha256"]
        except (OSError, ValueError, KeyError, TypeError):
            return "its manifest is missing or damaged"
        for name, checksum in expected.items():
            path = self.path / name
            if not path.is_file():
                return f"{name} is missing"
            if sha256_of(path) != checksum:
                return f"{name} is damaged"
        return "" if {_MODEL, _STATE} <= expected.keys() else "it is incomplete"

    def state(self) -> State:
        """The run's state."""
        content = json.loads((self.path / _STATE).read_text(encoding="utf-8"))
        return State(**migrate("state", content, format_of(self.manifest())))

    def model_tensors(self) -> dict[str, torch.Tensor]:
        """The weights, by name."""
        return load_tensors(self.path / _MODEL)

    def optimizer_tensors(self) -> dict[str, torch.Tensor]:
        """The optimizer's state, by name."""
        return load_tensors(self.path / _OPTIMIZER)


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: `RUN/checkpoints`.
        run_id: id of the run.
        accepts_unnamed: whether checkpoints without the id of a run belong to it.
    """

    def __init__(self, folder: Path, run_id: str = "", *, accepts_unnamed: bool = False) -> None:
        self.folder = folder
        self.run_id, self.accepts_unnamed = run_id, accepts_unnamed
        self.notices: list[str] = []
        self.logged = 0
        """The last step that was saved, by the log of the run."""

    @classmethod
    def of(cls, run: Run) -> Checkpoints:
        """The checkpoints of a run; format 1 did not write its id into them."""
        manifest = run.manifest()
        is_from_format_1 = manifest.get("migrated_from") == 1
        return cls(run.checkpoints, str(manifest.get("run_id", "")), accepts_unnamed=is_from_format_1)

    def newest(self) -> Checkpoint | None:
        """The newest whole checkpoint; damaged ones are passed over, with a notice.

        Raises:
            RunError: it belongs to another run.
        """
        self._recover()
        for checkpoint in self._all():
            problem = checkpoint.problem()
            if not problem:
                self._refuse_of_another_run(checkpoint)
                if checkpoint.step < self.logged and not self.notices:
                    self.notices.append(f"{self.at(self.logged).path.name} was saved, and is missing now")
                return checkpoint
            self.notices.append(f"{checkpoint.path.name} is passed over: {problem}")
        if self.logged:
            self.notices.append("no whole checkpoint is left: training starts again from step 1")
        return None

    def steps(self) -> list[int]:
        """The steps of all checkpoints, whole or not, in order."""
        return sorted(checkpoint.step for checkpoint in self._all())

    def at(self, step: int) -> Checkpoint:
        """The checkpoint of a step."""
        return Checkpoint(self.folder / f"step-{step:05d}")

    def best(self, state: State, metric: str, *, greater_is_better: bool) -> Checkpoint | None:
        """The checkpoint of the best step; None if the best weights are already in memory.

        If the best one is damaged, the next best whole one is used instead, in `state` too, with a notice. If no
        other step was validated, the weights in memory are used.

        Args:
            state: state of the weights in memory.
            metric: name of the metric that chooses.
            greater_is_better: whether larger values of the metric are better.
        """
        if state.best_step == state.step:
            return None
        best = self.at(state.best_step)
        problem = best.problem()
        if problem:
            best = self.at(self._next_best_step(state, metric, 1 if greater_is_better else -1))
            self.notices.append(
                f"the best checkpoint, {self.at(state.best_step).path.name}, cannot be used: {problem}. "
                f"Step {best.step} is used instead"
            )
            scores = {entry["step"]: entry[metric] for entry in state.history}
            state.best_step, state.best_value = best.step, scores.get(best.step, state.best_value)
        if best.step == state.step:
            return None
        self._refuse_of_another_run(best)
        return best

    def _next_best_step(self, state: State, metric: str, sign: int) -> int:
        whole = {checkpoint.step for checkpoint in self._all() if not checkpoint.problem()} | {state.step}
        scored = [
            (sign * entry[metric], entry["step"])
            for entry in state.history
            if entry["step"] in whole and math.isfinite(entry[metric])
        ]
        return max(scored)[1] if scored else state.step

    def save(
        self,
        state: State,
        model_tensors: dict[str, torch.Tensor],
        optimizer_tensors: dict[str, torch.Tensor],
    ) -> Checkpoint:
        """Writes a checkpoint, then removes those that are neither the newest nor the best.

        Raises:
            RunError: the disk has too little space, or a file is not read back as it was written; the older
                checkpoints stay.
        """
        self._recover()
        self._refuse_full_disk(state, bytes_of(model_tensors), bytes_of(optimizer_tensors))
        target = self.at(state.step)
        aside = target.path.with_name(_NEW + target.path.name)
        self._make_folder()
        aside.mkdir()
        try:
            checksums = {
                _MODEL: save_tensors(aside / _MODEL, model_tensors),
                _OPTIMIZER: save_tensors(aside / _OPTIMIZER, optimizer_tensors),
            }
            write_json(aside / _STATE, state.to_json())
            checksums[_STATE] = sha256_of(aside / _STATE)
            give_usual_rights(aside)
            named = {"format": FORMAT, **({"run_id": self.run_id} if self.run_id else {})}
            write_json(aside / _MANIFEST, {**named, "sha256": checksums})
            sync(aside)
            self._put_in_place(aside, target.path)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
        self.prune(state)
        self._recover()  # removes an older one of the same step
        return target

    def prune(self, state: State) -> None:
        """Removes the checkpoints that are neither that of a state nor its best one."""
        for checkpoint in self._all():
            if checkpoint.step not in {state.step, state.best_step}:
                _remove(checkpoint.path)

    def _refuse_full_disk(self, state: State, model_bytes: int, optimizer_bytes: int) -> None:
        """Raises RunError where the disk has no space for a checkpoint, and for the model at the end.

        Before the first one of a run, there must be space for three: the best, the newest, and the next.
        """
        whole, before = model_bytes + optimizer_bytes, self.steps()
        needed = (whole if before else 3 * whole) + model_bytes + _SLACK_BYTES
        free = free_bytes(self.folder)
        if free >= needed:
            return
        last = f"step {before[-1]}" if before else "the start"
        raise RunError(
            f"the checkpoint of step {state.step} cannot be saved: {in_words(needed)} must be free for it and for "
            f"the model at the end, and {in_words(free)} are; {in_words(needed - free)} are missing.",
            location=str(self.folder),
            remedy=f"Free space on this disk; the same command resumes from {last}.",
        )

    def _make_folder(self) -> None:
        if not self.folder.is_dir():
            self.folder.mkdir(parents=True)
            sync(self.folder.parent)

    def _put_in_place(self, aside: Path, target: Path) -> None:
        if target.is_dir():
            target.rename(target.with_name(_OLD + target.name))
        aside.rename(target)
        sync(self.folder)

    def _recover(self) -> None:
        """Completes or undoes the work of a process that was killed."""
        for prefix in (_NEW, _GONE):
            for path in self.folder.glob(f"{prefix}*"):
                shutil.rmtree(path)
        for old in self.folder.glob(f"{_OLD}*"):
            target = old.with_name(old.name.removeprefix(_OLD))
            if target.is_dir() and (not Checkpoint(target).problem() or Checkpoint(old).problem()):
                _remove(old)
                continue
            if target.is_dir():
                _remove(target)
            old.rename(target)
            sync(self.folder)

    def _refuse_of_another_run(self, checkpoint: Checkpoint) -> None:
        found = str(checkpoint.manifest().get("run_id", ""))
        if found == self.run_id or (not found and self.accepts_unnamed):
            return
        raise RunError(
            f"a checkpoint must be of the run `{self.run_id}`, and `{checkpoint.path}` is of "
            f"{f'the run `{found}`' if found else 'a run without an id'}.",
            remedy="Move it back to its own run; this one resumes from its other checkpoints.",
        )

    def _all(self) -> Iterator[Checkpoint]:
        found = [Checkpoint(p) for p in self.folder.glob("step-*") if p.is_dir()]
        yield from sorted(found, key=lambda checkpoint: checkpoint.step, reverse=True)


def model_tensors(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The weights and buffers by name; a weight with several names (tied embeddings) is there once."""
    persistent = model.state_dict()
    buffers = {name: b for name, b in model.named_buffers() if name in persistent}
    return dict(model.named_parameters()) | buffers


def load_model_tensors(model: torch.nn.Module, tensors: dict[str, torch.Tensor]) -> None:
    """Loads the result of `model_tensors` into a model.

    Raises:
        KeyError: a weight is missing.
    """
    absent = model_tensors(model).keys() - tensors.keys()
    if absent:
        raise KeyError(sorted(absent)[0])
    model.load_state_dict(tensors, strict=False)


def _remove(folder: Path) -> None:
    """Renames a checkpoint and then removes it, so that a part of one is never found under its name."""
    gone = folder.with_name(_GONE + folder.name.removeprefix(_OLD))
    shutil.rmtree(gone, ignore_errors=True)
    folder.rename(gone)
    shutil.rmtree(gone)
