"""Documents for people: `report.html` and the model card. Both are written from the run's files alone."""

from tunesmith.reports.card import write_card
from tunesmith.reports.html import write_evaluation, write_report
from tunesmith.reports.next_steps import choose_next_steps

__all__ = ["choose_next_steps", "write_card", "write_evaluation", "write_report"]
