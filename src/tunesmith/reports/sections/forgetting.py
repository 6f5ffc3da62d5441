"""Whether the model became worse at general text."""

from __future__ import annotations

from tunesmith.reports.sections import section_of

section = section_of("forgetting", "General text before and after", 65)
