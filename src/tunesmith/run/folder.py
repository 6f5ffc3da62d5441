"""The run folder: what is where, each file written once, whole or not at all.

A run belongs to one recipe. The recipe as it was asked for (with its `auto`s) stands in `manifest.json`, the
recipe as it was used (every value filled in) in `recipe.yaml`; the same recipe on the same folder resumes the run,
another one is refused, and `force` replaces what a run wrote and nothing else. No file holds a source's password.

A run folder may be moved: nothing reads the `output_dir` that its files name. A run of an earlier version is read
as if this version had written it (`manifest`, `migrations`).
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tunesmith.errors import RunError
from tunesmith.masking import masked_values
from tunesmith.run import checksums, locking, replacing
from tunesmith.run.comparison import differing_keys
from tunesmith.run.files import remove_unfinished, write_atomically
from tunesmith.run.json_files import read_json, write_json
from tunesmith.run.locking import LOCK_FILE
from tunesmith.run.manifest import read_manifest, recipe_in, updated_manifest
from tunesmith.run.migrations import FORMAT, format_of, migrate

if TYPE_CHECKING:
    from tunesmith.recipe import Recipe
    from tunesmith.types import JsonObject

_WRITTEN_BY_A_RUN = (
    "recipe.yaml",
    "manifest.json",
    "data",
    "checkpoints",
    "events.jsonl",
    "model",
    "predictions",
    "metrics.json",
    "report.html",
    "trackers",
)


class Run:
    """One run folder, `recipe.yaml` to `report.html`.

    Args:
        path: Folder of the run.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.recipe_file = self.path / "recipe.yaml"
        self.manifest_file = self.path / "manifest.json"
        self.data = self.path / "data"
        self.checkpoints = self.path / "checkpoints"
        self.events_file = self.path / "events.jsonl"
        self.model = self.path / "model"
        self.predictions = self.path / "predictions"
        self.metrics_file = self.path / "metrics.json"
        self.report_file = self.path / "report.html"

    def __fspath__(self) -> str:
        """The folder: whatever takes the path of a run takes the run."""
        return str(self.path)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """A finished run.

        Raises:
            RunError: there is no run in the folder, or it has not come to its end.
        """
        run = cls(path)
        if not run.manifest_file.is_file():
            state = "is not there" if not run.path.exists() else "has no manifest.json"
            raise RunError(
                f"a run folder must hold what `tunesmith train` wrote, and `{path}` {state}.",
                remedy="Give the `output_dir` of a training.",
            )
        if not run.is_finished:
            raise RunError(
                f"`{path}` is a run that has not come to its end.",
                remedy="The `tunesmith train` command that began it resumes from its last checkpoint.",
            )
        run.refuse_damaged()
        return run

    def refuse_damaged(self) -> None:
        """Raises RunError where a file from which a finished run answers is not the one that it wrote."""
        if found := self.problems():
            more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
            raise RunError(
                f"the run in `{self.path}` is not as it was written: {found[0]}{more}.",
                remedy="Copy it again from where it is whole, or train it again with `--force`.",
            )

    def problems(self, *, decisive: bool = True) -> list[str]:
        """What is wrong with the files of a finished run, by their checksums.

        Args:
            decisive: whether only the files are checked that answers and scores come from.
        """
        return checksums.problems(self.path, self.manifest().get("files", {}), decisive=decisive)

    def finish(self) -> None:
        """Says in the manifest that the run came to its end, with the checksums of its files."""
        self.update_manifest(finished=True, files=checksums.file_checksums(self.path))

    @property
    def is_finished(self) -> bool:
        """Whether the run came to its end, which is the last entry that it writes into its manifest."""
        return self.manifest_file.is_file() and bool(self.manifest().get("finished"))

    def begin(self, requested: Recipe, *, fingerprint: str, force: bool = False) -> bool:
        """Whether an earlier run of the same recipe and data resumes here; removes nothing.

        Args:
            requested: Recipe as it was asked for.
            fingerprint: SHA-256 over the data files.
            force: Whether another run may be replaced: see `replacing`.

        Raises:
            RunError: the folder holds something else, and `force` was not given, or it holds no run.
        """
        if not self.path.exists() or not any(p for p in self.path.iterdir() if p.name != LOCK_FILE):
            return False
        if not self.manifest_file.is_file():
            raise RunError(
                f"the output folder `{self.path}` is not empty and holds no run.",
                remedy="Choose another `output_dir`, or empty the folder yourself.",
            )
        if force:
            return False
        self._refuse_another(requested, fingerprint)
        return True

    def replacing(self) -> AbstractContextManager[Callable[[], None]]:
        """Moves an earlier run aside while a new one begins; an error before it has begun puts it back.

        Gives what to call when the new run has begun. A folder without a run is left as it is.
        """
        if not self.manifest_file.is_file():
            return contextlib.nullcontext(lambda: None)
        return replacing.set_aside(self.path, _WRITTEN_BY_A_RUN)

    def refuse_own_files(self, paths: Iterable[Path]) -> None:
        """Raises RunError when a new run would be made from files that it replaces."""
        replaced = [(self.path / name).resolve() for name in _WRITTEN_BY_A_RUN]
        for path in paths:
            if any(path.resolve().is_relative_to(own) for own in replaced):
                raise RunError(
                    f"`{path}` is part of the run in `{self.path}`, and would be replaced.",
                    remedy="Choose another `output_dir`.",
                )

    def recover(self) -> bool:
        """Undoes what a killed process left half done, in a folder that this process holds.

        Returns:
            Whether an earlier run was put back, whose replacement was killed before it began.
        """
        remove_unfinished(self.path, _WRITTEN_BY_A_RUN)
        for folder in (self.data, self.checkpoints, self.predictions):
            remove_unfinished(folder)
        return replacing.put_back(self.path, _WRITTEN_BY_A_RUN)

    def _refuse_another(self, requested: Recipe, fingerprint: str) -> None:
        manifest = self.manifest()
        if not isinstance(manifest.get("data"), dict) or "fingerprint" not in manifest["data"]:
            raise RunError(
                f"`{self.manifest_file}` does not say from which data the run began.",
                remedy="The run is damaged; train it again with `--force`, or choose another `output_dir`.",
            )
        for key in ("requested", "used"):
            if key in manifest:
                recipe_in(manifest, key, self.manifest_file)
        has_same_data = manifest["data"]["fingerprint"] == fingerprint
        if changed := differing_keys(requested, manifest, has_same_data=has_same_data):
            named = ", ".join(f"`{key}`" for key in changed)
            raise RunError(
                f"the output folder `{self.path}` belongs to another recipe; it differs in {named}.",
                remedy="Choose another `output_dir`, or give `--force` to clear this run.",
            )
        if not has_same_data:
            raise RunError(
                f"the data have changed since the run in `{self.path}` began.",
                remedy="Choose another `output_dir`, or give `--force` to clear this run.",
            )

    @property
    def run_id(self) -> str:
        """The id that the run got when it began; none for a run of an earlier version that was not resumed."""
        return str(self.manifest().get("run_id", ""))

    def locked(self) -> AbstractContextManager[None]:
        """Holds the folder for this process; another process that wants it is refused.

        Raises:
            RunError: another process is writing to the folder.
        """
        return locking.locked(self.path)

    def manifest(self) -> JsonObject:
        """What `manifest.json` says, in today's format.

        Raises:
            RunError: it is damaged, or a newer version wrote it.
        """
        return read_manifest(self.manifest_file)

    def update_manifest(self, **entries: object) -> None:
        """Puts entries into `manifest.json`; passwords of sources do not come along."""
        known = self.manifest() if self.manifest_file.is_file() else {}
        write_json(self.manifest_file, updated_manifest(known, entries))

    def write_recipe(self, recipe: Recipe, comment: str = "") -> None:
        """Writes `recipe.yaml`; passwords of sources do not come along.

        Args:
            recipe: Recipe with every value.
            comment: Line above the recipe; none when empty.
        """
        from tunesmith.recipe import Recipe

        shown = Recipe.model_validate(masked_values(recipe.model_dump(mode="json")))
        write_atomically(self.recipe_file, (f"# {comment}\n" if comment else "") + shown.to_yaml())

    @property
    def metrics(self) -> JsonObject:
        """What `metrics.json` says, in today's format."""
        found = format_of(read_json(self.manifest_file)) if self.manifest_file.is_file() else FORMAT
        return migrate("metrics", read_json(self.metrics_file), found)

    def recipe(self) -> Recipe:
        """The recipe as it was used, every value filled in; its `output_dir` is where the folder is now.

        Raises:
            RunError: a version with other keys wrote it.
        """
        used = recipe_in(self.manifest(), "used", self.manifest_file)
        return used.model_copy(update={"output_dir": str(self.path)})

    def read_as(self) -> list[JsonObject]:
        """The columns that the run was trained with, as `data.columns`, of each file that differs in them."""
        data = self.manifest()["data"]
        if "read_as" in data:
            return list(data["read_as"])
        # A run of an earlier version: lists of columns stand in its recipe alone.
        columns = data.get("columns", {})
        return [] if "rows" in columns else [{**columns, **self.recipe().data.columns}]

    def events(self) -> list[JsonObject]:
        """The logged steps, in order."""
        if not self.events_file.is_file():
            return []
        lines = self.events_file.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.strip()]


def is_recipe_of_run(path: Path) -> bool:
    """Whether a file is the `recipe.yaml` of a run folder, whose run it belongs to wherever the folder is."""
    run = Run(path.parent)
    return path.name == run.recipe_file.name and run.manifest_file.is_file()
