"""The folder of a search: what is where.

search.json    what was asked for, and how the budget was divided
journal.log    Optuna's storage: every trial, its values and its state (unless a server holds it)
trials/NAME    recipe.yaml, trial.json and statistics.npz of each trial
untrained      what the untrained model computes, while the search lasts
tune.json      the result: every trial, the choice and its reasons
best.yaml      the best recipe
best           its run, as `tunesmith train` writes it
default        the run of the default recipe, to compare on the test rows
tune.html      the report
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.errors import RunError
from tunesmith.recipe import Recipe
from tunesmith.run import Run, read_json, write_json
from tunesmith.run.files import remove_unfinished
from tunesmith.run.locking import LOCK_FILE, locked

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

_OWN = (
    "search.json", "journal.log", "journal.lock", "claims.lock", "trials", "untrained", "tune.json", "best.yaml",
    "best", "default", "tune.html",
)  # fmt: skip


def in_own_folder(recipe: Recipe) -> Recipe:
    """The recipe of a search, whose folder lies beside that of the run that the recipe names."""
    return recipe.model_copy(update={"output_dir": recipe.output_dir.rstrip("/") + "-tune"})


def trial_folder(trials: Path, stage: str, number: int) -> Path:
    """The folder of a trial, within that of all trials."""
    return trials / f"{stage}-{number:04}"


class SearchFolder:
    """The folder of a search.

    Args:
        path: path of the folder.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.search_file = self.path / "search.json"
        self.journal = self.path / "journal.log"
        self.trials = self.path / "trials"
        self.untrained = self.path / "untrained"
        self.result_file = self.path / "tune.json"
        self.best_recipe = self.path / "best.yaml"
        self.best = Run(self.path / "best")
        self.report_file = self.path / "tune.html"

    def __fspath__(self) -> str:
        return str(self.path)

    def locked(self) -> AbstractContextManager[None]:
        """Holds the folder for this search.

        Raises:
            RunError: another process holds it.
        """
        return locked(self.path)

    def trial(self, stage: str, number: int) -> Path:
        """The folder of a trial."""
        return trial_folder(self.trials, stage, number)

    def search(self) -> JsonObject:
        """What `search.json` says; empty before the search has begun."""
        return read_json(self.search_file) if self.search_file.is_file() else {}

    def update(self, **entries: object) -> None:
        """Puts entries into `search.json`."""
        write_json(self.search_file, {**self.search(), **entries})

    @property
    def has_begun(self) -> bool:
        """Whether there is a search whose first trial has ended; one that failed before may be replaced."""
        results = self.trials.glob("default-*/trial.json")
        return self.search_file.is_file() and any(read_json(it)["state"] == "complete" for it in results)

    @property
    def is_finished(self) -> bool:
        """Whether the search came to its end."""
        return bool(self.search().get("finished"))

    def recover(self) -> None:
        """Removes files of a killed search that are half-written, in a folder that this process holds."""
        remove_unfinished(self.path, _OWN)

    def refuse_other_content(self) -> None:
        """Raises RunError if the folder holds something that is not a search."""
        if not self.path.is_dir() or self.search_file.is_file():
            return
        if any(entry.name != LOCK_FILE for entry in self.path.iterdir()):
            raise RunError(
                f"the output folder `{self.path}` is not empty and holds no search.",
                remedy="Choose another `output_dir`, or empty the folder yourself.",
            )

    def clear(self) -> None:
        """Removes what a search has written, and nothing else."""
        import shutil

        logs = [path.name for path in self.path.glob("worker-*.log")]
        for name in (*_OWN, *logs):
            path = self.path / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
