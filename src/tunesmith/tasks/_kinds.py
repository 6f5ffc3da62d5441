"""The members of a task that are objects."""

from __future__ import annotations

from collections.abc import Mapping

from tunesmith.tasks import _answer_capabilities as of_answers
from tunesmith.tasks import _capabilities as of_rows
from tunesmith.tasks._alternatives import Alternatives

CAPABILITIES: Mapping[str, type] = {
    "length": of_rows.Length,
    "schedule": of_rows.Schedule,
    "probe": of_rows.LinearProbe,
    "contrast": of_rows.Contrast,
    "pooling": of_rows.Pooling,
    "vectors": of_rows.SentenceVectors,
    "windows": of_rows.Windows,
    "packing": of_rows.Packing,
    "generation": of_rows.Generation,
    "chat": of_rows.ChatTemplate,
    "decoders": of_rows.Decoders,
    "instruction": of_rows.Instruction,
    "vocabulary": of_rows.Vocabulary,
    "reference": of_rows.Reference,
    "thresholds": of_rows.Thresholds,
    "masking": of_rows.Masking,
    "calibration": of_rows.Calibration,
    "decision": of_rows.Decision,
    "uncertainty": of_rows.Uncertainty,
    "ordered": of_rows.OrderedLabels,
    "alignment": of_rows.Alignment,
    "offsets": of_rows.Offsets,
    "layouts": of_rows.Layouts,
    "alternatives": Alternatives,
    "confidence": of_answers.Confidence,
    "sets": of_answers.PredictionSets,
    "pipeline": of_answers.Pipeline,
    "display": of_answers.Display,
}
"""The members of a task that are objects, with their classes."""
