"""Exports a finished run to a folder in another format, if it still gives the same answers.

    rows → write → load → compare → publish

Both models answer the same rows of the run, through the same predictor. The loss of the export is written to its
`export.json`. If it is more than the recipe's `export` section allows, nothing is kept.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.examples import Examples
from tunesmith.data.grouping import group_columns
from tunesmith.data.invalid_rows import refuse_invalid_rows
from tunesmith.data.preparing import data_fingerprint_of, prepare, read_checked
from tunesmith.data.read_options import ReadOptions
from tunesmith.encoded import Encoded
from tunesmith.environment import versions
from tunesmith.errors import DataError, ModelError, RecipeError, RunError, UserError
from tunesmith.evaluation.agreement import Agreement, compare
from tunesmith.evaluation.scoring import Scored
from tunesmith.events import Events, Listener
from tunesmith.exporters import EXPORTERS, Exporter, Source, refuse_unfit
from tunesmith.inference.exported import EXPORT_FILE, is_export
from tunesmith.inference.predictor import Predictor
from tunesmith.inference.trust import TRUST_FILE, Trust
from tunesmith.models.plain_tokenizer import facts_of_tokenizer
from tunesmith.recipe import ExportRecipe, Recipe, RecipeDraft
from tunesmith.run import Run, sha256_of, write_json
from tunesmith.run.files import published_as
from tunesmith.run.locking import refuse_several_processes
from tunesmith.training.reference import load_reference, with_reference

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

_MOST_ROWS = 10_000
_MOST_GENERATED_ROWS = 200
_CALIBRATION_ROWS = 512


def export(
    path: str | os.PathLike[str],
    to: str,
    *,
    output_dir: str | os.PathLike[str] | None = None,
    data: Sequence[str] = (),
    columns: Mapping[str, str | list[str]] | None = None,
    overrides: Mapping[str, object] | Sequence[str] = (),
    force: bool = False,
    listeners: Iterable[Listener] = (),
) -> JsonObject:
    """Writes a run in another format, checked against the run.

    Args:
        path: run folder.
        to: name of the format in `tunesmith.exporters`.
        output_dir: folder to write; None writes `RUN-FORMAT` beside the run.
        data: files of rows for the check, if those of the run are gone.
        columns: the file's column for each column of the task; None takes those of the run.
        overrides: values of the recipe's `export` section that override the run's:
            `{"export.min_agreement": 0.98}`, or `["export.min_agreement=0.98"]`.
        force: replace an earlier export in `output_dir`.
        listeners: called with every event (`tunesmith.events`).

    Returns:
        The content of the folder's `export.json`, and `path`.

    Raises:
        UserError: the run, its data or the folder cannot be used, or the export loses more than is allowed.
    """
    refuse_several_processes()
    events = Events(listeners)
    exporter, run = EXPORTERS.get(to), Run.open(path)
    limits = _limits(run.recipe(), overrides)
    home = run.path.resolve()
    target = Path(output_dir) if output_dir else home.with_name(f"{home.name}-{to}")
    _refuse_taken(target, force=force)
    events.stage("load", f"Loading {run.path}")
    predictor = Predictor.from_run(path)
    refuse_unfit(to, exporter, predictor.task)
    events.stage("read", "Reading the data")
    rows = _Rows(run, predictor, data, columns, events)
    with published_as(target) as folder:
        facts = _write(run, to, exporter, rows, folder, events)
        facts["check"] = _check(rows, folder, limits, events)
        write_json(folder / EXPORT_FILE, facts)
    return {"path": str(target), **facts}


def _limits(recipe: Recipe, overrides: Mapping[str, object] | Sequence[str]) -> ExportRecipe:
    """The limits of the check, from the run's recipe or the caller."""
    draft = RecipeDraft(tree=recipe.model_dump(mode="json"))
    draft.override_all(overrides)
    changed = draft.validate()
    if changed.model_copy(update={"export": recipe.export}) != recipe:
        raise RecipeError(
            "only keys of `export` can be changed after training.",
            remedy=f"Known: {', '.join(f'`export.{key}`' for key in ExportRecipe.model_fields)}.",
        )
    return changed.export


