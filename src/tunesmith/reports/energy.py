"""How much energy a training took: an estimate from measured processor seconds and an assumed power."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

WATTS_PER_CORE = 15.0
"""Power of a busy core with its share of the processor; cores of servers take about 5 to 20 W."""


def estimate_energy(manifest: JsonObject) -> JsonObject | None:
    """The entry `energy` of metrics.json: `processor_s`, `watts_per_core` and `watt_hours`.

    None where processor seconds do not tell: with a GPU, with several processes, or in a run that was resumed, of
    whose first part only the saved stages are known.
    """
    seconds = manifest.get("processor_s", {})
    is_known = bool(seconds) and manifest["machine"]["device"] == "cpu"
    if not is_known or manifest.get("processes", 1) > 1 or manifest.get("continued"):
        return None
    total = sum(seconds.values())
    return {
        "processor_s": round(total, 1),
        "watts_per_core": WATTS_PER_CORE,
        "watt_hours": round(total * WATTS_PER_CORE / 3600, 3),
    }
