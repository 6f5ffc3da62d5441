"""The run folder: what is where, each file written once, whole or not at all.

A run belongs to one recipe. The recipe as it was asked for (with its `auto`s) stands in `manifest.json`, the
recipe as it was used (every value filled in) in `recipe.yaml`; the same recipe on the same folder resumes the run,
another one is refused, and `force` replaces what a run wrote and nothing else. No file holds a source's password.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, cast

from tunesmith import locking, replacing
from tunesmith.errors import RunError
from tunesmith.files import write_atomically as write_atomically
from tunesmith.locking import LOCK_FILE
from tunesmith.masking import masked_values
from tunesmith.recipe import Recipe

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
)


class Run:
    """One run folder, `recipe.yaml` to `report.html`.

    Args:
        path: the folder.
    """

    def __init__(self, path: str | Path) -> None:
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

    @classmethod
    def open(cls, path: str | Path) -> Run:
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
                remedy="The `tunesmith train` command that began it goes on from its last checkpoint.",
            )
        return run

    @property
    def is_finished(self) -> bool:
        """Whether the run came to its end; said in the manifest, as its last word."""
        return self.manifest_file.is_file() and bool(self.manifest().get("finished"))

    def begin(self, requested: Recipe, *, fingerprint: str, force: bool = False) -> bool:
        """Whether an earlier run of the same recipe and data resumes here; removes nothing.

        Args:
            requested: the recipe as it was asked for.
            fingerprint: SHA-256 over the data files.
            force: another run may be replaced: see `replacing`.

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
        """Puts an earlier run back whose replacement was killed before it began; whether there was one."""
        return replacing.put_back(self.path, _WRITTEN_BY_A_RUN)

    def _refuse_another(self, requested: Recipe, fingerprint: str) -> None:
        manifest = self.manifest()
        mine = _comparable(masked_values(requested.model_dump(mode="json")))
        earlier = [_comparable(_as_today(manifest[key])) for key in ("requested", "used") if key in manifest]
        if mine not in earlier:
            changed = _differences(earlier[0], mine)
            raise RunError(
                f"the output folder `{self.path}` belongs to another recipe; it differs in {changed}.",
                remedy="Choose another `output_dir`, or give `--force` to clear this run.",
            )
        if manifest["data"]["fingerprint"] != fingerprint:
            raise RunError(
                f"the data files have changed since the run in `{self.path}` began.",
                remedy="Choose another `output_dir`, or give `--force` to clear this run.",
            )

    def locked(self) -> AbstractContextManager[None]:
        """Holds the folder for this process; another process that wants it is refused.

        Raises:
            RunError: another process is writing to the folder.
        """
        return locking.locked(self.path)

    def manifest(self) -> dict[str, Any]:
        """What `manifest.json` says."""
        return read_json(self.manifest_file)

    def update_manifest(self, **entries: Any) -> None:
        """Puts entries into `manifest.json`; passwords of sources do not come along."""
        known = self.manifest() if self.manifest_file.is_file() else {}
        recipes = {key: masked_values(entries[key]) for key in ("requested", "used") if key in entries}
        write_json(self.manifest_file, {**known, **entries, **recipes})

    def write_recipe(self, recipe: Recipe) -> None:
        """Writes `recipe.yaml`; passwords of sources do not come along."""
        shown = Recipe.model_validate(masked_values(recipe.model_dump(mode="json")))
        write_atomically(self.recipe_file, shown.to_yaml())

    def metrics(self) -> dict[str, Any]:
        """What `metrics.json` says."""
        return read_json(self.metrics_file)

    def recipe(self) -> Recipe:
        """The recipe as it was used, every value filled in."""
        return Recipe.model_validate(self.manifest()["used"])

    def read_as(self) -> list[dict[str, Any]]:
        """The columns that the run was trained with, as `data.columns`, of each file that differs in them."""
        data = self.manifest()["data"]
        if "read_as" in data:
            return list(data["read_as"])
        # A run of an earlier version: lists of columns stand in its recipe alone.
        columns = data.get("columns", {})
        return [] if "rows" in columns else [{**columns, **self.recipe().data.columns}]

    def events(self) -> list[dict[str, Any]]:
        """The logged steps, in order."""
        if not self.events_file.is_file():
            return []
        lines = self.events_file.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.strip()]


def write_json(path: Path, value: Any) -> None:
    """Writes JSON atomically; a NaN or an infinity is a bug and raises ValueError."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    write_atomically(path, text + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object that a run wrote.

    Raises:
        RunError: the file is missing or not JSON.
    """
    try:
        return cast("dict[str, Any]", json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise RunError(
            f"`{path}` cannot be read: {error}.", remedy="The run is damaged; train it again with `--force`."
        ) from None


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def finite(value: float) -> float | None:
    """The number, or None in place of a NaN or an infinity, which JSON does not have."""
    return value if math.isfinite(value) else None


def _as_today(recipe: Mapping[str, Any]) -> Mapping[str, Any]:
    """A recipe of a manifest with the keys that it did not know yet, at their defaults."""
    try:
        return Recipe.model_validate(recipe).model_dump(mode="json")
    except ValueError:  # a key that is no longer known
        return recipe


def _comparable(recipe: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in recipe.items() if key != "output_dir"}


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    named = []
    for key in now:
        if isinstance(now[key], dict) and isinstance(before.get(key), dict):
            named += [f"`{key}.{k}`" for k in now[key] if now[key][k] != before[key].get(k)]
        elif now[key] != before.get(key):
            named.append(f"`{key}`")
    return ", ".join(named) or "nothing that is known to this version"