def _refuse_taken(target: Path, *, force: bool) -> None:
    """Refuses to replace a folder that is not an export, or an earlier export without `force`."""
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not is_export(target):
        raise RunError(
            f"`{target}` already exists, and does not hold an export.",
            remedy="Choose another `--output-dir`.",
        )
    if not force:
        raise RunError(
            f"`{target}` already holds an export.", remedy="Choose another `--output-dir`, or give `--force`."
        )


@dataclass
class _Rows:
    """The rows of a run for the calibration and the check of an export.

    Args:
        run: whose rows they are.
        predictor: of the run.
        data: files to read instead.
        columns: of these files.
        events: listeners.
    """

    run: Run
    predictor: Predictor
    data: Sequence[str]
    columns: Mapping[str, str | list[str]] | None
    events: Events

    def __post_init__(self) -> None:
        splits = self._given() if self.data else self._of_the_run()
        generates = self.predictor.task.generation
        most = _MOST_GENERATED_ROWS if generates else _MOST_ROWS
        self._picked = _spread(len(splits["validation"]), most)
        self.checked = splits["validation"].take(self._picked)
        self._train = splits["train"]
        self.events.note(
            f"{len(self.checked):,} of {len(splits['validation']):,} validation rows check the export"
        )

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe that the run used."""
        return self.run.recipe()

    @cached_property
    def encoded(self) -> Encoded:
        """The sequences of the rows of the check."""
        encoded = self.predictor.encode_to_score(self.checked)
        if not self.predictor.task.reference:
            return encoded
        reference = load_reference(self.run.checkpoints / "reference-validation.safetensors", self.run.run_id)
        if reference is None or len(reference) <= self._picked.max():
            raise RunError(
                f"`{self.run.checkpoints}` no longer holds the reference likelihoods of the loss.",
                remedy="Train the run again.",
            )
        return with_reference(encoded, reference[self._picked])

    def calibration(self) -> Encoded:
        """Sequences of some training rows."""
        return self.predictor.encode_to_score(self._train.take(_spread(len(self._train), _CALIBRATION_ROWS)))

    def seen_by(self, predictor: Predictor, name: str) -> tuple[Scored, float]:
        """The rows as a predictor sees them, and how many it sees a second."""
        encoded = self.encoded
        began = time.perf_counter()
        evaluated = predictor.score(
            self.checked, encoded, advance=self.events.progress(f"texts by the {name}")
        )
        rate = len(self.checked) / (time.perf_counter() - began)
        return Scored(
            predictor.task, predictor.label_schema, self.checked, evaluated, self.recipe.data.group_by
        ), round(rate, 1)

    def _of_the_run(self) -> dict[str, Examples]:
        """The splits that the run was trained with, read again."""
        try:
            now = data_fingerprint_of(self.recipe.data)
        except (UserError, OSError) as error:
            raise DataError(
                f"an export is checked on the run's validation rows, and they cannot be read: {_rule(error)}",
                remedy=_OTHER_ROWS,
            ) from None
        if now != self.run.manifest()["data"]["fingerprint"]:
            raise DataError(
                f"an export is checked on the run's validation rows, and the data files of `{self.run.path}` have "
                "changed since.",
                remedy=_OTHER_ROWS,
            )
        return prepare(self.predictor.task, self.recipe).splits

    def _given(self) -> dict[str, Examples]:
        """Rows that the user gave, for the check and the calibration."""
        task, label_schema = self.predictor.task, self.predictor.label_schema
        if task.reference:
            raise DataError(
                f"`{task.name}` needs reference likelihoods, which exist only for the run's rows.",
                remedy="Put the run's data files back, and leave `--data` out.",
            )
        reading = read_checked(
            task,
            list(self.data),
            label_schema,
            ReadOptions(
                self.columns or {},
                optional=group_columns(self.recipe.data.group_by),
                align=self.recipe.data.align_answers,
                remembered=self.predictor.columns,
            ),
        )
        refuse_invalid_rows(
            reading.invalid_rows, len(reading.examples), remedy="Fix them, or take them out of the file."
        )
        return {"train": reading.examples, "validation": reading.examples}


_OTHER_ROWS = "Put the files back, or give rows with labels that were not used in training: `--data FILE`."


def _spread(n: int, most: int) -> NDArray[np.int64]:
    """At most `most` of n rows, spread evenly, since a file may be sorted."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).astype(np.int64))


