"""The run folder: what is where, each file written once, whole or not at all.

A run belongs to one recipe. The recipe as it was asked for (with its `auto`s) stands in `manifest.json`, the
recipe as it was used (every value filled in) in `recipe.yaml`; the same recipe on the same folder goes on
with the run, another one is refused, and `force` clears what a run wrote and nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from tunesmith.errors import RunError
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
        """Takes the folder for a recipe and its data; true when an earlier run of the same goes on.

        Args:
            requested: the recipe as it was asked for.
            fingerprint: SHA-256 over the data files.
            force: clear what another run left here.

        Raises:
            RunError: the folder holds something else, and `force` was not given.
        """
        if not self.path.exists() or not any(p for p in self.path.iterdir() if p.name != ".lock"):
            return False
        if force:
            self._clear()
            return False
        if not self.manifest_file.is_file():
            raise RunError(
                f"the output folder `{self.path}` is not empty and holds no run.",
                remedy="Choose another `output_dir`, or empty the folder yourself.",
            )
        self._refuse_another(requested, fingerprint)
        return True

    def _refuse_another(self, requested: Recipe, fingerprint: str) -> None:
        manifest = self.manifest()
        mine = _comparable(requested.model_dump(mode="json"))
        if mine != _comparable(manifest["requested"]) and mine != _comparable(manifest.get("used", {})):
            changed = _differences(_comparable(manifest["requested"]), mine)
            raise RunError(
                f"the output folder `{self.path}` belongs to another recipe; it differs in {changed}.",
                remedy="Choose another `output_dir`, or give `--force` to clear this run.",
            )
        if manifest["data"]["fingerprint"] != fingerprint:
            raise RunError(
                f"the data files have changed since the run in `{self.path}` began.",
                remedy="Choose another `output_dir`, or give `--force` to clear this run.",
            )

    def _clear(self) -> None:
        for name in _WRITTEN_BY_A_RUN:
            target = self.path / name
            if target.is_dir():
                shutil.rmtree(target)
            else:
                target.unlink(missing_ok=True)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the folder for this process; another process that wants it is refused.

        Raises:
            RunError: another process is writing to the folder.
        """
        import fcntl

        self.path.mkdir(parents=True, exist_ok=True)
        lock = self.path / ".lock"
        try:
            with lock.open("w") as handle:
                _lock_or_refuse(fcntl, handle, self.path)
                yield
        finally:
            if not self.manifest_file.exists():  # nothing was begun: leave no trace
                lock.unlink(missing_ok=True)
                with contextlib.suppress(OSError):
                    self.path.rmdir()

    def manifest(self) -> dict[str, Any]:
        """What `manifest.json` says."""
        return read_json(self.manifest_file)

    def update_manifest(self, **entries: Any) -> None:
        """Puts entries into `manifest.json`."""
        known = self.manifest() if self.manifest_file.is_file() else {}
        write_json(self.manifest_file, {**known, **entries})

    def metrics(self) -> dict[str, Any]:
        """What `metrics.json` says."""
        return read_json(self.metrics_file)

    def recipe(self) -> Recipe:
        """The recipe as it was used, every value filled in."""
        return Recipe.model_validate(self.manifest()["used"])

    def events(self) -> list[dict[str, Any]]:
        """The logged steps, in order."""
        if not self.events_file.is_file():
            return []
        lines = self.events_file.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.strip()]


def _lock_or_refuse(fcntl: Any, handle: Any, path: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise RunError(
            f"another process is writing to `{path}`.",
            remedy="Wait for it to end, or choose another `output_dir`.",
        ) from None


def write_atomically(path: Path, content: str | bytes | Iterable[str]) -> None:
    """Writes a file so that a reader, or a crash, finds the old one or the new one whole.

    Args:
        path: of the file.
        content: of the file; pieces of text are written as they come, and never stand in memory together.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    pieces: Iterable[str | bytes] = [content] if isinstance(content, (str, bytes)) else content
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as handle:
        temporary = Path(handle.name)
        try:
            for piece in pieces:
                handle.write(piece.encode("utf-8") if isinstance(piece, str) else piece)
            handle.flush()
            os.fsync(handle.fileno())
            os.fchmod(handle.fileno(), 0o644)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


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
