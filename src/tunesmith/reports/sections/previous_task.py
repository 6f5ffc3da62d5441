"""What a continued classifier still knows of the task before."""

from __future__ import annotations

from tunesmith.reports.sections import section_of

section = section_of("previous_task", "The previous task, before and after", 67)
