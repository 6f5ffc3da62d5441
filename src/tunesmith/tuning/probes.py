"""Probes of frozen models, which trials share: a head is fitted once for a model and how its texts are read."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from tunesmith.recipe import Recipe
from tunesmith.run import Run
from tunesmith.run.files import write_atomically

_FILE = "probe.safetensors"
_DECISIVE = ("pooling", "augment", "bf16", "acceleration")
"""Keys of `train` that change the features of the frozen model, or the rows that a probe is fitted on."""


class Probes:
    """A folder of probes.

    Args:
        folder: folder of the search's probes.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def lend(self, recipe: Recipe, share: float, run: Run) -> None:
        """Puts a probe that fits into the run's folder: of the same rows, else of all rows."""
        target = run.checkpoints / _FILE
        for path in (self._path(recipe, share), self._path(recipe, 1.0)):
            if path.is_file() and not target.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)

    def keep(self, recipe: Recipe, share: float, run: Run) -> None:
        """Keeps the probe that the run has fitted, for other trials."""
        made = run.checkpoints / _FILE
        if made.is_file() and not any(self._path(recipe, it).is_file() for it in (share, 1.0)):
            write_atomically(self._path(recipe, share), made.read_bytes())

    def _path(self, recipe: Recipe, share: float) -> Path:
        train = recipe.train.model_dump(mode="json")
        known = {
            "model": recipe.model,
            "data": recipe.data.model_dump(mode="json"),
            "train": {key: train[key] for key in _DECISIVE},
            "share": share,
        }
        name = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:16]
        return self.folder / f"{name}.safetensors"
