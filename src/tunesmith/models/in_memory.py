"""Models that a program holds in memory become a folder, named by its content, and are read from there.

So a model comes in by the one door, whatever it was; the run records the sums of its files; and a run that is
resumed finds it again. The folder stays until somebody removes it: an adapter needs its base model for ever.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

from tunesmith.errors import ModelError
from tunesmith.models.quiet import quiet
from tunesmith.models.resolve import MEMORY_FILE
from tunesmith.run import sha256_of
from tunesmith.run.files import give_usual_rights, new_folder

_DIGITS = 16


def is_model(value: object) -> bool:
    """Whether an object is a model, and no name of one."""
    return hasattr(value, "save_pretrained") and hasattr(value, "config")


def save_in_memory_model(model: Any, tokenizer: Any, parent: Path) -> Path:
    """Saves a model and its tokenizer, unless the same are there already.

    Args:
        model: a `PreTrainedModel` of transformers.
        tokenizer: its tokenizer.
        parent: folder of such models.

    Returns:
        The folder of the model, `NAME-DIGEST`.

    Raises:
        ModelError: it is no model of transformers, comes without a tokenizer, or cannot be saved.
    """
    _refuse_unfit(model, tokenizer)
    parent.mkdir(parents=True, exist_ok=True)
    aside = new_folder(parent, ".new-")
    try:
        with quiet():
            model.save_pretrained(aside)
            tokenizer.save_pretrained(aside)
        home = parent / f"{type(model).__name__}-{_digest(aside)}"
        (aside / MEMORY_FILE).write_text(f'{{"class": "{type(model).__name__}"}}\n', encoding="utf-8")
        if not home.is_dir():
            give_usual_rights(aside)
            aside.rename(home)
        return home
    except (OSError, ValueError, RuntimeError, NotImplementedError) as error:
        raise ModelError(
            f"the {type(model).__name__} cannot be saved: {error}.",
            remedy="Save it with `save_pretrained`, and give the folder.",
        ) from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _refuse_unfit(model: Any, tokenizer: Any) -> None:
    import transformers

    if not isinstance(model, transformers.PreTrainedModel):
        raise ModelError(
            f"a model must be a `PreTrainedModel` of transformers, got {type(model).__name__}.",
            remedy="An adapter of peft becomes one by `merge_and_unload()`.",
        )
    if not isinstance(tokenizer, transformers.PreTrainedTokenizerBase):
        raise ModelError(
            f"a model in memory must come with its tokenizer, got {type(tokenizer).__name__}.",
            remedy="Give `tokenizer=` too.",
        )


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        digest.update(f"{path.name} {sha256_of(path)}\n".encode())
    return digest.hexdigest()[:_DIGITS]
