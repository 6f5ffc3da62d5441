"""The run's model with whole weights and the code of transformers, without acceleration."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.acceleration import pooling
from tunesmith.exporters import Source
from tunesmith.models.adapters import is_adapter
from tunesmith.models.loading import load_trained
from tunesmith.models.quiet import quiet
from tunesmith.models.resolve import resolve_model
from tunesmith.models.saving import save_model

if TYPE_CHECKING:
    import torch

    from tunesmith.types import Model

_CARD = "README.md"


def write_merged(source: Source, folder: Path, *, dtype: torch.dtype | None = None) -> None:
    """Writes a plain folder for transformers, with the model card; in another precision, if given."""
    loaded = load_trained(resolve_model(str(source.model)), source.task, device="cpu")
    if dtype is not None:
        loaded.model.to(dtype)
    length = int(loaded.tokenizer.model_max_length)
    save_model(loaded.model, loaded.tokenizer, folder, max_length=length)
    if (source.model / _CARD).is_file():
        shutil.copyfile(source.model / _CARD, folder / _CARD)


def stock_model(source: Source) -> Model:
    """The model with the code of transformers, in evaluation mode.

    Only the pooling layer of a sentence encoder is computed as the mean that it is: the same result with less
    work (`tunesmith.acceleration.pooling`), unless the run is without acceleration.
    """
    import torch
    import transformers

    folder = source.model
    if is_adapter(folder):
        folder = source.scratch / "merged"
        write_merged(source, folder)
    with quiet():
        model = getattr(transformers, source.task.auto_class).from_pretrained(
            folder,
            dtype=torch.float32,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            attn_implementation="eager",  # sdpa adds nodes that slice, and look for NaN, in every layer
        )
    if source.acceleration:
        pooling.install(model)
    return model.eval()
