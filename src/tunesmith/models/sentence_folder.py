"""The files by which sentence-transformers knows a model: how token vectors become the vector of a text.

`modules.json` lists modules one after the other: the transformer, what is pooled, perhaps a scaling to length 1. A
base model's list is heeded; one that holds more (a Dense layer, two poolings, a prompt before every text) is refused,
since vectors without it would be others. The files are written in the form that versions from 2.0 on read.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.errors import ModelError
from tunesmith.tasks._vectors import POOLINGS, VECTORS_KEY

if TYPE_CHECKING:
    from tunesmith.types import Config, JsonObject

_MODULES, _SETTINGS, _GLOBAL = (
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
)
_POOLING_FOLDER, _NORMALIZE_FOLDER = "1_Pooling", "2_Normalize"
_LIBRARY = "sentence_transformers.models."
_SWITCHES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_REMEDY = "Choose a model that takes the mean over the tokens, or the first token."


def describe_vectors(config: Config, folder: Path) -> None:
    """Writes into a model's config what its vectors are pooled from, as its files say; the mean if they say nothing.

    Args:
        config: of the model.
        folder: of the model.

    Raises:
        ModelError: the model has an encoder and a decoder, or its files say something that is not done here.
    """
    if getattr(config, "is_encoder_decoder", False):
        raise ModelError(
            f"models of the type `{config.model_type}` have an encoder and a decoder, and a vector is taken from an "
            "encoder alone.",
            remedy=_REMEDY,
            location=str(folder),
        )
    if getattr(config, VECTORS_KEY, None) is None:
        setattr(config, VECTORS_KEY, vectors_of_folder(folder))


def vectors_of_folder(folder: Path) -> JsonObject:
    """`pooling` and `normalize` of a model's folder.

    Raises:
        ModelError: its files say something that is not done here.
    """
    modules = _read(folder / _MODULES, [])
    _refuse_settings(folder)
    kinds = [str(module.get("type", "")).rpartition(".")[2] for module in modules]
    if not modules or kinds == ["Transformer"]:
        return {"pooling": "mean", "normalize": False}
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise _refused(folder, _MODULES, f"has the modules {', '.join(kinds)}")
    return {"pooling": _pooling(folder, modules[1]["path"]), "normalize": len(kinds) == 3}


def longest_text(folder: Path) -> int | None:
    """Tokens that sentence-transformers reads of a text with this model; None where its files do not say."""
    found = _read(folder / _SETTINGS, {}).get("max_seq_length")
    return int(found) if found else None


def write_sentence_files(folder: Path, config: Config, *, max_length: int) -> None:
    """Writes the files beside a saved model, where its config says that vectors are taken from it.

    Args:
        folder: of the saved model.
        config: of the model.
        max_length: tokens of a text.
    """
    spec = getattr(config, VECTORS_KEY, None)
    if spec is None:
        return
    kinds = {"": "Transformer", _POOLING_FOLDER: "Pooling", _NORMALIZE_FOLDER: "Normalize"}
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"{_LIBRARY}{kind}"}
        for i, (path, kind) in enumerate(kinds.items())
        if kind != "Normalize" or spec["normalize"]
    ]
    pooling = {"word_embedding_dimension": int(config.hidden_size)}
    switches = {name: mode == spec["pooling"] for name, mode in _SWITCHES.items()}
    for module in modules[1:]:
        (folder / module["path"]).mkdir(exist_ok=True)
    _write(folder / _MODULES, modules)
    _write(folder / _SETTINGS, {"max_seq_length": max_length, "do_lower_case": False})
    _write(folder / _POOLING_FOLDER / "config.json", pooling | switches)
    _write(folder / _GLOBAL, {"prompts": {}, "default_prompt_name": None, "similarity_fn_name": "cosine"})


def _refuse_settings(folder: Path) -> None:
    if _read(folder / _GLOBAL, {}).get("default_prompt_name"):
        raise _refused(folder, _GLOBAL, "puts a prompt before every text (`default_prompt_name`)")
    if _read(folder / _SETTINGS, {}).get("do_lower_case"):
        raise _refused(folder, _SETTINGS, "changes every text to lower case (`do_lower_case`)")


def _pooling(folder: Path, path: str) -> str:
    config = _read(folder / path / "config.json", {})
    stated = config.get("pooling_mode")
    modes = [mode for name, mode in _SWITCHES.items() if config.get(name)]
    if stated:
        modes = [stated] if isinstance(stated, str) else list(stated)
    if len(modes) != 1 or modes[0] not in POOLINGS:
        raise _refused(
            folder, f"{path}/config.json", f"pools by {', '.join(modes) or 'nothing that is known'}"
        )
    return str(modes[0])


def _refused(folder: Path, file: str, what: str) -> ModelError:
    return ModelError(
        f"this sentence-transformers model {what}, which is not done here: its vectors would be others.",
        remedy=_REMEDY,
        location=str(folder / file),
    )


def _read(path: Path, absent: object) -> JsonObject:
    if not path.is_file():
        return absent  # type: ignore[return-value]
    try:
        return json.loads(path.read_text(encoding="utf-8"))  # type: ignore[no-any-return]
    except ValueError as error:
        raise ModelError(f"not JSON: {error}.", location=str(path), remedy="Fix the file.") from None


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
