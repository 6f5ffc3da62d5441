"""A plain folder of transformers with its weights in bfloat16: half the size, and products in bfloat16.

Weights keep eight bits of their fraction, and so does what goes into a matrix product; sums, and what passes from
layer to layer, stay in float32. A processor without such products multiplies the same weights in float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunesmith.exporters import Exporter, Source
from tunesmith.exporters._stock import write_merged


def _write(source: Source, folder: Path) -> Mapping[str, Any]:
    import torch

    from tunesmith.inference.forward import has_bf16

    write_merged(source, folder, dtype=torch.bfloat16)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    in_hardware = has_bf16(device)
    if not in_hardware:
        source.tell("this processor has no products in bfloat16: here, the export is smaller, but not faster")
    return {"arithmetic": "bfloat16" if in_hardware else "float32"}


exporter = Exporter(
    summary="the same in bfloat16: half the size, faster where the processor multiplies it",
    write=_write,
    runtime="transformers-bf16",
    generates=True,
)
