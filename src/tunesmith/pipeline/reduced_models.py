"""A base model in small: which reduced models are measured, and what is counted of the whole one.

The smallest has one layer, and of a large token table a part. Each axis makes one thing larger: the layers, or the
vocabulary where the output layer is trained; and says how often that step fits into what is left.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tunesmith.encoded import Encoded, Ragged
from tunesmith.models import heads
from tunesmith.models.from_config import build, config_for, layer_counts, layer_cycle, reduced
from tunesmith.recipe import TrainRecipe
from tunesmith.tasks import LabelSchema, Task

if TYPE_CHECKING:
    from torch import nn

    from tunesmith.models.catalogue import KnownModel
    from tunesmith.types import Config, Model, Tokenizer

_LANGUAGE_MODELS = ("AutoModelForCausalLM", "AutoModelForSeq2SeqLM", "AutoModelForMaskedLM")
_WHOLE_TABLE, _PART_OF_TABLE, _LEAST_VOCABULARY = 32_000_000, 16_000_000, 8_192
"""Weights of the largest token table that is built as it is; of the part that is built of a larger one."""
_OPERATIONS_PER_WEIGHT = 6
_MOST_USED = 0.5
"""As `acceleration/embedding_rows.py` has it."""


@dataclass(frozen=True)
class Counts:
    """What is counted of the whole model.

    Args:
        weights: bytes of its weights.
        trainable: bytes of those that are trained.
        operations: operations for each token of a pass forward and backward.
    """

    weights: int
    trainable: int
    operations: float


@dataclass(frozen=True)
class Size:
    """The size of a reduced model: numbers of layers by their entry of the config, and of tokens."""

    layers: Mapping[str, int]
    vocabulary: int


@dataclass(frozen=True)
class Axis:
    """A larger reduced model, and how often the step to it fits into the rest of the whole model."""

    size: Size
    times: float


class ReducedModels:
    """The reduced models of one base model.

    Args:
        known: facts of the model.
        task: task as this model learns it.
        label_schema: label schema of the data.
        tokenizer: tokenizer, or its stand-in.
        train: section `train` of the recipe.
        device: type of the device.
    """

    def __init__(
        self,
        known: KnownModel,
        task: Task,
        label_schema: LabelSchema,
        tokenizer: Tokenizer,
        train: TrainRecipe,
        device: str,
    ) -> None:
        self.known, self.task, self.label_schema = known, task, label_schema
        self.tokenizer, self.train, self.device = tokenizer, train, device
        self.config = config_for(known.config, task.config(label_schema), tokenizer.pad_token_id)
        self.layers = layer_counts(self.config)
        self.is_language_model = task.auto_class in _LANGUAGE_MODELS

    @cached_property
    def whole(self) -> Model:
        """The whole model without weights."""
        return build(self.config, self.task, adds_pooling=self._pools, without_weights=True)

    @property
    def first(self) -> Size:
        """The smallest model that is measured."""
        whole, width = self.whole.get_input_embeddings().weight.shape
        part = max(_LEAST_VOCABULARY, _PART_OF_TABLE // width)
        if self.is_language_model and whole * width <= _WHOLE_TABLE:
            part = whole
        # Masks are drawn from the tokens of the whole tokenizer.
        least = len(self.tokenizer) if self.task.masking is not None else 0
        return Size(dict.fromkeys(self.layers, 1), max(min(whole, part), least))

    def axes(self) -> Iterator[Axis]:
        """The larger models that are measured."""
        first, step = self.first, max(2, layer_cycle(self.config))
        alike = len(set(self.layers.values())) == 1
        for names in [list(self.layers)] if alike else [[name] for name in self.layers]:
            layers = {**first.layers, **dict.fromkeys(names, 1 + step)}
            yield Axis(replace(first, layers=layers), (self.layers[names[0]] - 1) / step)
        rest = int(self.config.vocab_size) - first.vocabulary
        if self.is_language_model and rest > 0:
            more = min(first.vocabulary, rest)
            yield Axis(replace(first, vocabulary=first.vocabulary + more), rest / more)

    def build(self, size: Size) -> Model:
        """A reduced model on its device, as a training has it."""
        import torch

        from tunesmith.acceleration import accelerate

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = build(self.reduced_config(size), self.task, adds_pooling=self._pools)
        if self.train.acceleration:
            accelerate(model)
        model.to(self.device)
        if (head := self.head(model)) is not None:
            heads.keep_head_precise(head)
        return model

    def reduced_config(self, size: Size) -> Config:
        """The config of a reduced model."""
        return reduced(self.config, size.layers, size.vocabulary)

    def head(self, model: Model) -> nn.Linear | None:
        """The task's linear head, if it has one."""
        entries = self.task.config(self.label_schema)
        return heads.find_head(model, entries["num_labels"]) if "num_labels" in entries else None

    def within(self, encoded: Encoded) -> Encoded:
        """The sequences with ids that the smallest vocabulary has, and labels that are ids too."""
        vocabulary = self.first.vocabulary

        def fold(name: str, ragged: Ragged) -> Ragged:
            is_ids = name.endswith("input_ids") or (self.is_language_model and name.endswith("labels"))
            values = np.where(ragged.values >= 0, ragged.values % vocabulary, ragged.values)
            return replace(ragged, values=values) if is_ids else ragged

        return replace(encoded, ragged={name: fold(name, ragged) for name, ragged in encoded.ragged.items()})

    def signature(self) -> str:
        """What models have in common that cost the same: all but rows of a token table that are not trained."""
        config = self.config.to_dict()
        if not self.is_language_model:
            config["vocab_size"] = min(int(self.config.vocab_size), self.first.vocabulary)
        same = [self.task.name, self.task.auto_class, config, id(self.tokenizer), self.known.context]
        return json.dumps(same, sort_keys=True, default=str)

    @cached_property
    def counts(self) -> Counts:
        """What is counted of the whole model, all its token table trained."""
        parameters = list(self.whole.parameters())
        return Counts(
            sum(t.numel() * t.element_size() for t in [*parameters, *self.whole.buffers()]),
            sum(p.numel() * p.element_size() for p in parameters if p.requires_grad),
            _operations(self.whole),
        )

    @cached_property
    def most_operations(self) -> float:
        """Operations for each token of the largest reduced model."""
        sizes = [self.first, *(axis.size for axis in self.axes())]
        small = (build(self.reduced_config(size), self.task, without_weights=True) for size in sizes)
        return max(_operations(model) for model in small)

    def trained_bytes(self, used: NDArray[np.int64] | None) -> int:
        """Bytes of what is trained, where only rows of the token table are trained that occur.

        Args:
            used: ids that occur in the training rows; None if they are not known.
        """
        from tunesmith.acceleration.embedding_rows import token_table

        table = self.whole.get_input_embeddings().weight
        is_whole = used is None or not self.train.acceleration or token_table(self.whole) is None
        if is_whole or used is None or len(used) > _MOST_USED * len(table):
            return self.counts.trainable
        unused = (len(table) - len(used)) * table.shape[1]
        return self.counts.trainable - int(unused * table.element_size())

    @property
    def _pools(self) -> bool:
        return self.train.pooling != "first"


def _operations(model: Model) -> float:
    """Operations for each token of a pass forward and backward: a look-up in a table is none."""
    table, output = model.get_input_embeddings().weight, model.get_output_embeddings()
    is_tied = output is not None and output.weight is table
    matrices = sum(p.numel() for p in model.parameters() if p.ndim > 1)
    return float(_OPERATIONS_PER_WEIGHT * (matrices - (0 if is_tied else table.numel())))
