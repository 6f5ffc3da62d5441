"""Formats that a finished run can be exported to. One file in this folder is one, named as after `--to`.

An exporter writes a folder from the run's model, and knows nothing of what becomes of it: that the folder
answers as the run does, and appears whole or not at all, is seen to by `tunesmith.exporting`, for all of them.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.encoded import Encoded
from tunesmith.errors import ModelError, UserError
from tunesmith.registry import Registry
from tunesmith.tasks import Task


@dataclass(frozen=True)
class Source:
    """What an exporter works from.

    Args:
        task: that the model was trained for.
        model: the run's folder `model/`, a whole model or an adapter.
        calibration: sequences of training rows, for formats that need to see what goes through the model; they
            are read only when asked for.
        scratch: a folder for what is needed on the way; it goes when the export is done.
        tell: takes a line for the user.
        acceleration: `train.acceleration` of the run's recipe.
    """

    task: Task
    model: Path
    calibration: Callable[[], Encoded]
    scratch: Path
    tell: Callable[[str], None]
    acceleration: bool = True


@dataclass(frozen=True)
class Exporter:
    """One format.

    Args:
        summary: what it is, for `tunesmith list`.
        write: fills an empty folder; returns what `export.json` shall say of how it was made.
        runtime: what runs it, see `tunesmith.inference.exported`.
        generates: whether it can hold a model that writes texts, token by token.
        modules: Python modules that it needs besides ours.
        extra: the extra of this package that installs them.
    """

    summary: str
    write: Callable[[Source, Path], Mapping[str, Any]]
    runtime: str
    generates: bool = False
    modules: tuple[str, ...] = ()
    extra: str = ""


EXPORTERS: Registry[Exporter] = Registry("tunesmith.exporters", "exporter", Exporter)


def refuse_unfit(name: str, exporter: Exporter, task: Task) -> None:
    """Stops before any work where a format cannot hold the model, or a package is missing.

    Args:
        name: of the exporter.
        exporter: the format.
        task: of the run.

    Raises:
        ModelError: the model writes texts, and the format holds a single forward pass.
        UserError: a package is not installed.
    """
    if not exporter.generates and (task.generation or task.reference):
        raise ModelError(
            f"`--to {name}` holds one forward pass, and a model for {task.name} writes token by token.",
            remedy="Use `--to merged`.",
        )
    refuse_without(exporter.modules, exporter.extra, f"`--to {name}`")


def refuse_without(modules: tuple[str, ...], extra: str, what: str) -> None:
    """Stops where a module cannot be imported.

    Args:
        modules: their names.
        extra: of this package, that installs them.
        what: needs them.

    Raises:
        UserError: naming the command that installs it.
    """
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"{what} needs the package `{missing[0]}`, which is not installed.",
            remedy=f"Install it: `pip install 'tunesmith[{extra}]'`.",
        )
