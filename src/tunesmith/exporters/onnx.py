"""One forward pass as an ONNX graph in float32, for onnxruntime and other programs that read the format.

The folder holds `model.onnx`, the tokenizer and `config.json`. The graph takes any number of texts of any length.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.exporters import Exporter, Source
from tunesmith.exporters._graph import write_graph
from tunesmith.exporters._stock import stock_model
from tunesmith.inference.exported import GRAPH_FILE
from tunesmith.models.resolve import resolve_model
from tunesmith.models.tokenizer import load_tokenizer

if TYPE_CHECKING:
    from tunesmith.types import JsonObject, Model, Tokenizer


def write_onnx(source: Source, folder: Path) -> tuple[Model, Tokenizer, JsonObject]:
    """Writes graph, tokenizer and config; returns the model, the tokenizer, and facts of the graph."""
    model = stock_model(source)
    tokenizer = load_tokenizer(resolve_model(str(source.model)))
    facts = write_graph(model, tokenizer, folder / GRAPH_FILE)
    tokenizer.save_pretrained(folder)
    model.config.save_pretrained(folder)
    return model, tokenizer, facts


def _write(source: Source, folder: Path) -> JsonObject:
    return write_onnx(source, folder)[2]


exporter = Exporter(
    summary="an ONNX graph in float32, for onnxruntime",
    write=_write,
    runtime="onnxruntime",
    modules=("onnxscript", "onnxruntime"),
    extra="onnx",
)
