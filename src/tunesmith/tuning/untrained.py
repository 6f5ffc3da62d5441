"""What the untrained model computes, which trials share: fitted heads, and the likelihoods of a reference.

A probe is a head on the features of the frozen model, fitted once for a model and how its texts are read. The
reference of a preference loss is the likelihood of each reply under the base model.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from tunesmith.recipe import Recipe
from tunesmith.run import Run
from tunesmith.run.files import write_atomically
from tunesmith.training.run_tensors import lend_to_run

_PROBE = "probe"
_SHARED = (_PROBE, "reference-train", "reference-validation")
_DECISIVE = ("pooling", "augment", "bf16", "acceleration")
"""Keys of `train` that change what the untrained model computes, or for which rows."""


class Untrained:
    """A folder of what untrained models have computed.

    Args:
        folder: folder within that of the search.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def lend(self, recipe: Recipe, share: float, run: Run) -> None:
        """Puts what is known into the run's folder: of the same rows; a probe also of all rows."""
        for name in _SHARED:
            target = run.checkpoints / f"{name}.safetensors"
            for path in self._paths(name, recipe, share):
                if path.is_file() and not target.is_file():
                    lend_to_run(path, target, run.run_id)

    def keep(self, recipe: Recipe, share: float, run: Run) -> None:
        """Keeps what the run has computed, for other trials."""
        for name in _SHARED:
            made, paths = run.checkpoints / f"{name}.safetensors", self._paths(name, recipe, share)
            if made.is_file() and not any(path.is_file() for path in paths):
                write_atomically(paths[0], made.read_bytes())

    def _paths(self, name: str, recipe: Recipe, share: float) -> list[Path]:
        """Where something is: of these rows; and of all rows, if that will do."""
        shares = dict.fromkeys((share, 1.0)) if name == _PROBE else (share,)
        return [self.folder / f"{name}-{_key(recipe, it)}.safetensors" for it in shares]


def _key(recipe: Recipe, share: float) -> str:
    train = recipe.train.model_dump(mode="json")
    known = {
        "model": recipe.model,
        "data": recipe.data.model_dump(mode="json"),
        "train": {key: train[key] for key in _DECISIVE},
        "share": share,
    }
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:16]
