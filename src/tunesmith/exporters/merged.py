"""A plain folder of transformers: an adapter is added to its base model's weights, a whole model is copied.

Merging is exact but for rounding (Hu et al. 2021, section 4.1), and the folder needs neither the base model nor
peft. Weights are written anew from what was loaded, so that what is tested is what is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunesmith.exporters import Exporter, Source
from tunesmith.exporters._stock import write_merged
from tunesmith.models.adapters import is_adapter


def _write(source: Source, folder: Path) -> Mapping[str, Any]:
    write_merged(source, folder)
    return {"merged": is_adapter(source.model)}


exporter = Exporter(
    summary="one plain folder of transformers, an adapter merged into its base",
    write=_write,
    runtime="transformers",
    generates=True,
)
