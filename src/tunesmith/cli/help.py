"""The help of a verb: its options in groups, in the order in which the verb declares them, and its examples."""

from __future__ import annotations

import sys
from typing import Any

from typer.core import TyperCommand

_OTHER = "Options"


class GroupedCommand(TyperCommand):
    """A command that shows its options by `rich_help_panel`; those without one come last."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Writes the examples of the verb's file."""
        if examples := examples_of(self):
            with formatter.section("Examples"):
                for example in examples:
                    formatter.write_text(example)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Writes the arguments, and the options group by group."""
        groups: dict[str, list[tuple[str, str]]] = {"Arguments": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                groups.setdefault(_group(parameter), []).append(record)
        for title in sorted(groups, key=lambda title: title == _OTHER):
            if groups[title]:
                with formatter.section(title):
                    formatter.write_dl(groups[title])


def examples_of(command: Any) -> tuple[str, ...]:
    """The examples that a verb's file declares as `EXAMPLES`, the simplest first."""
    module = sys.modules.get(getattr(command.callback, "__module__", ""))
    return tuple(getattr(module, "EXAMPLES", ()))


def _group(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return "Arguments"
    return getattr(parameter, "rich_help_panel", None) or _OTHER
