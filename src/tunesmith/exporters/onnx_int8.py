"""An ONNX graph with matrix products in eight bits: a quarter of their size, and faster.

Weights are int8 with a scale for each output. Activations are quantized to uint8 at run time, with one scale for
each tensor of a batch (onnxruntime's dynamic quantization of MatMul). The head, embeddings, norms and attention
stay in float32. Before quantization, outliers are smoothed with a few hundred training rows (`_smoothing.py`).

docs/export.md has the variants that were tried on the default model, with figures.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith._telemetry import import_onnxruntime
from tunesmith.data.batches import collate, plan_in_order
from tunesmith.encoded import Encoded
from tunesmith.exporters import Exporter, Source
from tunesmith.exporters._graph import WEIGHTS_APART_BYTES, quietly
from tunesmith.exporters._smoothing import find_peaks, products, smooth
from tunesmith.exporters.onnx import write_onnx
from tunesmith.inference.exported import GRAPH_FILE

if TYPE_CHECKING:
    import torch
    from onnx import ModelProto

    from tunesmith.types import JsonObject

_CALIBRATION_TOKENS = 512


def _write(source: Source, folder: Path) -> JsonObject:
    import onnx

    precise = source.scratch / "float32"
    precise.mkdir()
    model, tokenizer, facts = write_onnx(source, precise)
    rows = source.calibration()
    peaks = find_peaks(precise / GRAPH_FILE, model.config, _batches(rows, tokenizer.pad_token_id))
    graph = onnx.load(str(precise / GRAPH_FILE))
    smoothed = smooth(graph, peaks)
    source.tell(f"the outliers of {smoothed} activations were measured on {len(rows)} training rows")
    quantized = _quantize(graph, source.scratch, folder / GRAPH_FILE)
    tokenizer.save_pretrained(folder)
    model.config.save_pretrained(folder)
    return {**facts, "calibration_rows": len(rows), "int8_products": quantized}


def _batches(rows: Encoded, pad_token_id: int) -> Iterator[dict[str, torch.Tensor]]:
    for sequences in plan_in_order(rows.lengths, _CALIBRATION_TOKENS):
        yield collate(rows.take(sequences), pad_token_id=pad_token_id)


def _quantize(graph: ModelProto, scratch: Path, file: Path) -> int:
    """Writes the graph with products in eight bits, and returns their number."""
    import onnx

    quantization = import_onnxruntime(".quantization")
    chosen = [node.name for node in products(graph.graph)]
    # The exporter's shapes contradict those that the quantizer infers for transposed weights.
    del graph.graph.value_info[:]
    is_large = graph.ByteSize() >= WEIGHTS_APART_BYTES
    smoothed = scratch / "smoothed.onnx"
    onnx.save(graph, str(smoothed), save_as_external_data=is_large, location="smoothed.weights")
    with quietly():
        quantization.quantize_dynamic(
            str(smoothed),
            str(file),
            op_types_to_quantize=["MatMul"],
            nodes_to_quantize=chosen,
            per_channel=True,
            weight_type=quantization.QuantType.QInt8,
            use_external_data_format=is_large,
            extra_options={"MatMulConstBOnly": True},
        )
    return len(chosen)


exporter = Exporter(
    summary="an ONNX graph with products in eight bits, calibrated on training rows",
    write=_write,
    runtime="onnxruntime",
    modules=("onnxscript", "onnxruntime", "onnx"),
    extra="onnx",
)
