"""The Python interface: `tunesmith.train(...)`, `tunesmith.load(run)`, and the rest by the verbs' names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith._telemetry import switch_off_telemetry
from tunesmith.recipe import Recipe, RecipeDraft

if TYPE_CHECKING:
    from tunesmith.inference.predictor import Predictor
    from tunesmith.progress import Progress
    from tunesmith.run import Run
    from tunesmith.tasks import Values


def build_recipe(
    recipe: Recipe | str | Path | Mapping[str, Any] | None = None,
    *,
    overrides: Mapping[str, Any] | Sequence[str] = (),
    notices: list[str] | None = None,
    **values: Any,
) -> Recipe:
    """A recipe from a file, a mapping or nothing, with values put over it.

    Args:
        recipe: a recipe, a YAML file, a plain mapping, or nothing.
        overrides: `{"train.learning_rate": 1e-4}`, or `["train.learning_rate=1e-4"]`; these win.
        notices: filled with what was understood under another name.
        values: `task`, `model`, `data`, `validation`, `test`, `columns`, `output_dir`; None is not given.

    Raises:
        RecipeError: a key is unknown, or a value is wrong.
    """
    if isinstance(recipe, Recipe):
        draft = RecipeDraft(tree=recipe.model_dump(mode="json", exclude_unset=True))
    elif isinstance(recipe, Mapping):
        draft = RecipeDraft(tree=RecipeDraft.copy_tree(recipe))
    elif recipe is not None:
        draft = RecipeDraft.read(Path(recipe))
        draft.resolve_paths(Path(recipe).parent)
    else:
        draft = RecipeDraft(tree={"data": {}})
    for name, value in values.items():
        if value is not None:
            draft.set(_DOTTED.get(name, name), value, f"argument {name}")
    draft.override_all(overrides)
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
    recipe: Recipe | str | Path | Mapping[str, Any] | None = None,
    *,
    overrides: Mapping[str, Any] | None = None,
    force: bool = False,
    progress: Progress | None = None,
    **values: Any,
) -> Run:
    """Trains, evaluates and reports; on the folder of a stopped run, goes on with it.

    Args:
        recipe: a recipe, a YAML file, a plain mapping, or nothing.
        overrides: values by dotted key, `{"train.learning_rate": 1e-4}`.
        force: clear another run that is in `output_dir`.
        progress: told of what is done.
        values: `task`, `model`, `data`, `validation`, `test`, `columns`, `output_dir`.

    Returns:
        The run; `run.metrics()` are its scores.

    Raises:
        UserError: the recipe, the data or the model must be mended first.
    """
    from tunesmith import pipeline

    switch_off_telemetry()
    built = build_recipe(recipe, overrides=overrides or {}, **values)
    return pipeline.train(built, force=force, progress=progress)


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
    columns: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Scores of a run on other data, as in `metrics.json`.

    Args:
        run: the run folder.
        data: a file, or several.
        columns: the file's column for each of the task's; those of the run when None.
        progress: told of what is done.

    Raises:
        UserError: the run or the data cannot be used.
    """
    from tunesmith import pipeline

    switch_off_telemetry()
    sources = [data] if isinstance(data, str) else list(data)
    return pipeline.evaluate(run, sources, columns=columns, progress=progress)


def export(
    run: str | Path,
    to: str,
    *,
    output_dir: str | Path | None = None,
    data: str | Sequence[str] = (),
    columns: Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """A run in another format, checked against the run; `load` takes its folder like a run's.

    Args:
        run: the run folder.
        to: the format: `merged`, `bf16`, `onnx`, `onnx-int8`.
        output_dir: the folder to write; beside the run, with the format's name after its own, when None.
        data: a file, or several, to check with, where those of the run are gone.
        columns: the file's column for each of the task's; those of the run when None.
        overrides: what the export may lose: `{"export.max_metric_drop": 0.02}`.
        force: replace an earlier export.
        progress: told of what is done.

    Returns:
        What the folder's `export.json` says, and `path`.

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
        progress=progress,
    )
