"""What the card of a base model says that must be carried over: its licence and its languages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.models.adapters import is_adapter
from tunesmith.models.loading import adapter_base
from tunesmith.models.resolve import ModelFiles, config_file, resolve_model

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

_KEYS = ("license", "license_name", "license_link", "language")


def read_base_card(files: ModelFiles) -> JsonObject:
    """The entries `license`, `license_name`, `license_link` and `language`, as far as they are known.

    They stand in the model's README.md, or in its config.json; those of an adapter without any are those of the
    model that it belongs to.
    """
    found = {**_in_config(config_file(files.path)), **_in_card(files.path / "README.md")}
    known = {key: found[key] for key in _KEYS if found.get(key)}
    if "license" not in known and is_adapter(files.path):
        return {**read_base_card(resolve_model(adapter_base(files))), **known}
    return known


def _in_card(path: Path) -> JsonObject:
    """The front matter of a model card; nothing if there is none, or it is damaged."""
    import yaml
    from huggingface_hub.repocard import metadata_load

    try:
        return metadata_load(path) or {}
    except (OSError, ValueError, yaml.YAMLError):
        return {}


def _in_config(path: Path) -> JsonObject:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    named = config.get("license")
    return {"license": named} if isinstance(named, str) else {}
