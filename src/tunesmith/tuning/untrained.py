"""What the untrained model computes, which trials share: fitted heads, and the likelihoods of a reference.

A probe is a head on the features of the frozen model, fitted once for a model and how its texts are read. The
reference of a preference loss is the likelihood of each reply under the base model.

Both depend on more than the model: a cache of frozen layers may keep their outputs in bfloat16, and adapters
divide products that are otherwise one. A difference of a rounding is enough for a trial that the final training
does not repeat, so only trials that compute alike share them.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from tunesmith.pipeline.training_plan import TrainingPlan
from tunesmith.run import Run
from tunesmith.run.files import write_atomically
from tunesmith.training.run_tensors import lend_to_run

_PROBE = "probe"
_SHARED = (_PROBE, "reference-train", "reference-validation")
_DECISIVE = ("pooling", "augment", "bf16", "acceleration", "add_tokens")
"""Keys of `train` that change what the untrained model computes, or for which rows."""
_OF_ADAPTER = ("lora_target_modules", "use_dora")


class Untrained:
    """A folder of what untrained models have computed.

    Args:
        folder: folder within that of the search.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def lend(self, plan: TrainingPlan, share: float, run: Run) -> None:
        """Puts what is known into the run's folder: of the same rows; a probe also of all rows."""
        for name in _SHARED:
            target = run.checkpoints / f"{name}.safetensors"
            for path in self._paths(name, plan, share):
                if path.is_file() and not target.is_file():
                    lend_to_run(path, target, run.run_id)

    def keep(self, plan: TrainingPlan, share: float, run: Run) -> None:
        """Keeps what the run has computed, for other trials."""
        for name in _SHARED:
            made, paths = run.checkpoints / f"{name}.safetensors", self._paths(name, plan, share)
            if made.is_file() and not any(path.is_file() for path in paths):
                write_atomically(paths[0], made.read_bytes())

    def _paths(self, name: str, plan: TrainingPlan, share: float) -> list[Path]:
        """Where something is: of these rows; and of all rows, if that will do."""
        shares = dict.fromkeys((share, 1.0)) if name == _PROBE else (share,)
        return [self.folder / f"{name}-{_key(plan, it)}.safetensors" for it in shares]


def _key(plan: TrainingPlan, share: float) -> str:
    recipe, cache = plan.recipe, plan.frozen_cache
    train = recipe.train.model_dump(mode="json")
    is_adapted = plan.opened.adapter is not None
    known = {
        "model": recipe.model,
        "data": recipe.data.model_dump(mode="json"),
        "train": {key: train[key] for key in (*_DECISIVE, *(_OF_ADAPTER if is_adapted else ()))},
        "is_adapted": is_adapted,
        "cached_layers": 0 if cache is None else cache.n_layers,
        "share": share,
    }
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:16]
