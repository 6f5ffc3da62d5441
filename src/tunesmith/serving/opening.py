"""Which folder answers for a run: the run itself, or an export of it that was checked against it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.errors import RecipeError, RunError
from tunesmith.inference.exported import facts_of, is_export
from tunesmith.run import Run, sha256_of

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

ENGINES = ("auto", "torch", "bf16", "onnx", "onnx-int8")
"""What computes: `torch` is the run as it was trained, `auto` what the folder holds, and others its exports."""


def open_runs(folders: Sequence[str | os.PathLike[str]], engine: str = "auto") -> list[JsonObject]:
    """Name, run, folder and engine of each run, as workers need them.

    Args:
        folders: runs or exports, or `NAME=FOLDER` to give a name; the first answers where none is named.
        engine: one of `ENGINES`.

    Raises:
        RunError: a folder holds neither, or a run has no export for the engine.
        RecipeError: the engine is unknown, or two runs have one name.
    """
    if engine not in ENGINES:
        raise RecipeError(f"`{engine}` is not an engine.", remedy=f"Known: {', '.join(ENGINES)}.")
    found: dict[str, JsonObject] = {}
    for folder in folders:
        one = _open(os.fspath(folder), engine)
        if one["name"] in found:
            raise RecipeError(
                f"two runs would be called `{one['name']}`.", remedy="Give another name: `NAME=FOLDER`."
            )
        found[one["name"]] = one
    return list(found.values())


def _open(given: str, engine: str) -> JsonObject:
    name, equals, path = given.partition("=")
    if not equals or os.path.exists(given):
        name, path = "", given
    home = Path(path)
    name = name or home.resolve().name
    folder, used = _folder(home, engine)
    return {"name": name, "run": str(home.resolve()), "folder": str(folder.resolve()), "engine": used,
            "created": int(folder.stat().st_mtime)}  # fmt: skip


def _folder(home: Path, engine: str) -> tuple[Path, str]:
    """The folder that is loaded, and its engine."""
    if is_export(home):
        made = str(facts_of(home)["format"])
        if engine not in ("auto", made):
            raise RunError(
                f"`{home}` is an export to {made}, and not to {engine}.",
                remedy="Leave `--engine` out, or give the run.",
            )
        return home, made
    run = Run.open(home)
    if engine in ("auto", "torch"):
        return home, "torch"
    export = home.resolve().with_name(f"{home.resolve().name}-{engine}")
    if not is_export(export):
        raise RunError(
            f"`{home}` has no export for {engine}: `{export}` is not there.",
            remedy=f"Make and check it: `tunesmith export {home} --to {engine}`.",
        )
    _refuse_other_weights(run, export, engine)
    return export, engine


def _refuse_other_weights(run: Run, export: Path, engine: str) -> None:
    """Raises RunError for an export of another training: a folder may have been trained again since."""
    now = {file.name: sha256_of(file) for file in sorted(run.model.glob("*.safetensors"))}
    if facts_of(export)["source"]["weights"] != now:
        raise RunError(
            f"`{export}` was made from other weights than those of `{run.path}`.",
            remedy=f"Make it again: `tunesmith export {run.path} --to {engine} --force`.",
        )
