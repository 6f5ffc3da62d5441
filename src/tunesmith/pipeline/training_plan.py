"""What is decided before the training: the result of `plan`, and what the phases after it read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunesmith.acceleration.frozen_cache import FrozenCache
from tunesmith.data.preparing import PreparedData
from tunesmith.encoded import Encoded
from tunesmith.evaluation.result import final_split
from tunesmith.pipeline.encode import EncodedData
from tunesmith.pipeline.open_model import OpenedModel
from tunesmith.pipeline.work import Work
from tunesmith.recipe import Recipe
from tunesmith.training.plan import Plan
from tunesmith.training.settings import Settings

if TYPE_CHECKING:
    import torch

    from tunesmith.types import Model, Tokenizer


@dataclass(frozen=True)
class TrainingPlan:
    """Everything that is decided before the training.

    Args:
        opened: data and model, the model on its device and with its frozen parts frozen.
        encoded: sequences of every split.
        recipe: recipe with every value filled in.
        batches: which sequences at which step.
        settings: numbers of the loop.
        device: device of the model.
        frozen_cache: what the frozen layers compute, where that is kept on disk.
    """

    opened: OpenedModel
    encoded: EncodedData
    recipe: Recipe
    batches: Plan
    settings: Settings
    device: torch.device
    frozen_cache: FrozenCache | None

    @property
    def model(self) -> Model:
        """The model in training."""
        return self.opened.model

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the model."""
        return self.opened.tokenizer

    @property
    def data(self) -> PreparedData:
        """Rows by split."""
        return self.opened.data

    @property
    def splits(self) -> Mapping[str, Encoded]:
        """Sequences by split."""
        return self.encoded.splits

    @property
    def final_split(self) -> str:
        """The split that counts."""
        return final_split(self.data.splits)


def wants_probe(work: Work, plan: TrainingPlan) -> bool:
    """Whether there is a head to begin, and a use for the probe that is found."""
    train, loaded = plan.recipe.train, plan.opened.loaded
    if work.task.probe is None or train.method == "probe":
        return work.task.probe is not None
    is_useful = train.head_start or (plan.recipe.evaluate.baselines and loaded.head_is_new)
    return (loaded.head_is_new or bool(loaded.new_outputs)) and is_useful
