"""A plain folder for transformers: an adapter is merged into its base model, a whole model is copied.

Merging is exact except for rounding (Hu et al. 2021, section 4.1), and the folder needs neither the base model nor
peft. The weights are written from the loaded model, so the written weights are those that were tested.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.exporters import Exporter, Source
from tunesmith.exporters._stock import write_merged
from tunesmith.models.adapters import is_adapter

if TYPE_CHECKING:
    from tunesmith.types import JsonObject


def _write(source: Source, folder: Path) -> JsonObject:
    write_merged(source, folder)
    return {"merged": is_adapter(source.model)}


exporter = Exporter(
    summary="one plain folder for transformers, with an adapter merged into its base model",
    write=_write,
    runtime="transformers",
    generates=True,
)
