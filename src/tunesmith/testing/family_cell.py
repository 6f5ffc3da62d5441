"""The tiny model and rows for one family and task, and the computations that the steps compare."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.testing.families import TRIED_WITH
from tunesmith.testing.family_measures import MASKED, gradient_of, longer, real_part
from tunesmith.testing.tiny import tiny_task_rows, write_rows

if TYPE_CHECKING:
    import torch

    from tunesmith.data.examples import Examples
    from tunesmith.data.preparing import PreparedData
    from tunesmith.encoded import Encoded
    from tunesmith.models.loading import LoadedModel
    from tunesmith.recipe import Recipe
    from tunesmith.tasks import Batch, LabelSchema
    from tunesmith.types import JsonObject, Model

EQUAL_LENGTHS, NOT_PACKED = "equal lengths", "not packed"
_LONGEST = 300


class Cell:
    """A family and a task.

    Args:
        family: family, as `model_type` in config.json.
        auto_class: auto class of transformers that loads the model for the task.
        folder: folder of the tiny model.
        work: folder to write to.
    """

    def __init__(self, family: str, auto_class: str, folder: Path, work: Path) -> None:
        from tunesmith.models.loading import refuse_other_kinds
        from tunesmith.models.resolve import resolve_model
        from tunesmith.tasks import TASKS

        self.family, self.auto_class, self.folder, self.work = family, auto_class, folder, work
        self.task = TASKS.get(TRIED_WITH[auto_class])
        rows = tiny_task_rows(self.task.name, 24, seed=0)
        self.rows = [*rows[:23], longer(rows[23])]
        self.file = write_rows(work / "train.jsonl", self.rows)
        self.validation = write_rows(work / "validation.jsonl", tiny_task_rows(self.task.name, 6, seed=1))
        self.files = resolve_model(str(folder))
        refuse_other_kinds(self.files, self.task)

    @property
    def recipe(self) -> Recipe:
        """A recipe for a training of three steps."""
        from tunesmith.recipe import Recipe

        tree: JsonObject = {
            "task": self.task.name,
            "model": str(self.folder),
            "output_dir": str(self.work / "run"),
            "data": {"train": [str(self.file)], "validation": [str(self.validation)]},
            "train": {"max_steps": 3, "learning_rate": 1e-3, "per_device_train_batch_size": 8, "bf16": False},
            "evaluate": {"bootstrap_samples": 100, "samples": 1, "baselines": False},
        }
        if self.task.generation:
            tree["generate"] = {"max_new_tokens": 4}
        return Recipe.model_validate(tree)

    @cached_property
    def data(self) -> PreparedData:
        """The data, prepared as in a training."""
        from tunesmith.data.preparing import prepare

        return prepare(self.task, self.recipe)

    @property
    def examples(self) -> Examples:
        """The columns of the training rows."""
        return self.data.splits["train"]

    @property
    def label_schema(self) -> LabelSchema:
        """The label schema of the task."""
        return self.data.label_schema

    def load(self, *, fast: bool = True, pooling: str = "auto") -> LoadedModel:
        """The model, opened as in a training, without dropout."""
        from tunesmith.acceleration import accelerate
        from tunesmith.models.loading import load_for_training

        loaded = load_for_training(
            self.files, self.task, self.label_schema, pooling=pooling, seed=0, train=self.examples.columns
        )
        if fast:
            accelerate(loaded.model)
        loaded.model.eval()
        return loaded

    @cached_property
    def limit(self) -> int:
        """The longest text in tokens that the model supports, at most 300."""
        from tunesmith.models.positions import position_limit

        return min(position_limit(self.fast.model, self.fast.tokenizer), _LONGEST)

    @cached_property
    def fast(self) -> LoadedModel:
        """The model with our faster code."""
        return self.load()

    @cached_property
    def stock(self) -> LoadedModel:
        """The model with the code of transformers."""
        return self.load(fast=False)

    def encode(self, rows: range, purpose: str = "train", limit: int | None = None) -> Encoded:
        """Sequences of some training rows, with masks drawn."""
        from tunesmith.tasks import PLAIN_LOSS, EncodeOptions, draw

        most = limit or self.limit
        columns = {name: [values[row] for row in rows] for name, values in self.examples.columns.items()}
        if purpose == "predict":
            columns = {name: values for name, values in columns.items() if name in self.task.inputs}
        options = EncodeOptions(most, purpose, most // 4)  # type: ignore[arg-type]
        encoded = self.task.encode(columns, self.fast.tokenizer, options, self.label_schema)
        if purpose == "predict":
            return encoded
        return draw(self.task, encoded, np.random.default_rng(3), self.fast.tokenizer, PLAIN_LOSS)

    def batch(self, encoded: Encoded) -> dict[str, torch.Tensor]:
        """Padded tensors."""
        from tunesmith.data.batches import collate

        return collate(encoded, pad_token_id=self.fast.tokenizer.pad_token_id)

    def pass_through(
        self, model: Model, batch: Batch, *, learn: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """The outputs, the summed loss, and all gradients as one vector."""
        import torch

        from tunesmith.tasks import PLAIN_LOSS

        model.zero_grad(set_to_none=True)
        with torch.set_grad_enabled(learn):
            torch.manual_seed(5)
            outputs = self.task.forward(model, batch)
            loss = self.task.loss(outputs, batch, PLAIN_LOSS)
        if learn:
            loss.backward()  # type: ignore[no-untyped-call]
        outputs = real_part(outputs.detach(), batch)
        outputs = outputs.masked_fill(outputs.abs() > MASKED, 0.0)
        return outputs, loss.detach(), gradient_of(model) if learn else None
