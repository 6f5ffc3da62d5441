"""A task's untrained model and its training rows, for tests of sequences, loss and gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from tunesmith.encoded import Encoded
    from tunesmith.recipe import Recipe
    from tunesmith.types import Array, Model


class Bench:
    """A task's untrained model, computing in float64 without dropout, and its training rows."""

    def __init__(self, recipe: Recipe) -> None:
        from tunesmith.data.preparing import prepare
        from tunesmith.models.loading import load_for_training
        from tunesmith.models.positions import position_limit
        from tunesmith.models.resolve import resolve_model
        from tunesmith.models.task_of_model import task_of_model
        from tunesmith.tasks import TASKS

        files = resolve_model(recipe.model)
        self.task = task_of_model(TASKS.get(recipe.task), files.path)
        data = prepare(self.task, recipe)
        self.columns, self.label_schema = data.splits["train"].columns, data.label_schema
        self.loaded = load_for_training(
            files,
            self.task,
            self.label_schema,
            pooling="first",
            seed=1,
            train=self.columns,
        )
        self.model = self.loaded.model.double().eval()
        self.max_length = position_limit(self.model, self.loaded.tokenizer)

    def encode(self, rows: Sequence[int], max_length: int | None = None) -> Encoded:
        """Training sequences of some rows."""
        from tunesmith.tasks import EncodeOptions

        options = EncodeOptions(max_length or self.max_length, "train", (max_length or self.max_length) // 4)
        batch = {name: [values[row] for row in rows] for name, values in self.columns.items()}
        return self.task.encode(batch, self.loaded.tokenizer, options, self.label_schema)

    def varied(self, rows: Sequence[int]) -> Encoded:
        """Training sequences of some rows as in a step: with masks drawn, and with the reference's numbers."""
        from dataclasses import replace

        from tunesmith.tasks import PLAIN_LOSS, draw

        rng = np.random.default_rng(3)
        encoded = draw(self.task, self.encode(rows), rng, self.loaded.tokenizer, PLAIN_LOSS)
        if not self.task.reference:
            return encoded
        with _without_gradient():
            reference = self.task.forward(self.model, self.batch(encoded)).double().numpy()
        return replace(encoded, dense={**encoded.dense, "reference": reference})

    def batch(self, encoded: Encoded) -> dict[str, torch.Tensor]:
        """Padded tensors."""
        from tunesmith.data.batches import collate

        return collate(encoded, pad_token_id=self.loaded.tokenizer.pad_token_id)

    def loss(self, model: Model, encoded: Encoded) -> float:
        """The summed loss of a model."""
        from tunesmith.tasks import PLAIN_LOSS

        batch = self.batch(encoded)
        with _without_gradient():
            return float(self.task.loss(self.task.forward(model, batch), batch, PLAIN_LOSS))

    def loss_and_gradient(self, encoded: Encoded) -> tuple[float, Array]:
        """The summed loss, and its gradient with respect to all parameters, as one vector."""
        from tunesmith.tasks import PLAIN_LOSS

        batch = self.batch(encoded)
        self.model.zero_grad(set_to_none=True)
        loss = self.task.loss(self.task.forward(self.model, batch), batch, PLAIN_LOSS)
        assert loss.ndim == 0
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach()), self._gradient()

    def loss_and_gradient_over_rows(
        self, encoded: Encoded, positions: Sequence[NDArray[np.int64]]
    ) -> tuple[float, Array]:
        """The same of a loss that compares rows, as the training loop computes it in several passes.

        Args:
            encoded: sequences of a batch.
            positions: rows of the batch in each pass.
        """
        from tunesmith.data.batches import dense_fields
        from tunesmith.tasks import PLAIN_LOSS
        from tunesmith.training.gradient import Part, accumulate_over_rows
        from tunesmith.training.processes import Processes

        self.model.zero_grad(set_to_none=True)
        loss = accumulate_over_rows(
            Processes(),
            [Part(self.batch(encoded.take(part))) for part in positions],
            positions,
            lambda _, batch: self.task.forward(self.model, batch),
            lambda outputs: self.task.loss(outputs, dense_fields(encoded), PLAIN_LOSS),
            n_rows=len(encoded),
        )
        return loss, self._gradient()

    def _gradient(self) -> Array:
        import torch

        parameters = [p for p in self.model.parameters() if p.requires_grad]
        zeros = (torch.zeros_like(p) if p.grad is None else p.grad for p in parameters)
        return torch.cat([gradient.flatten() for gradient in zeros]).numpy()


def _without_gradient() -> torch.no_grad:
    import torch

    return torch.no_grad()
