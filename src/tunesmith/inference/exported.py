"""The folder of an export: its facts, and how its model is loaded.

`export.json` has the runtime of the model, its origin, and the comparison with the run. Names of labels and
thresholds are in `config.json`, as in the model folder of a run.
"""

from __future__ import annotations

import importlib.util
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from tunesmith.acceleration import accelerated
from tunesmith.acceleration.bf16 import bf16_is_faster
from tunesmith.errors import ModelError, UserError
from tunesmith.inference.forward import takes_logits
from tunesmith.models.loading import LoadedModel, load_trained
from tunesmith.models.plain_tokenizer import PlainTokenizer
from tunesmith.models.resolve import ModelFiles, resolve_model
from tunesmith.models.task_of_model import task_of_model
from tunesmith.models.tokenizer import load_tokenizer
from tunesmith.run import read_json
from tunesmith.tasks import TASKS, EncodeOptions, Task

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

EXPORT_FILE = "export.json"
GRAPH_FILE = "model.onnx"


def is_export(path: str | os.PathLike[str]) -> bool:
    """Whether a folder was written by `tunesmith export`."""
    return (Path(path) / EXPORT_FILE).is_file()


def facts_of(path: str | os.PathLike[str]) -> JsonObject:
    """The content of `export.json`.

    Raises:
        RunError: the file cannot be read.
    """
    return read_json(Path(path) / EXPORT_FILE)


def load_export(path: str | os.PathLike[str]) -> tuple[Task, LoadedModel, int | None, list[JsonObject]]:
    """The task, the model, the overlap of windows in tokens (None: the default), and the columns of the run.

    Args:
        path: folder of an export.

    Raises:
        ModelError: a file is missing or cannot be loaded, or the runtime is unknown.
        UserError: the package of the runtime is not installed.
    """
    facts = facts_of(path)
    task = task_of_model(TASKS.get(facts["task"]), Path(path))
    load = _RUNTIMES.get(facts["runtime"])
    if load is None:
        raise ModelError(
            f"`{path}` is an export for `{facts['runtime']}`, which is an unknown runtime.",
            remedy=f"Known: {', '.join(_RUNTIMES)}.",
        )
    # Exports of earlier versions say nothing of it.
    loaded = load(Path(path), task, acceleration=facts.get("acceleration", True))
    return task, loaded, facts["overlap_tokens"], list(facts.get("read_as", []))


def export_options(path: str | os.PathLike[str]) -> EncodeOptions:
    """How the run of an export encoded rows with labels; exports of earlier versions say nothing of it.

    Args:
        path: folder of an export.
    """
    facts = facts_of(path)
    return EncodeOptions(
        None, train_on=facts.get("train_on", "all"), too_long=facts.get("too_long", "window")
    )


def _with_transformers(path: Path, task: Task, *, acceleration: bool) -> LoadedModel:
    return accelerated(load_trained(resolve_model(str(path)), task), wanted=acceleration)


def _with_bf16(path: Path, task: Task, *, acceleration: bool) -> LoadedModel:
    loaded = _with_transformers(path, task, acceleration=acceleration)
    return replace(loaded, bf16=bf16_is_faster(loaded.model.device.type))


def _with_onnxruntime(path: Path, task: Task, *, acceleration: bool) -> LoadedModel:
    """The graph as it was written: what computes is onnxruntime's."""
    from tunesmith.inference.onnx import OnnxModel

    if importlib.util.find_spec("onnxruntime") is None:
        raise UserError(
            f"`{path}` needs the package `onnxruntime`, which is not installed.",
            remedy="Install it: `pip install 'tunesmith[onnx]'`.",
        )
    files = ModelFiles(str(path), path, f"the folder {path}")
    try:
        model = OnnxModel(path / GRAPH_FILE, PlainConfig(**read_json(path / "config.json")))
    except Exception as error:  # onnxruntime has many exception classes without a common base
        raise ModelError(
            f"the export cannot be loaded: {str(error).splitlines()[0]}",
            location=str(path),
            remedy="Export the run again.",
        ) from None
    facts = facts_of(path).get("tokenizer")  # exports of earlier versions do not have it
    # Other tasks need torch anyway, and tokens as text.
    if facts is None or not takes_logits(task):
        return LoadedModel(model, load_tokenizer(files), head_is_new=False)
    tokenizer = PlainTokenizer(path / "tokenizer.json", facts)
    return LoadedModel(model, tokenizer, head_is_new=False)


class PlainConfig(SimpleNamespace):
    """The entries of config.json, as a config of transformers has them."""

    def __init__(self, **entries: Any) -> None:
        named = entries.get("id2label") or {0: "LABEL_0", 1: "LABEL_1"}  # which transformers leaves out
        labels = {int(number): label for number, label in named.items()}
        super().__init__(**{**entries, "id2label": labels, "num_labels": len(labels)})


_RUNTIMES = {
    "transformers": _with_transformers,
    "transformers-bf16": _with_bf16,
    "onnxruntime": _with_onnxruntime,
}
