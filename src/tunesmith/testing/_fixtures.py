"""The fixtures of a task's contract: a tiny model, files and one training, made once for all tests of a class."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeAlias

import pytest

from tunesmith.tasks import TASKS
from tunesmith.testing._bench import Bench
from tunesmith.testing.tiny import FAMILIES, different_rows, question_of, write_rows, write_tiny_model
from tunesmith.testing.tiny_tasks import TINY_TASKS, Question, Row, TinyTask

if TYPE_CHECKING:
    from tunesmith.inference.predictor import Predictor
    from tunesmith.recipe import Recipe
    from tunesmith.run import Run
    from tunesmith.tasks import Task
    from tunesmith.types import JsonObject

    MakeRecipe: TypeAlias = Callable[..., Recipe]
    """Function from values of `train` to a recipe with a new run folder."""


class TaskFixtures:
    """The fixtures, and the attributes of a contract from which they are made."""

    name: ClassVar[str]
    """Name of the task."""
    task: ClassVar[Task | None] = None
    """The task's object, if it is not in the registry; it is registered under `name` during the tests."""
    tiny: ClassVar[TinyTask | None] = None
    """Tiny data of the task, if `testing/tiny_tasks` has no file for it."""
    model_family: ClassVar[str] = ""
    """Family of the tiny model, if it is not the usual one of the task."""
    recipe: ClassVar[dict[str, JsonObject]] = {}
    """Changes to the recipe, by section."""

    # ---- from the task's tiny data ----

    @classmethod
    def facts(cls) -> TinyTask:
        """The task's tiny data."""
        return cls.tiny or TINY_TASKS.get(cls.name)

    @classmethod
    def family(cls) -> str:
        """Family of the tiny model."""
        task = cls.task or TASKS.get(cls.name)
        return cls.model_family or cls.facts().family or FAMILIES.get(task.auto_class, "bert")

    @classmethod
    def rows(cls, n: int, seed: int) -> list[Row]:
        """Rows for a file."""
        return different_rows(cls.facts().make, n, seed=seed)

    def question(self, row: Row) -> Question:
        """The question to a predictor that belongs to a row."""
        return question_of(TASKS.get(self.name), self.facts(), row)

    # ---- made once for all tests of a subclass ----

    @pytest.fixture(scope="class")
    @classmethod
    def base(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """Folder of the untrained model."""
        return write_tiny_model(tmp_path_factory.mktemp("model") / cls.family(), family=cls.family())

    @pytest.fixture(scope="class")
    @classmethod
    def files(cls, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
        """A file for each split."""
        folder = tmp_path_factory.mktemp("data")
        rows = cls.rows(88, seed=0)
        parts = {"train": rows[:56], "validation": rows[56:72], "test": rows[72:]}
        return {name: write_rows(folder / f"{name}.jsonl", part) for name, part in parts.items()}

    @pytest.fixture(scope="class")
    @classmethod
    def make_recipe(
        cls, base: Path, files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
    ) -> Iterator[MakeRecipe]:
        """Makes recipes from values of `train`, each with a new run folder; the tests have their own cache."""
        from tunesmith.recipe import Recipe
        from tunesmith.tasks import TASKS

        def make(**train: object) -> Recipe:
            tree: JsonObject = {
                "task": cls.name,
                "model": str(base),
                "output_dir": str(tmp_path_factory.mktemp("runs") / "run"),
                "data": {split: [str(file)] for split, file in files.items()},
                "train": {"max_steps": 8, "learning_rate": 2e-3, "per_device_train_batch_size": 8},
                "generate": {"max_new_tokens": 6} if TASKS.get(cls.name).generation else {},
                "evaluate": {"bootstrap_samples": 100, **({"samples": 3} if _samples(cls.name) else {})},
            }
            for section, values in (*cls.recipe.items(), ("train", train)):
                tree.setdefault(section, {}).update(values)
            return Recipe.model_validate(tree)

        own = nullcontext() if cls.task is None else TASKS.replaced(cls.name, cls.task)
        with pytest.MonkeyPatch.context() as patch, own:
            patch.setenv("TUNESMITH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
            yield make

    @pytest.fixture(scope="class")
    @classmethod
    def run(cls, make_recipe: MakeRecipe) -> Run:
        """One finished training."""
        from tunesmith import pipeline

        return pipeline.train(make_recipe())

    @pytest.fixture(scope="class")
    @classmethod
    def predictor(cls, run: Run) -> Predictor:
        """Predictor of the finished training."""
        from tunesmith import load

        return load(run.path)

    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls, make_recipe: MakeRecipe) -> Bench:
        """The untrained model in float64 without dropout, and its training sequences."""
        return Bench(make_recipe())


@contextmanager
def leanly() -> Iterator[None]:
    """A context in which trainings draw no report, and check their data only where a finding would stop them."""
    from tunesmith.pipeline import checking

    def where_it_may_stop(check: Callable[..., object]) -> Callable[..., object]:
        return lambda work, *more: check(work, *more) if work.recipe.data.check == "block" else []

    with _replaced(
        write_report=lambda run: None,
        check_texts=where_it_may_stop(checking.check_texts),
        check_features=where_it_may_stop(checking.check_features),
    ):
        yield


@contextmanager
def wholly() -> Iterator[None]:
    """A context in which trainings do all that they do for users, also within `leanly`."""
    from tunesmith.pipeline.checking import check_features, check_texts
    from tunesmith.reports import write_report

    with _replaced(write_report=write_report, check_texts=check_texts, check_features=check_features):
        yield


@contextmanager
def _replaced(**phases: Callable[..., object]) -> Iterator[None]:
    """A context with other functions for some phases of a training."""
    with pytest.MonkeyPatch.context() as patch:
        for name, function in phases.items():
            patch.setattr(f"tunesmith.pipeline.training.{name}", function)
        yield


def train_leanly(recipe: Recipe) -> Run:
    """A training without what takes two fifths of a tiny one: see `leanly`."""
    from tunesmith import pipeline

    with leanly():
        return pipeline.train(recipe)


def _samples(name: str) -> bool:
    """Whether a task generates texts for the report alone, so that `evaluate.samples` has an effect."""
    generation = TASKS.get(name).generation
    return generation is not None and not generation.scores_texts
