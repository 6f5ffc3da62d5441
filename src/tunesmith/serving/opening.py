"""Which folder answers for a run: the run itself, or an export of it that was checked against it.

A registry stands for the run that is its champion. Clients ask by the name of the registry, which stays.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.errors import RecipeError, RunError
from tunesmith.inference.exported import facts_of, is_export
from tunesmith.run import Run, sha256_of
from tunesmith.run.champion import Registry, is_registry
from tunesmith.run.completeness import complete_run

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

ENGINES = ("auto", "torch", "bf16", "onnx", "onnx-int8")
"""What computes: `torch` is the run as it was trained, `auto` what the folder holds, and others its exports."""


def open_runs(folders: Sequence[str | os.PathLike[str]], engine: str = "auto") -> list[JsonObject]:
    """What workers need of each run: its name, folder and engine, and the promotion if a registry named it.

    Args:
        folders: runs, exports or registries, or `NAME=FOLDER` to give a name. The first answers where none is
            named.
        engine: one of `ENGINES`.

    Raises:
        RunError: a folder holds none of these, or a run has no export for the engine.
        RecipeError: the engine is unknown, or two runs have one name.
    """
    if engine not in ENGINES:
        raise RecipeError(f"`{engine}` is not an engine.", remedy=f"Known: {', '.join(ENGINES)}.")
    found: dict[str, JsonObject] = {}
    for folder in folders:
        name, home = _named(folder)
        one = open_champion(home, name, engine) if is_registry(home) else _open(home, name, engine)
        if one["name"] in found:
            raise RecipeError(
                f"two runs would be called `{one['name']}`.", remedy="Give another name: `NAME=FOLDER`."
            )
        found[one["name"]] = one
    return list(found.values())


def open_champion(registry: str | os.PathLike[str], name: str, engine: str) -> JsonObject:
    """The champion of a registry, as `open_runs` gives it.

    Args:
        registry: folder of the registry.
        name: name under which clients ask for it.
        engine: one of `ENGINES`.

    Raises:
        RunError: there is none, its run is incomplete, or it has no export for the engine.
    """
    promotion = Registry(registry).current()
    run = complete_run(promotion.run)
    return {
        **_open(run.path, name, engine),
        "version": run.path.name,
        "promotion": promotion.number,
        "files": dict(promotion.files),
        "registry": str(Path(registry).resolve()),
    }


def open_challenger(given: str | os.PathLike[str], beside: JsonObject, engine: str) -> JsonObject:
    """A run that is compared with another one while that is served, as `open_runs` gives it.

    Args:
        given: its folder, or `NAME=FOLDER`.
        beside: the run that is served.
        engine: one of `ENGINES`.

    Raises:
        RunError: the folder holds no run, or it is that of the other run.
    """
    name, home = _named(given)
    found = {**_open(home, beside["name"], engine), "version": name}
    if found["run"] == beside["run"]:
        raise RunError(
            f"`{home}` is the run that is served already.", remedy="Give another run as challenger."
        )
    if name == beside["version"]:
        raise RecipeError(
            f"the run and its challenger would both be called `{name}`.", remedy="Give a name: `NAME=FOLDER`."
        )
    return found


def open_canary(given: str | os.PathLike[str], beside: JsonObject, engine: str) -> JsonObject:
    """A challenger that gets requests, as `open_challenger` gives it.

    Raises:
        RunError: it was rolled back before, or the folder holds no run.
    """
    found = open_challenger(given, beside, engine)
    known = Registry(beside["registry"]).remembered_canary(found["run"]) if beside["registry"] else None
    if known is not None:
        raise RunError(
            f"the canary `{found['run']}` was rolled back on {known['at']} for its {known['rule']}.",
            location=known["file"],
            remedy="Give another run, or remove this file to try it again.",
        )
    return found


def _named(given: str | os.PathLike[str]) -> tuple[str, Path]:
    """The name and the folder in `NAME=FOLDER`; without a name, that of the folder."""
    text = os.fspath(given)
    name, equals, path = text.partition("=")
    if not equals or os.path.exists(text):
        name, path = "", text
    home = Path(path)
    return name or home.resolve().name, home


def _open(home: Path, name: str, engine: str) -> JsonObject:
    folder, used = _folder(home, engine)
    return {"name": name, "run": str(home.resolve()), "folder": str(folder.resolve()), "engine": used,
            "created": int(folder.stat().st_mtime), "version": name, "promotion": None, "files": {},
            "registry": "", "cascade": None}  # fmt: skip


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
