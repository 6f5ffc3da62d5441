"""Export formats. Each module in this folder is one format, with the name that `--to` takes.

An exporter only writes a folder from the run's model. `tunesmith.exporting` checks, for all formats, that the
folder gives the same answers as the run, and makes it appear as a whole or not at all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.encoded import Encoded
from tunesmith.errors import ModelError
from tunesmith.extras import refuse_without
from tunesmith.registry import Registry
from tunesmith.tasks import Task

if TYPE_CHECKING:
    from tunesmith.types import JsonObject


@dataclass(frozen=True)
class Source:
    """The inputs of an exporter.

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
        summary: one-line description for `tunesmith list`.
        write: function that fills an empty folder, and returns facts for `export.json`.
        runtime: name of the runtime, see `tunesmith.inference.exported`.
        generates: whether it can hold a model that generates texts.
        modules: additional Python modules that it needs.
        extra: extra of this package that installs these modules.
    """

    summary: str
    write: Callable[[Source, Path], JsonObject]
    runtime: str
    generates: bool = False
    modules: tuple[str, ...] = ()
    extra: str = ""


EXPORTERS: Registry[Exporter] = Registry("tunesmith.exporters", "exporter", Exporter)


def refuse_unfit(name: str, exporter: Exporter, task: Task) -> None:
    """Raises an error if a format cannot hold the model, or a package is missing.

    Args:
        name: name of the exporter.
        exporter: export format.
        task: task of the run.

    Raises:
        ModelError: the model generates texts, and the format holds a single forward pass.
        UserError: a package is not installed.
    """
    if not exporter.generates and (task.generation or task.reference):
        raise ModelError(
            f"`--to {name}` holds one forward pass, and a model for {task.name} generates token by token.",
            remedy="Use `--to merged`.",
        )
    refuse_without(exporter.modules, exporter.extra, f"`--to {name}`")
