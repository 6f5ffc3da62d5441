"""`tunesmith list`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import typer

from tunesmith.cli.arguments import JSON
from tunesmith.errors import RecipeError, UnknownNameError, did_you_mean

if TYPE_CHECKING:
    from tunesmith.errors import PluginError
    from tunesmith.registry import Registry
    from tunesmith.run.history import Entry
    from tunesmith.tasks import Task
    from tunesmith.types import JsonObject

EXAMPLES = ("tunesmith list", "tunesmith list tasks", "tunesmith list runs")

_RUNS, _PROMOTIONS = "runs", "promotions"


def _complete_kinds(incomplete: str) -> list[str]:
    """Names of what can be listed that begin so."""
    return [kind for kind in (_RUNS, _PROMOTIONS, *_fixed(), *_registries()) if kind.startswith(incomplete)]


def verb(
    kind: Optional[str] = typer.Argument(
        None,
        help="What to list: runs, promotions, tasks, methods, metrics, baselines, exporters, formats, trackers, "
        "statistics, packaged-models or verbs. Everything but runs and promotions, if it is left out.",
        autocompletion=_complete_kinds,
    ),
    folder: Optional[Path] = typer.Argument(
        None,
        metavar="[DIR]",
        help="For runs: the folder that holds them.  [default: runs]  For promotions: the registry.",
    ),
    as_json: bool = JSON,
) -> None:
    """Show what there is: runs, tasks, metrics, formats, ….

    KIND names what is shown in detail. An entry that an installed package adds is shown with the name and
    version of the package.

    For runs, the table has the scores of each run, its parent, and what its recipe changed against the parent: the
    run whose model it began from, or else the previous run of the same task on the same data.
    """
    from tunesmith.cli.output import print_json, print_line

    _refuse_unknown(kind, folder)
    if kind == _RUNS:
        _list_runs(folder or Path("runs"), as_json)
    elif kind == _PROMOTIONS:
        _list_promotions(folder, as_json)
    elif as_json:
        print_json(_as_json(kind))
    elif kind:
        _print_one(kind)
    else:
        _print_one("tasks")
        print_line()
        for each in (*_fixed(), *_registries()):
            if each != "tasks":
                print_line(f"{_TITLES.get(each, each)}: {', '.join(_names_with_origins(each))}")


def _refuse_unknown(kind: str | None, folder: Path | None) -> None:
    kinds = (_RUNS, _PROMOTIONS, *_fixed(), *_registries())
    if kind is not None and kind not in kinds:
        raise UnknownNameError(f"`{kind}` is nothing that can be listed.", remedy=did_you_mean(kind, kinds))
    if folder is not None and kind not in (_RUNS, _PROMOTIONS):
        raise RecipeError(f"a folder has no effect on `list {kind}`.", remedy=f"Leave `{folder}` out.")


def _list_runs(folder: Path, as_json: bool) -> None:
    from tunesmith.cli.output import print_json, print_line, print_table
    from tunesmith.run.history import runs_in

    entries = runs_in(folder)
    if as_json:
        print_json({"runs": [entry.to_json() for entry in entries]})
    elif not entries:
        print_line(f"no runs in {folder}; `tunesmith train reviews.csv` makes one")
    else:
        rows = [_cells(entry) for entry in entries]
        print_table(["run", "state", "task", "score", "interval", "parent", "changed"], rows)


def _list_promotions(registry: Path | None, as_json: bool) -> None:
    from tunesmith.api.promoting import promotions
    from tunesmith.cli.output import print_json, print_table

    if registry is None:
        raise RecipeError(
            "the registry is missing.", remedy="Give its folder: `tunesmith list promotions registry`."
        )
    found = promotions(registry)
    if as_json:
        print_json({"promotions": [one.to_json() for one in found]})
        return
    rows = [[str(one.number), one.action, str(one.run), one.at[:19], one.by, one.reason] for one in found]
    print_table(["number", "action", "run", "at (UTC)", "by", "reason"], rows)


def _cells(entry: Entry) -> list[str]:
    primary = entry.primary
    is_scored = {"name", "split", "value", "low", "high"} <= set(primary)
    return [
        str(entry.path),
        entry.state,
        entry.task,
        f"{primary['name']} {primary['value']:.4f} ({primary['split']})" if is_scored else "",
        f"{primary['low']:.4f} to {primary['high']:.4f}" if is_scored else "",
        f"{entry.parent} ({_PARENTS[entry.parent_kind]})" if entry.parent else "",
        entry.problem or ", ".join(f"{key}={_short(now)}" for key, (_, now) in entry.changed.items()),
    ]


_PARENTS = {"model": "its model", "data": "same data", "": ""}
_LONGEST_VALUE = 40


def _short(value: object) -> str:
    from tunesmith.recipe import yaml_value

    text = yaml_value(value)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"


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
    from tunesmith.monitoring.statistics import STATISTICS
    from tunesmith.tasks import TASKS
    from tunesmith.trackers import TRACKERS

    return {
        "tasks": TASKS,
        "metrics": METRICS,
        "baselines": BASELINES,
        "exporters": EXPORTERS,
        "formats": FORMATS,
        "trackers": TRACKERS,
        "statistics": STATISTICS,
        "verbs": VERBS,
    }


def _columns(task: Task) -> str:
    return ", ".join(c.name if c.required else f"[{c.name}]" for c in task.columns)


def _models(task: Task) -> str:
    """The kinds of models that learn a task."""
    kinds = {"AutoModelForCausalLM": "decoder", "AutoModelForSeq2SeqLM": "encoder with decoder"}
    kind = kinds.get(task.auto_class, "encoder")
    return kind if task.decoders is None else f"{kind}, or decoder"


_TITLES = {"exporters": "export formats", "formats": "data formats", "packaged-models": "packaged models"}

_COLUMNS: dict[str, tuple[tuple[str, ...], Callable[[Any], tuple[str, ...]]]] = {
    "tasks": (
        ("columns", "primary metric", "model", "learns"),
        lambda task: (_columns(task), task.primary_metric, _models(task), task.summary),
    ),
    "metrics": (
        ("direction", "unit", "label"),
        lambda metric: (metric.direction, metric.unit, metric.label),
    ),
    "baselines": (("label",), lambda baseline: (baseline.label,)),
    "exporters": (("writes",), lambda exporter: (exporter.summary,)),
    "formats": (("reads",), lambda entry: (entry.summary,)),
    "trackers": (("writes",), lambda tracker: (tracker.summary,)),
    "statistics": (("alarms", "measures"), lambda it: ("yes" if it.tested else "no", it.summary)),
    "verbs": (("does",), lambda verb: ((verb.__doc__ or "").strip().partition("\n")[0],)),
}
"""The columns of each registry, and the cells of one entry."""
