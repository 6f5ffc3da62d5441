"""`tunesmith list`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, Optional

import typer

from tunesmith.cli.arguments import JSON

if TYPE_CHECKING:
    from tunesmith.errors import PluginError
    from tunesmith.registry import Registry
    from tunesmith.tasks import Task
    from tunesmith.types import JsonObject

_Kind = Literal[
    "tasks", "methods", "metrics", "baselines", "exporters", "formats", "packaged-models", "verbs"
]


def verb(
    kind: Optional[_Kind] = typer.Argument(None, help="What to list; everything, if it is left out."),
    as_json: bool = JSON,
) -> None:
    """Show what there is: tasks, metrics, formats, ….

    KIND names what is shown in detail. An entry that an installed package adds is shown with the name and
    version of the package.
    """
    from tunesmith.cli.output import print_json, print_line

    if as_json:
        print_json(_as_json(kind))
    elif kind:
        _print_one(kind)
    else:
        _print_one("tasks")
        print_line()
        for each in (*_fixed(), *_registries()):
            if each != "tasks":
                print_line(f"{_TITLES.get(each, each)}: {', '.join(_names_with_origins(each))}")


def _print_one(kind: str) -> None:
    """A table of one registry, or the names of what no package can add to."""
    from tunesmith.cli.output import print_line, print_table

    if kind in _fixed():
        print_line("\n".join(_fixed()[kind]))
        return
    header, cells = _COLUMNS[kind]
    registry = _registries()[kind]
    entries, errors = registry.loadable()
    rows = [(name, *cells(entry), registry.origin(name)) for name, entry in sorted(entries.items())]
    # The last column stays away where no package adds anything.
    width = len(header) + (2 if any(row[-1] for row in rows) else 1)
    print_table([kind.removesuffix("s"), *header, "from"][:width], [row[:width] for row in rows])
    _warn(errors)


def _names_with_origins(kind: str) -> list[str]:
    if kind in _fixed():
        return list(_fixed()[kind])
    registry = _registries()[kind]
    return [f"{name} ({origin})" if (origin := registry.origin(name)) else name for name in registry.names()]


def _as_json(kind: str | None) -> JsonObject:
    """By kind, each entry with its description; names alone where no package can add one."""
    found: JsonObject = {}
    added: dict[str, dict[str, str]] = {}
    for name, values in _fixed().items():
        if kind in (None, name):
            found[name.replace("-", "_")] = list(values)
    for name, registry in _registries().items():
        if kind in (None, name):
            entries, errors = registry.loadable()
            found[name] = {one: _COLUMNS[name][1](entry)[-1] for one, entry in sorted(entries.items())}
            added[name] = {one: origin for one in registry.names() if (origin := registry.origin(one))}
            _warn(errors)
    return {**found, "plug_ins": added}


def _warn(errors: Sequence[PluginError]) -> None:
    for error in errors:
        typer.echo(f"! {error.rule} {error.remedy}", err=True)


def _fixed() -> dict[str, Sequence[str]]:
    """What no package can add to."""
    from tunesmith.models.packaged import PACKAGED
    from tunesmith.recipe import METHODS

    return {"methods": METHODS, "packaged-models": list(PACKAGED)}


def _registries() -> dict[str, Registry[Any]]:
    from tunesmith.cli import VERBS
    from tunesmith.data.formats import FORMATS
    from tunesmith.evaluation.baselines import BASELINES
    from tunesmith.exporters import EXPORTERS
    from tunesmith.metrics import METRICS
    from tunesmith.tasks import TASKS

    return {
        "tasks": TASKS,
        "metrics": METRICS,
        "baselines": BASELINES,
        "exporters": EXPORTERS,
        "formats": FORMATS,
        "verbs": VERBS,
    }


def _columns(task: Task) -> str:
    return ", ".join(c.name if c.required else f"[{c.name}]" for c in task.columns)


_TITLES = {"exporters": "export formats", "formats": "data formats", "packaged-models": "packaged models"}

_COLUMNS: dict[str, tuple[tuple[str, ...], Callable[[Any], tuple[str, ...]]]] = {
    "tasks": (
        ("columns", "primary metric", "learns"),
        lambda task: (_columns(task), task.primary_metric, task.summary),
    ),
    "metrics": (
        ("direction", "unit", "label"),
        lambda metric: (metric.direction, metric.unit, metric.label),
    ),
    "baselines": (("label",), lambda baseline: (baseline.label,)),
    "exporters": (("writes",), lambda exporter: (exporter.summary,)),
    "formats": (("reads",), lambda entry: (entry.summary,)),
    "verbs": (("does",), lambda verb: ((verb.__doc__ or "").strip().partition("\n")[0],)),
}
"""The columns of each registry, and the cells of one entry."""
