"""`tune`, from what people hold to the best recipe and its run."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Unpack

from tunesmith.api.keywords import spelled_out, suggesting
from tunesmith.api.recipes import build_recipe, is_recipe, only_one
from tunesmith.api.run import Run
from tunesmith.api.shown import Report
from tunesmith.api.using import open_door, showing
from tunesmith.api.verb_keywords import TUNE_DEFAULTS, TuneKeywords
from tunesmith.events import Events
from tunesmith.run import read_json

if TYPE_CHECKING:
    from tunesmith.data.formats.memory import Held
    from tunesmith.recipe import Recipe
    from tunesmith.tuning.folder import SearchFolder
    from tunesmith.types import JsonObject

_OF_THE_RECIPE = (
    "labels", "label", "text", "task", "model", "validation", "test", "columns", "output_dir", "method",
    "max_length", "seed",
)  # fmt: skip
_OF_THE_SEARCH = ("space", "trials", "time")


class TuneResult:
    """What a search found.

    Args:
        folder: folder of the search.
        held: objects in memory that were trained on.
    """

    def __init__(self, folder: SearchFolder, held: Sequence[Held] = ()) -> None:
        self._folder, self._held = folder, list(held)
        self._json: JsonObject = read_json(folder.result_file)

    @property
    def best(self) -> Run:
        """The run of the best recipe."""
        return Run(self._folder.best, self._held)

    @property
    def recipe(self) -> str:
        """Path of the best recipe, `best.yaml`."""
        return str(self._folder.best_recipe)

    @property
    def values(self) -> JsonObject:
        """The values that differ from those of the default recipe, by key; empty if that one was chosen."""
        return dict(self._json["best"]["values"])

    @property
    def trials(self) -> list[JsonObject]:
        """A mapping a trial, which `pandas.DataFrame` takes: stage, number, state, value, seconds, and values."""
        own = ("stage", "number", "state", "value", "seconds")
        return [{**{key: it[key] for key in own}, **it["values"]} for it in self._json["trials"]]

    @property
    def report(self) -> Report:
        """The report, which a notebook shows and `.open()` opens in the browser."""
        return Report(self._folder.report_file)

    def to_json(self) -> JsonObject:
        """The content of tune.json."""
        return dict(self._json)

    def __repr__(self) -> str:
        return "\n".join(self._json["text"])

    def _repr_html_(self) -> str:
        return "".join(f"<p>{html.escape(line)}</p>" for line in self._json["text"])


@suggesting
@spelled_out(TuneKeywords, TUNE_DEFAULTS)
def tune(data: Any = None, **keywords: Unpack[TuneKeywords]) -> TuneResult | None:
    """Searches for the best recipe and trains it; on the folder of a stopped search, resumes.

    `tune("reviews.csv", time="20m")` and `tune("recipe.yaml", trials=40)` are all that is needed.

    Args:
        data: a file, or several; a DataFrame, a `datasets.Dataset` or `DatasetDict`, a list of rows, a mapping of
            columns; a tuple of texts and labels, or texts with `labels`; or a recipe.
        **keywords: the keywords.

    Returns:
        What was found: `best` is the run, `recipe` is the path of its recipe, `report` is the report. None if
        another machine leads the search, which this one has joined.

    Raises:
        UserError: the recipe, the data, the model, the space or the storage must be fixed first.
        InterruptedRunError: a signal or `should_stop` stopped the search; the same call resumes it.
    """
    from tunesmith import tuning

    open_door()
    given: JsonObject = {**TUNE_DEFAULTS, **keywords}
    held: list[Held] = []
    notices: list[str] = []
    recipe = tune_recipe(data, given, notices, held)
    named = {field.name for field in fields(tuning.Options)}
    options = tuning.Options(**{name: given[name] for name in named if given.get(name) is not None})
    with showing(given["progress"], given["listeners"]) as shown:
        for notice in notices:
            Events(shown).note(notice)
        folder = tuning.tune(recipe, options, shown)
    return TuneResult(folder, held) if folder.result_file.is_file() else None


def tune_recipe(data: Any, given: JsonObject, notices: list[str], held: list[Any]) -> Recipe:
    """The recipe of a search; its folder is beside that of the run which the recipe names.

    Args:
        data: data, or a recipe.
        given: keywords of `tune`.
        notices: list to which what was chosen is appended.
        held: list to which objects in memory are appended.

    Raises:
        UserError: the recipe is wrong.
    """
    from tunesmith.tuning import in_own_folder

    recipe = given.get("recipe")
    if is_recipe(data):
        data, recipe = None, only_one(data, recipe)
    of_search = {f"tune.{key}": given[key] for key in _OF_THE_SEARCH if given.get(key) is not None}
    built = build_recipe(
        recipe,
        overrides=given.get("overrides", ()),
        notices=notices,
        held=held,
        replaces=bool(given.get("force")),
        data=data,
        **{name: given.get(name) for name in _OF_THE_RECIPE},
        **of_search,
    )
    if given.get("output_dir") is not None:
        return built
    return in_own_folder(built)
