"""Tests of what every exporter must do; a new exporter inherits them.

    class TestOnnx(ExporterContract):
        name = "onnx"

The suite trains a tiny run, exports it, and asks both the same questions. Subclasses can set another task, family
of models or method of training, and the allowed differences.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pytest

from tunesmith.inference.exported import EXPORT_FILE
from tunesmith.run import write_json
from tunesmith.testing._fixtures import train_leanly
from tunesmith.testing.tiny import tiny_task_rows, write_rows, write_tiny_model
from tunesmith.testing.tiny_tasks import Row

if TYPE_CHECKING:
    from tunesmith.inference.predictor import Predictor
    from tunesmith.run import Run
    from tunesmith.tasks import Prediction
    from tunesmith.types import JsonObject


class ExporterContract:
    """The suite; subclass it as `Test…` and set the attributes that differ."""

    name: ClassVar[str]
    """Name of the exporter."""
    task: ClassVar[str] = "text-classification"
    family: ClassVar[str] = "bert"
    """Family of the tiny model."""
    layers: ClassVar[int] = 2
    """Layers of the tiny model."""
    train: ClassVar[JsonObject] = {}
    """Changes to the recipe's section `train`."""
    allowed: ClassVar[dict[str, float]] = {}
    """Overrides of `export.…` for an export that may lose more than usual."""
    near: ClassVar[float] = 1e-4
    """Largest allowed difference between numbers in the answers of the export and of the run."""

    def rows(self, n: int, seed: int) -> list[Row]:
        """Rows for a file."""
        return tiny_task_rows(self.task, n, seed=seed)

    def questions(self) -> list[JsonObject]:
        """Questions for the run and the export: long and short rows that were not trained on."""
        from tunesmith.tasks import TASKS

        names = {column.name for column in TASKS.get(self.task).columns if not column.target}
        return [{k: v for k, v in row.items() if k in names} for row in self.rows(40, seed=9)]

    # ---- made once for all tests of a subclass ----

    @pytest.fixture(scope="class")
    @classmethod
    def files(cls, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
        """A file for each split."""
        folder = tmp_path_factory.mktemp("data")
        rows = cls().rows(152, seed=0)
        parts = {"train": rows[:80], "validation": rows[80:112], "test": rows[112:]}
        return {name: [str(write_rows(folder / f"{name}.jsonl", part))] for name, part in parts.items()}

    @pytest.fixture(scope="class")
    @classmethod
    def run(cls, files: dict[str, list[str]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
        """One finished training."""
        from tunesmith.recipe import Recipe

        folder = tmp_path_factory.mktemp("model") / cls.family
        base = write_tiny_model(folder, family=cls.family, layers=cls.layers)
        recipe = Recipe.model_validate({
            "task": cls.task,
            "model": str(base),
            "output_dir": str(tmp_path_factory.mktemp("runs") / "run"),
            "data": files,
            "train": {"max_steps": 30, "learning_rate": 5e-3, "per_device_train_batch_size": 16, **cls.train},
            "evaluate": {"bootstrap_samples": 100, "baselines": False},
        })  # fmt: skip
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TUNESMITH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
            yield train_leanly(recipe)

    @pytest.fixture(scope="class")
    @classmethod
    def earlier(cls, run: Run) -> Path:
        """The folder of an earlier export, with a file that the new one will not have."""
        folder = run.path.with_name(f"{run.path.name}-{cls.name}")
        folder.mkdir()
        write_json(folder / EXPORT_FILE, {})
        (folder / "stale").write_text("", encoding="utf-8")
        return folder

    @pytest.fixture(scope="class")
    @classmethod
    def facts(cls, run: Run, earlier: Path) -> JsonObject:
        """The facts that the export returns about itself; it has replaced the earlier one."""
        from tunesmith import export

        return export(run.path, cls.name, overrides=cls.allowed, force=True)

    @pytest.fixture(scope="class")
    @classmethod
    def predictors(cls, run: Run, facts: JsonObject) -> tuple[Predictor, Predictor]:
        """The predictors of the run and of the export."""
        from tunesmith import load

        return load(run.path), load(facts["path"])

    # ---- the tests ----

    def test_it_is_listed(self) -> None:
        """The exporter is listed by the name of its file, with a summary."""
        from tunesmith.exporters import EXPORTERS

        assert self.name in EXPORTERS.names()
        summary = EXPORTERS.get(self.name).summary
        assert summary
        assert not summary.endswith(".")

    def test_it_says_what_it_was_made_from_and_how_it_compares(self, run: Run, facts: JsonObject) -> None:
        """The facts hold the checksums of the weights, the number of rows, and the metric of both models."""
        from tunesmith.inference.exported import facts_of
        from tunesmith.run import sha256_of

        assert {**facts_of(facts["path"]), "path": facts["path"]} == facts
        assert facts["format"] == self.name
        assert facts["task"] == self.task
        weights = {file.name: sha256_of(file) for file in run.model.glob("*.safetensors")}
        assert facts["source"]["weights"] == weights
        check = facts["check"]
        assert check["rows"] == 32
        assert check["run"]["low"] <= check["run"]["value"] <= check["run"]["high"]
        worse = abs(check["run"]["value"] - check["export"]["value"])
        assert abs(check["drop"]["value"]) == pytest.approx(worse)

    def test_it_stands_beside_the_run_and_nothing_else_does(self, run: Run, facts: JsonObject) -> None:
        """The export is beside the run, and no temporary folder is left."""
        target = run.path.with_name(f"{run.path.name}-{self.name}")
        assert Path(facts["path"]) == target
        assert {path.name for path in run.path.parent.iterdir()} == {run.path.name, target.name}
        assert target.stat().st_mode & 0o777 == 0o755

    def test_it_answers_as_the_run_does(self, predictors: tuple[Predictor, Predictor]) -> None:
        """Run and export give the same answers on rows of many lengths that were not trained on."""
        ours, theirs = (predictor(self.questions()) for predictor in predictors)
        _assert_alike(ours, theirs, self.near, self.allowed.get("export.min_agreement", 1.0))

    def test_answers_do_not_depend_on_the_batch(self, predictors: tuple[Predictor, Predictor]) -> None:
        """A row has the same answer alone and beside rows of other lengths."""
        theirs = predictors[1]
        questions = self.questions()[:6]
        together = theirs(questions)
        alone = [theirs(question) for question in questions]
        _assert_alike(together, alone, self.near, self.allowed.get("export.min_agreement", 1.0))

    def test_an_export_is_replaced_only_when_asked(self, run: Run, earlier: Path, facts: JsonObject) -> None:
        """An export is replaced only with `force`; a folder that is not an export is never replaced."""
        from tunesmith import export
        from tunesmith.errors import RunError

        assert Path(facts["path"]) == earlier
        assert not (earlier / "stale").exists()
        before = (earlier / EXPORT_FILE).read_bytes()
        with pytest.raises(RunError, match="already holds an export"):
            export(run.path, self.name, overrides=self.allowed)
        assert (earlier / EXPORT_FILE).read_bytes() == before
        with pytest.raises(RunError, match="does not hold an export"):
            export(run.path, self.name, output_dir=run.path, force=True)


_NOT_COMPARED = ("top", "out_of_scope")
"""The next best answers, and the score that an ONNX graph does not give."""


def _assert_alike(ours: list[Prediction], theirs: list[Prediction], near: float, share: float) -> None:
    """Answers are equal apart from numbers for the given share of rows; in equal answers, numbers are close."""
    same = [_words(a) == _words(b) for a, b in zip(ours, theirs, strict=True)]
    assert np.mean(same) >= share
    for a, b, is_same in zip(ours, theirs, same, strict=True):
        if is_same:
            np.testing.assert_allclose(_numbers(a), _numbers(b), atol=near)


def _words(answer: object) -> object:
    if isinstance(answer, dict):
        return {key: _words(value) for key, value in answer.items() if key not in (*_NOT_COMPARED, "scores")}
    if isinstance(answer, list):
        return [_words(value) for value in answer]
    return None if isinstance(answer, float) else answer


def _numbers(answer: object) -> list[float]:
    if isinstance(answer, dict):
        inner = [value for key, value in answer.items() if key not in _NOT_COMPARED]
    else:
        inner = list(answer) if isinstance(answer, (list, np.ndarray)) else []
    if not inner:
        return [float(answer)] if isinstance(answer, (float, np.floating)) else []
    return [number for value in inner for number in _numbers(value)]