def _rule(error: UserError | OSError) -> str:
    return error.rule if isinstance(error, UserError) else f"{error}."


def _write(run: Run, to: str, exporter: Exporter, rows: _Rows, folder: Path, events: Events) -> JsonObject:
    """Fills the folder; `export.json` stands there before the check, which loads the folder by it."""
    events.stage("write", f"Writing {to}")
    with tempfile.TemporaryDirectory(prefix="tunesmith-export-") as scratch:
        acceleration = rows.recipe.train.acceleration
        source = Source(
            rows.predictor.task, run.model, rows.calibration, Path(scratch), events.note, acceleration
        )
        made = exporter.write(source, folder)
    _carry_trust(run, folder, exporter, events)
    facts = {
        "format": to,
        "runtime": exporter.runtime,
        "task": rows.predictor.task.name,
        "overlap_tokens": rows.predictor.overlap,
        "train_on": rows.predictor.how.train_on,
        "too_long": rows.predictor.how.too_long,
        "acceleration": acceleration,
        "read_as": list(rows.predictor.columns),
        "tokenizer": facts_of_tokenizer(rows.predictor.tokenizer),
        "source": _origin(run),
        "made": dict(made),
        "versions": versions() | {name: metadata.version(name) for name in exporter.modules},
        "bytes": sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()),
    }
    write_json(folder / EXPORT_FILE, facts)
    return facts


def _carry_trust(run: Run, folder: Path, exporter: Exporter, events: Events) -> None:
    """What predictions need beside the model; its threshold is in config.json already."""
    file = run.model / TRUST_FILE
    if not file.is_file():
        return
    shutil.copyfile(file, folder / TRUST_FILE)
    if exporter.runtime == "onnxruntime" and Trust.of_model(folder).scope is not None:
        events.note("an ONNX graph gives answers alone: predictions of this export have no `out_of_scope`")


def _origin(run: Run) -> JsonObject:
    manifest = run.manifest()
    return {
        "run": str(run.path.resolve()),
        "base_model": manifest["model"]["name"],
        "data": manifest["data"]["fingerprint"],
        "weights": {file.name: sha256_of(file) for file in sorted(run.model.glob("*.safetensors"))},
    }


def _check(rows: _Rows, folder: Path, limits: ExportRecipe, events: Events) -> JsonObject:
    """Compares the export with the run on the same rows, and refuses it where it loses too much."""
    events.stage("compare", "Comparing with the run")
    first, rate = rows.seen_by(rows.predictor, "run")
    second, other_rate = rows.seen_by(Predictor.from_run(folder), "export")
    found = compare(first, second, rows.recipe.evaluate, rows.recipe.seed)
    events.note(
        f"{found.share:.2%} of {found.rows:,} answers are the same; {found.metric} {found.first.value:.4f} → "
        f"{found.second.value:.4f} (lost {found.drop.value:.4f}, {found.drop.low:.4f} to {found.drop.high:.4f})"
    )
    _refuse_loss(found, limits)
    return {
        **found.to_json("run", "export"),
        "texts_per_s": {"run": rate, "export": other_rate},
        "allowed": limits.model_dump(mode="json"),
    }


def _refuse_loss(found: Agreement, limits: ExportRecipe) -> None:
    """Raises an error if an export exceeds a limit; NaN passes no limit."""
    over = []
    if not found.share >= limits.min_agreement:
        over.append(
            (
                f"{found.share:.2%} of its answers are equal to the run's",
                "min_agreement",
                f"{limits.min_agreement:.2%}",
            )
        )
    if not found.drop.value <= limits.max_metric_drop:
        over.append(
            (
                f"its {found.metric} falls by {found.drop.value:.4f}",
                "max_metric_drop",
                f"{limits.max_metric_drop}",
            )
        )
    if over:
        said = ", and ".join(f"{fact} (export.{key} is {limit})" for fact, key, limit in over)
        raise ModelError(
            f"the export is refused, and nothing was kept: {said}, on {found.rows:,} rows.",
            remedy=f"Use another format, or allow more: `export.{over[0][1]}=…`.",
        )
