"""A plain folder for transformers with weights in bfloat16: half the size, and products in bfloat16.

Weights and inputs of matrix products have eight significant bits; sums, and the values between layers, stay in
float32. Where float32 products are as fast, the same weights are multiplied in float32.
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

    from tunesmith.acceleration.bf16 import bf16_is_faster

    write_merged(source, folder, dtype=torch.bfloat16)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    is_faster = bf16_is_faster(device)
    if not is_faster:
        source.tell(
            "products in bfloat16 are not faster on this machine: the export is smaller, but not faster"
        )
    return {"arithmetic": "bfloat16" if is_faster else "float32"}


exporter = Exporter(
    summary="a plain folder in bfloat16: half the size, and faster if the processor supports bfloat16",
    write=_write,
    runtime="transformers-bf16",
    generates=True,
)
