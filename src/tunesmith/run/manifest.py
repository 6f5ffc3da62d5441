"""`manifest.json`: what a run is made from, which run it is, and the format of its folder.

A manifest of an older format is migrated in memory; the file changes only when a resumed run writes to it. A newer
one is refused, because what this version does not know it could only misread.
"""

from __future__ import annotations

import secrets
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.errors import RunError
from tunesmith.masking import masked_values
from tunesmith.run.checksums import has_wrong_sum, with_sum
from tunesmith.run.json_files import read_json
from tunesmith.run.migrations import FORMAT, format_of, migrate

if TYPE_CHECKING:
    from tunesmith.recipe import Recipe
    from tunesmith.types import JsonObject


def read_manifest(path: Path) -> JsonObject:
    """The manifest in a file, in today's format.

    Raises:
        RunError: the file is damaged, or a newer version wrote it.
    """
    document = read_json(path)
    found = _known_format(document, path)
    if has_wrong_sum(document):
        raise RunError(
            f"`{path}` was changed after it was written, by hand or by damage: its checksum is wrong.",
            remedy="Put the file back as it was, or train the run again with `--force`.",
        )
    if found == FORMAT:
        return document
    migrated = migrate("manifest", document, found)
    return {"migrated_from": found, **migrated, "format": FORMAT}


def updated_manifest(known: JsonObject, entries: JsonObject) -> JsonObject:
    """A manifest with new entries; a run without an id gets one, and no password of a source is in it.

    Args:
        known: Manifest so far; empty for a new run.
        entries: Entries that replace those of the same name.
    """
    recipes: JsonObject = {
        key: masked_values(entries[key]) for key in ("requested", "used") if key in entries
    }
    named = {"format": FORMAT, "run_id": secrets.token_hex(16)}
    return with_sum({**named, **known, **entries, **recipes})


def recipe_in(manifest: JsonObject, key: str, path: Path) -> Recipe:
    """A recipe of a manifest.

    Args:
        manifest: Manifest in today's format.
        key: Entry that holds the recipe: `requested` or `used`.
        path: File of the manifest, for the message.

    Raises:
        RunError: the recipe has a key or a value that this version does not know.
    """
    from pydantic import ValidationError

    from tunesmith.recipe import Recipe

    try:
        return Recipe.model_validate(manifest[key])
    except ValidationError as error:
        keys = dict.fromkeys(".".join(map(str, problem["loc"][:2])) for problem in error.errors())
        raise _newer(
            f"its recipe has a key or value that this version does not know: {', '.join(f'`{k}`' for k in keys)}",
            manifest,
            path,
        ) from None


def _known_format(document: JsonObject, path: Path) -> int:
    """The format of a manifest that this version can read."""
    found = format_of(document)
    if not isinstance(found, int) or found < 1:
        raise RunError(
            f"the format of a run must be a whole number from 1, got `{found}`.",
            location=str(path),
            remedy="The run is damaged; train it again with `--force`.",
        )
    if found > FORMAT:
        raise _newer(f"its format is {found}, and this version reads up to {FORMAT}", document, path)
    return found


def _newer(reason: str, manifest: JsonObject, path: Path) -> RunError:
    this = metadata.version("tunesmith")
    versions = [start.get("versions", {}) for start in (manifest, *manifest.get("continued", []))]
    writer = next((found["tunesmith"] for found in reversed(versions) if "tunesmith" in found), None)
    if writer is None or writer == this:
        by, remedy = "by another version of tunesmith", "Install the version that wrote it, or a newer one."
    else:
        by, remedy = f"by tunesmith {writer}", f"Install it: `pip install 'tunesmith>={writer}'`."
    return RunError(
        f"the run was written {by}, and this is {this}: {reason}.", location=str(path), remedy=remedy
    )
