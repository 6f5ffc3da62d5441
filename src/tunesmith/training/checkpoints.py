"""Checkpoints: safetensors and JSON only, whole or absent, and checked before they are believed.

A checkpoint is written into a folder aside, synced, given a manifest of SHA-256 sums as its last file, and
renamed into place. Whatever happens before the rename leaves the older checkpoints as they were; whatever
happens to the files afterwards is found by the sums, and the next older whole checkpoint is used, with a
notice. The newest and the best are kept.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.errors import RunError
from tunesmith.files import give_usual_rights
from tunesmith.run import sha256_of, write_json

if TYPE_CHECKING:
    import torch

_MODEL, _OPTIMIZER, _STATE, _MANIFEST = (
    "model.safetensors",
    "optimizer.safetensors",
    "state.json",
    "manifest.json",
)


@dataclass
class State:
    """What a run must know besides its weights.

    Args:
        step: optimizer steps done.
        seconds: spent training, over all starts.
        tokens: real tokens trained on.
        examples: rows trained on.
        best_step: the step with the best validation metric; none yet is -1.
        best_value: that metric.
        evals_without_improvement: validations since then.
        history: every validation, `{"step": …, "accuracy": …}`.
    """

    step: int = 0
    seconds: float = 0.0
    tokens: int = 0
    examples: int = 0
    best_step: int = -1
    best_value: float = 0.0
    evals_without_improvement: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint on disk."""

    path: Path

    @property
    def step(self) -> int:
        """Optimizer steps done when it was written."""
        return int(self.path.name.removeprefix("step-"))

    def problem(self) -> str:
        """What is wrong with its files; empty when all sums agree."""
        try:
            sums = json.loads((self.path / _MANIFEST).read_text(encoding="utf-8"))["sha256"]
        except (OSError, ValueError, KeyError):
            return "its manifest is missing or damaged"
        for name, expected in sums.items():
            path = self.path / name
            if not path.is_file():
                return f"{name} is missing"
            if sha256_of(path) != expected:
                return f"{name} is damaged"
        return "" if {_MODEL, _STATE} <= sums.keys() else "it is incomplete"

    def state(self) -> State:
        """The run's state."""
        return State(**json.loads((self.path / _STATE).read_text(encoding="utf-8")))

    def model_tensors(self) -> dict[str, torch.Tensor]:
        """The weights, by name."""
        return _load(self.path / _MODEL)

    def optimizer_tensors(self) -> dict[str, torch.Tensor]:
        """The optimizer's state, by name."""
        return _load(self.path / _OPTIMIZER)


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: `RUN/checkpoints`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notices: list[str] = []

    def newest(self) -> Checkpoint | None:
        """The newest whole checkpoint; damaged ones are told in `notices` and passed over."""
        for checkpoint in self._all():
            problem = checkpoint.problem()
            if not problem:
                return checkpoint
            self.notices.append(f"{checkpoint.path.name} is passed over: {problem}")
        return None

    def at(self, step: int) -> Checkpoint:
        """The checkpoint of a step."""
        return Checkpoint(self.folder / f"step-{step:05d}")

    def whole(self, step: int) -> Checkpoint:
        """The checkpoint of a step, its sums looked at.

        Raises:
            RunError: it is damaged.
        """
        checkpoint = self.at(step)
        problem = checkpoint.problem()
        if problem:
            raise RunError(
                f"the checkpoint with the best validation metric cannot be used: {problem}.",
                location=str(checkpoint.path),
                remedy="Train again with `--force`, or into another `output_dir`.",
            )
        return checkpoint

    def save(
        self,
        state: State,
        model_tensors: dict[str, torch.Tensor],
        optimizer_tensors: dict[str, torch.Tensor],
    ) -> Checkpoint:
        """Writes a checkpoint and removes those that are neither the newest nor the best."""
        target = self.at(state.step)
        aside = self.folder / f".new-{target.path.name}"
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        try:
            _save(aside / _MODEL, model_tensors)
            _save(aside / _OPTIMIZER, optimizer_tensors)
            write_json(aside / _STATE, asdict(state))
            sums = {name: sha256_of(aside / name) for name in (_MODEL, _OPTIMIZER, _STATE)}
            write_json(aside / _MANIFEST, {"sha256": sums})
            give_usual_rights(aside)
            shutil.rmtree(target.path, ignore_errors=True)
            aside.rename(target.path)
            _sync(self.folder)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
        self._prune(keep={state.step, state.best_step})
        return target

    def _all(self) -> Iterator[Checkpoint]:
        found = [Checkpoint(p) for p in self.folder.glob("step-*") if p.is_dir()]
        yield from sorted(found, key=lambda checkpoint: checkpoint.step, reverse=True)

    def _prune(self, keep: set[int]) -> None:
        for checkpoint in self._all():
            if checkpoint.step not in keep:
                shutil.rmtree(checkpoint.path)


def model_tensors(model: Any) -> dict[str, torch.Tensor]:
    """The weights by name, each once however many names it goes by (tied embeddings), and the buffers."""
    persistent = model.state_dict()
    buffers = {name: b for name, b in model.named_buffers() if name in persistent}
    return dict(model.named_parameters()) | buffers


def load_model_tensors(model: Any, tensors: dict[str, torch.Tensor]) -> None:
    """Puts back what `model_tensors` gave.

    Raises:
        KeyError: a weight is missing.
    """
    absent = model_tensors(model).keys() - tensors.keys()
    if absent:
        raise KeyError(sorted(absent)[0])
    model.load_state_dict(tensors, strict=False)


def _save(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    from safetensors.torch import save_file

    save_file({name: t.detach().contiguous() for name, t in tensors.items()}, path)
    _sync(path)


def _load(path: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    loaded: dict[str, torch.Tensor] = load_file(path)
    return loaded


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
