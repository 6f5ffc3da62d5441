"""`suggest_models`: which base models suit a task, its data and this machine."""

from __future__ import annotations

import html
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tunesmith.api.keywords import suggesting
from tunesmith.api.recipes import build_recipe, is_recipe
from tunesmith.api.using import open_door, showing
from tunesmith.events import Events

if TYPE_CHECKING:
    from tunesmith.data.formats.memory import Held
    from tunesmith.events import Listener
    from tunesmith.recipe import Recipe
    from tunesmith.types import JsonObject

_SHOWN = 10
_STYLE = "border-collapse: collapse; text-align: left"


class ModelSuggestions(dict[str, Any]):
    """Base models for a task, the recommended ones first: what `tunesmith models --json` prints."""

    @property
    def table(self) -> list[JsonObject]:
        """A mapping for each model, which `pandas.DataFrame` takes: facts, costs, score of the probe, and why."""
        return [
            {
                "model": it["id"],
                "verdict": it["verdict"],
                **{
                    key: it[key] for key in ("kind", "parameters", "licence", "context", "gated", "available")
                },
                **{
                    key: (it["cost"] or {}).get(key)
                    for key in ("epoch_s", "training_s", "memory_bytes", "fits")
                },
                "probe": None if it["probe"] is None else it["probe"]["value"],
                "why": "; ".join(reason["text"] for reason in it["reasons"]),
            }
            for it in self["models"]
        ]

    @property
    def recommended(self) -> list[str]:
        """The ids of the recommended models, in their order."""
        return [it["id"] for it in self["models"] if it["verdict"] == "recommended"]

    def to_json(self) -> JsonObject:
        """A copy of the mapping."""
        return dict(self)

    def __repr__(self) -> str:
        from tunesmith.reports import models_lines

        return "\n".join(models_lines(self, limit=_SHOWN))

    def _repr_html_(self) -> str:
        from tunesmith.reports import models_table
        from tunesmith.reports.models_table import HEADER

        shown = [it for it in self["models"] if it["verdict"] != "unfit"][: 2 * _SHOWN]
        head = "".join(f"<th>{html.escape(cell)}</th>" for cell in ("", *HEADER, "why"))
        body = "".join(
            f"<tr><td>{it['verdict']}</td>"
            + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
            + f"<td>{html.escape('; '.join(reason['text'] for reason in it['reasons']))}</td></tr>"
            for it, cells in zip(shown, models_table(shown), strict=True)
        )
        return f'<table style="{_STYLE}"><tr>{head}</tr>{body}</table>'


@suggesting
def suggest_models(
    data: Any = None,
    *,
    task: str | None = None,
    label: str | None = None,
    text: str | None = None,
    labels: object = None,
    columns: Mapping[str, str | list[str]] | None = None,
    add: Sequence[str | os.PathLike[str]] = (),
    probe: bool = False,
    max_seconds: float = 30.0,
    overrides: Mapping[str, object] | Sequence[str] = (),
    progress: bool = True,
    listeners: Iterable[Listener] = (),
) -> ModelSuggestions:
    """Base models for a task, its data and this machine, with what a training takes, and why they are recommended.

    Args:
        data: a file, or several; rows in memory; texts, with `labels`; a recipe; None for the facts alone.
        task: the task; guessed from the columns where there are data.
        label: the column of what is to be predicted, whatever the task calls it.
        text: the column of the text, whatever the task calls it.
        labels: what is to be predicted for each of the texts that `data` is.
        columns: the data's column for each of the task's.
        add: folders, runs, or ids in the local Hub cache, that join the list.
        probe: score the models on this machine by a linear probe on a sample of the rows.
        max_seconds: seconds for measurements; what is not measured then is estimated from similar models.
        overrides: values by dotted key, `{"train.bf16": False}`, under which costs are measured.
        progress: whether to show what happens.
        listeners: called with every event (`tunesmith.events`).

    Raises:
        UserError: the task is unknown, the data cannot be used, or what is added is no model.
    """
    from tunesmith import pipeline

    open_door()
    given = {"task": task, "label": label, "text": text, "labels": labels, "columns": columns}
    recipe, notices, _held = _recipe_of(data, overrides, given)
    with showing(progress, listeners) as shown:
        for notice in notices:
            Events(shown).note(notice)
        names = [os.fspath(name) for name in add]
        found = pipeline.suggest_models(
            recipe, task=task, add=names, probe=probe, max_seconds=max_seconds, listeners=shown
        )
    return ModelSuggestions(found)


def _recipe_of(
    data: Any, overrides: Mapping[str, object] | Sequence[str], given: JsonObject
) -> tuple[Recipe | None, list[str], list[Held]]:
    """The recipe of the data, or the one that is given; notices; and objects in memory, to be held."""
    notices: list[str] = []
    held: list[Held] = []
    if data is None:
        return None, notices, held
    named: JsonObject = {"data": None if is_recipe(data) else data, "output_dir": "runs/models", **given}
    recipe = data if is_recipe(data) else None
    return build_recipe(recipe, overrides=overrides, notices=notices, held=held, **named), notices, held
