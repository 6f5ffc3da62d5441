"""Models with random weights from the facts of a config: whole without memory, or with few layers to be timed.

The cost of a training is linear in the number of equal layers, and in the size of the vocabulary where the output
layer is trained. So two or three small models tell what a large one costs, without its weights.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tunesmith.models import heads
from tunesmith.models.freezing import freeze_pooler, freeze_unsaved
from tunesmith.models.quiet import quiet
from tunesmith.tasks import DECISION_KEY, Task
from tunesmith.tasks._vectors import VECTORS_KEY

if TYPE_CHECKING:
    from tunesmith.types import Config, JsonObject, Model

_LAYER_KEYS = (
    ("encoder_layers", "decoder_layers"),
    ("num_layers", "num_decoder_layers"),
    ("num_hidden_layers",),
)
_SPECIAL_IDS = ("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id")
_UNFIT = (
    "architectures", "id2label", "label2id", "num_labels", "quantization_config", heads.CALIBRATION_KEY,
    DECISION_KEY,
)  # fmt: skip
_SEPARATE = "separate_output_layer"
_LONGEST_CYCLE = 4


def config_for(facts: Mapping[str, object], entries: JsonObject, pad_token_id: int | None = None) -> Config:
    """The config of a model, with a task's entries.

    Args:
        facts: content of config.json, or the part of it that decides about the size.
        entries: `task.config(label_schema)`.
        pad_token_id: padding token, where the facts have none.
    """
    from transformers import CONFIG_MAPPING

    kept = {key: value for key, value in facts.items() if key not in _UNFIT}
    config = CONFIG_MAPPING[str(facts["model_type"])].from_dict({**kept, **entries})
    if getattr(config, "pad_token_id", None) is None:
        config.pad_token_id = pad_token_id
    if config.is_encoder_decoder and getattr(config, "decoder_start_token_id", None) is None:
        config.decoder_start_token_id = config.pad_token_id or 0
    setattr(config, _SEPARATE, facts.get("tie_word_embeddings") is False)
    return config


def layer_counts(config: Config) -> dict[str, int]:
    """The numbers of layers, by the name of their entry: one, or those of encoder and decoder."""
    names = next(names for names in _LAYER_KEYS if all(hasattr(config, name) for name in names))
    return {name: int(getattr(config, name)) for name in names}


def layer_cycle(config: Config) -> int:
    """After how many layers the kinds of layers repeat: 1 where all are alike."""
    kinds = list(getattr(config, "layer_types", None) or ())
    for cycle in range(1, _LONGEST_CYCLE + 1):
        if all(kind == kinds[i % cycle] for i, kind in enumerate(kinds)):
            return cycle
    return 1


def reduced(config: Config, layers: Mapping[str, int], vocabulary: int) -> Config:
    """A copy with other numbers of layers and another size of the vocabulary."""
    small = copy.deepcopy(config)
    before = layer_counts(config)
    for name, n in layers.items():
        setattr(small, name, n)
        for key, value in vars(config).items():  # what is stated layer by layer
            if isinstance(value, list) and len(value) == before[name] and "layer" in key:
                setattr(small, key, value[:n])
    small.vocab_size = vocabulary
    for name in _SPECIAL_IDS:
        value = getattr(small, name, None)
        if isinstance(value, int) and value >= vocabulary:
            setattr(small, name, vocabulary - 1)
    return small


def build(config: Config, task: Task, *, adds_pooling: bool = True, without_weights: bool = False) -> Model:
    """The model of a config as a training would begin with it, with random weights.

    Args:
        config: config from `config_for`.
        task: task that the model learns.
        adds_pooling: whether a pooling layer is added where the family can have one (`models/heads.py`).
        without_weights: whether the weights take no memory; then the model can only be counted.
    """
    import torch
    import transformers

    config = copy.deepcopy(config)
    adds = adds_pooling and task.pooling is not None and heads.can_pool_mean(config.model_type)
    if adds:
        config.num_hidden_layers += 1
        setattr(config, heads.POOLING_KEY, "mean")
    if task.vectors is not None:
        setattr(config, VECTORS_KEY, {"pooling": "mean", "normalize": False})
    place = torch.device("meta") if without_weights else contextlib.nullcontext()
    with quiet(), place:
        model: Model = getattr(transformers, task.auto_class).from_config(config)
        _keep_apart(model)
    if adds and without_weights:
        heads.freeze_pooling_layer(model)
    elif adds:
        heads.make_pooling_layer(model)
    freeze_unsaved(model)
    if task.vectors is not None:
        freeze_pooler(model)
    return model


def _keep_apart(model: Model) -> None:
    """Gives an output layer its own weights where config.json says so: T5's class ties what a file has twice."""
    output, table = model.get_output_embeddings(), model.get_input_embeddings()
    if getattr(model.config, _SEPARATE, False) and output is not None and output.weight is table.weight:
        output.weight = copy.deepcopy(output.weight)
