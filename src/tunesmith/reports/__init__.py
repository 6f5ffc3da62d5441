"""Documents for people: `report.html` and the model card. Both are written from the run's files alone."""

from tunesmith.reports.card import write_card
from tunesmith.reports.comparison import comparison_page, comparison_remarks, comparison_table
from tunesmith.reports.energy import estimate_energy
from tunesmith.reports.html import write_evaluation, write_report
from tunesmith.reports.models_table import facts_lines, models_lines, models_table
from tunesmith.reports.monitoring import monitor_lines, monitor_page
from tunesmith.reports.next_steps import choose_next_steps

__all__ = [
    "choose_next_steps",
    "comparison_page",
    "comparison_remarks",
    "comparison_table",
    "estimate_energy",
    "facts_lines",
    "models_lines",
    "models_table",
    "monitor_lines",
    "monitor_page",
    "write_card",
    "write_evaluation",
    "write_report",
]
