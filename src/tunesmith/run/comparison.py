"""Whether a recipe is the one that a run was made from.

Only keys that were set are compared, in the recipe or in that of the run. So neither a key that a later version
adds nor a default that it changes makes an old run "another recipe". A run has two recipes, and one must match:
the requested one, with every `auto`, or the used one, as in `recipe.yaml`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from tunesmith.masking import masked_values

if TYPE_CHECKING:
    from tunesmith.recipe import Recipe
    from tunesmith.types import JsonObject

_SOURCES = frozenset({"data.train", "data.validation", "data.test"})
_OF_A_SEARCH = "tune"


def request_entries(requested: Recipe) -> JsonObject:
    """Entries of a manifest that say which recipe was asked for, and which of its keys were set."""
    return {"requested": requested.model_dump(mode="json"), "requested_keys": sorted(_set_keys(requested))}


def differing_keys(recipe: Recipe, manifest: JsonObject, *, has_same_data: bool) -> list[str]:
    """Dotted keys in which a recipe differs from that of a run; none when it is the same recipe.

    A source or a model that is known to have the same content may have moved to another folder.

    Args:
        recipe: Recipe as it was asked for.
        manifest: Manifest of the run.
        has_same_data: Whether the content of all sources is that of the run.
    """
    keys = {*_set_keys(recipe), *manifest.get("requested_keys", ())} - {"output_dir"}
    movable = _SOURCES if has_same_data else frozenset()
    if "sha256" in manifest.get("model", {}):  # checked when the model is loaded
        movable |= {"model"}
    found = [
        _differences(manifest[one], _dump(recipe), keys, movable)
        for one in ("requested", "used")
        if one in manifest
    ]
    return min(found, key=len)


def _differences(then: JsonObject, now: JsonObject, keys: set[str], movable: frozenset[str]) -> list[str]:
    before, after = values_by_key(then), values_by_key(now)
    from tunesmith.recipe import Recipe

    defaults = values_by_key(_dump(Recipe.model_validate({"data": {"train": ["-"]}})))
    pairs = {key: (before.get(key, defaults[key]), value) for key, value in after.items() if key in keys}
    return [key for key, (a, b) in pairs.items() if a != b and not (key in movable and _has_moved_only(a, b))]


def _dump(recipe: Recipe) -> JsonObject:
    dumped: JsonObject = masked_values(recipe.model_dump(mode="json"))
    return dumped


def values_by_key(recipe: JsonObject) -> JsonObject:
    """The values of a recipe, as JSON, by dotted key."""
    found: JsonObject = {}
    for name, value in recipe.items():
        found |= (
            {f"{name}.{key}": v for key, v in value.items()} if isinstance(value, dict) else {name: value}
        )
    return found


def differing_values(manifests: Sequence[JsonObject]) -> dict[str, tuple[Any, ...]]:
    """The value of each run by each key of the recipe that somebody set in one of them, and that differs.

    Args:
        manifests: manifests of the runs.
    """
    values = [
        values_by_key(manifest.get("requested") or manifest.get("used") or {}) for manifest in manifests
    ]
    pairs = zip(manifests, values, strict=True)
    keys = {key for manifest, known in pairs for key in manifest.get("requested_keys", known)}
    found = {key: tuple(known.get(key) for known in values) for key in sorted(keys - {"output_dir"})}
    return {key: each for key, each in found.items() if any(value != each[0] for value in each)}


def _set_keys(recipe: Recipe) -> Iterator[str]:
    """Dotted keys that somebody has set, but for those of a search, which change no run."""
    for name in recipe.model_fields_set - {_OF_A_SEARCH}:
        value = getattr(recipe, name)
        if hasattr(value, "model_fields_set"):
            yield from (f"{name}.{key}" for key in value.model_fields_set)
        else:
            yield name


def _has_moved_only(then: object, now: object) -> bool:
    """Whether a path, or each path of a list, has the same name in another folder."""
    if isinstance(then, list) and isinstance(now, list):
        return len(then) == len(now) and all(map(_has_moved_only, then, now))
    return isinstance(then, str) and isinstance(now, str) and _name(then) == _name(now)


def _name(source: str) -> tuple[str, str]:
    """The last part of a path, and what follows `#`; a URL has no folder to move from."""
    path, _, part = source.partition("#")
    return (path if "://" in path else PurePath(path).name or path), part
