"""Writes a model in the Hugging Face format, so that plain transformers loads it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.models.quiet import quiet
from tunesmith.models.resolve import ADAPTED_CONFIG_FILE
from tunesmith.models.sentence_folder import write_sentence_files
from tunesmith.run.files import give_usual_rights, new_folder, system_errors

if TYPE_CHECKING:
    from peft import PeftModel

    from tunesmith.types import Model, Tokenizer


def save_model(
    model: Model, tokenizer: Tokenizer, folder: Path, *, max_length: int, adapter: PeftModel | None = None
) -> None:
    """Writes config, weights (safetensors) and tokenizer; the folder appears whole or not at all.

    Args:
        model: model of transformers.
        tokenizer: tokenizer of the model, saved with `max_length` so that other tools truncate texts as tunesmith.
        folder: folder to write; an older one is replaced.
        max_length: largest number of tokens of a text.
        adapter: peft's view of the model, if only its adapter is saved.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = new_folder(folder.parent, f".{folder.name}.")
    try:
        tokenizer.model_max_length = max_length
        with quiet(), system_errors(aside):
            _write_weights(model, adapter, aside)
            tokenizer.save_pretrained(aside)
        write_sentence_files(aside, model.config, max_length=max_length)
        give_usual_rights(aside)
        if folder.is_dir():
            shutil.rmtree(folder)
        aside.rename(folder)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise


def _write_weights(model: Model, adapter: PeftModel | None, folder: Path) -> None:
    if adapter is None:
        model.save_pretrained(folder)
        return
    # An adapted model has no added tokens, and peft would ask the Hub to find out.
    adapter.save_pretrained(folder, save_embedding_layers=False)
    model.config.to_json_file(folder / ADAPTED_CONFIG_FILE, use_diff=False)
    if model.can_generate():
        model.generation_config.save_pretrained(folder)
