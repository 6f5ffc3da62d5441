"""The Python interface: `tunesmith.train(...)`, `tunesmith.load(run)`, and a function for each other verb."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith._telemetry import switch_off_telemetry
from tunesmith.recipe import Recipe, RecipeDraft

if TYPE_CHECKING:
    from tunesmith.events import Listener
    from tunesmith.inference.predictor import Predictor
    from tunesmith.run import Run
    from tunesmith.tasks import Values
    from tunesmith.types import JsonObject


def build_recipe(
    recipe: Recipe | str | Path | Mapping[str, object] | None = None,
    *,
    overrides: Mapping[str, object] | Sequence[str] = (),
    notices: list[str] | None = None,
    label: str | None = None,
    text: str | None = None,
    replaces: bool = False,
    **values: object,
) -> Recipe:
    """A recipe from a file, a mapping or nothing, with values that override it.

    The `recipe.yaml` of a run folder is that of this run, wherever the folder is now.

    Args:
        recipe: a recipe, a YAML file, a plain mapping, or nothing.
        overrides: `{"train.learning_rate": 1e-4}`, or `["train.learning_rate=1e-4"]`; they win.
        notices: list to which keys that were given under another name are appended.
        label: the file's column of what is learned, whatever the task calls it.
        text: the file's column of the text, whatever the task calls it.
        replaces: whether the run may take the folder of another one.
        values: `task`, `model`, `data`, `validation`, `test`, `columns`, `output_dir`; None sets nothing.

    Raises:
        RecipeError: a key is unknown, or a value is wrong.
        DataError: the task is not named, and the data do not say which one they are for.
    """
    from tunesmith.defaults import complete
    from tunesmith.run import is_recipe_of_run

    if isinstance(recipe, Recipe):
        draft = RecipeDraft(tree=recipe.model_dump(mode="json", exclude_unset=True))
    elif isinstance(recipe, Mapping):
        draft = RecipeDraft(tree=RecipeDraft.copy_tree(recipe))
    elif recipe is not None:
        draft = RecipeDraft.read(Path(recipe))
        draft.resolve_paths(Path(recipe).parent)
        if is_recipe_of_run(Path(recipe)):
            folder = Path(recipe).parent
            draft.set("output_dir", str(folder if folder.name else folder.resolve()), str(recipe))
    else:
        draft = RecipeDraft(tree={"data": {}})
    for name, value in values.items():
        if value is not None:
            draft.set(_DOTTED.get(name, name), value, f"argument {name}")
    draft.override_all(overrides)
    complete(draft, label=label, text=text, is_open=recipe is None, replaces=replaces)
    built = draft.validate()
    if notices is not None:
        notices += draft.notices
    return built


_DOTTED = {
    "data": "data.train",
    "validation": "data.validation",
    "test": "data.test",
    "columns": "data.columns",
}


def train(
    recipe: Recipe | str | Path | Mapping[str, object] | None = None,
    *,
    overrides: Mapping[str, object] | None = None,
    force: bool = False,
    listeners: Iterable[Listener] = (),
    should_stop: Callable[[], bool] | None = None,
    **values: Any,
) -> Run:
    """Trains, evaluates and reports; on the folder of a stopped run, resumes it.

    Args:
        recipe: a recipe, a YAML file, a plain mapping, or nothing.
        overrides: values by dotted key, `{"train.learning_rate": 1e-4}`.
        force: clear another run that is in `output_dir`.
        listeners: called with every event (`tunesmith.events`).
        should_stop: asked after every step, from the thread that trains; when it gives True, everything is saved
            and the training ends with InterruptedRunError.
        values: `task`, `model`, `data`, `validation`, `test`, `columns`, `output_dir`.

    Returns:
        The run; `run.metrics()` are its scores.

    Raises:
        UserError: the recipe, the data or the model must be fixed first.
    """
    from tunesmith import pipeline

    switch_off_telemetry()
    built = build_recipe(recipe, overrides=overrides or {}, **values)
    stop = {} if should_stop is None else {"should_stop": should_stop}
    return pipeline.train(built, force=force, listeners=listeners, **stop)


def load(run: str | Path) -> Predictor:
    """The predictor of a finished run: `load("runs/reviews")("a text")`.

    Raises:
        RunError: there is no finished run in the folder.
    """
    from tunesmith.inference.predictor import Predictor

    switch_off_telemetry()
    return Predictor.from_run(run)


def predict(run: str | Path, texts: str | Values | Iterable[str | Values]) -> Any:
    """Answers of a run: one for a text, a list for several.

    Raises:
        RunError: there is no finished run in the folder.
        RowError: a text is empty or not text.
    """
    return load(run)(texts)


def evaluate(
    run: str | Path,
    data: str | Sequence[str],
    *,
    columns: Mapping[str, str | list[str]] | None = None,
    listeners: Iterable[Listener] = (),
) -> JsonObject:
    """Scores of a run on other data, as in `metrics.json`.

    Args:
        run: the run folder.
        data: a file, or several.
        columns: the file's column for each of the task's; those of the run when None.
        listeners: called with every event (`tunesmith.events`).

    Raises:
        UserError: the run or the data cannot be used.
    """
    from tunesmith import pipeline

    switch_off_telemetry()
    sources = [data] if isinstance(data, str) else list(data)
    return pipeline.evaluate(run, sources, columns=columns, listeners=listeners)


def export(
    run: str | Path,
    to: str,
    *,
    output_dir: str | Path | None = None,
    data: str | Sequence[str] = (),
    columns: Mapping[str, str | list[str]] | None = None,
    overrides: Mapping[str, object] | None = None,
    force: bool = False,
    listeners: Iterable[Listener] = (),
) -> JsonObject:
    """A run in another format, checked against the run; `load` opens its folder as that of a run.

    Args:
        run: the run folder.
        to: the format: `merged`, `bf16`, `onnx`, `onnx-int8`.
        output_dir: the folder to write; beside the run, with the format's name after its own, when None.
        data: a file, or several, to check with, where those of the run are gone.
        columns: the file's column for each of the task's; those of the run when None.
        overrides: what the export may lose: `{"export.max_metric_drop": 0.02}`.
        force: replace an earlier export.
        listeners: called with every event (`tunesmith.events`).

    Returns:
        The content of the folder's `export.json`, and `path`.

    Raises:
        UserError: the run or its data cannot be used, or the export loses more than is allowed.
    """
    from tunesmith import exporting

    switch_off_telemetry()
    return exporting.export(
        run,
        to,
        output_dir=output_dir,
        data=[data] if isinstance(data, str) else data,
        columns=columns,
        overrides=overrides or {},
        force=force,
        listeners=listeners,
    )
