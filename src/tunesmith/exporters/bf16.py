"""A plain folder for transformers with weights in bfloat16: half the size, and products in bfloat16.

Weights and inputs of matrix products have eight significant bits; sums, and the values between layers, stay in
float32. A processor without bfloat16 products multiplies the same weights in float32.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.exporters import Exporter, Source
from tunesmith.exporters._stock import write_merged

if TYPE_CHECKING:
    from tunesmith.types import JsonObject


def _write(source: Source, folder: Path) -> JsonObject:
    import torch

    from tunesmith.inference.forward import has_bf16

    write_merged(source, folder, dtype=torch.bfloat16)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    in_hardware = has_bf16(device)
    if not in_hardware:
        source.tell("this processor has no bfloat16 products: the export is smaller, but not faster here")
    return {"arithmetic": "bfloat16" if in_hardware else "float32"}


exporter = Exporter(
    summary="a plain folder in bfloat16: half the size, and faster if the processor supports bfloat16",
    write=_write,
    runtime="transformers-bf16",
    generates=True,
)
