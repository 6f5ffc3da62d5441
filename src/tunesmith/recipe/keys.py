"""The keys of the recipe, dotted, with what is said of each: for messages, docs and templates."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import yaml
from pydantic import BaseModel

from tunesmith.recipe.data_section import Section
from tunesmith.recipe.schema import Recipe

if TYPE_CHECKING:
    from tunesmith.types import JsonObject


def recipe_keys() -> list[str]:
    """Every key of the recipe, dotted: `train.learning_rate`."""
    return list(recipe_fields(Recipe))


def describe_fields() -> list[tuple[str, str, str]]:
    """(dotted key, default, description) of every field, for docs and `init`."""
    rows = []
    for key, info in recipe_fields(Recipe).items():
        default = "required" if info.is_required() else yaml_value(info.get_default())
        rows.append((key, default, info.description or ""))
    return rows


def yaml_value(value: object) -> str:
    """One value as YAML writes it, on one line."""
    try:
        text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000)
    except yaml.representer.RepresenterError:  # an object of Python's
        return f"a {type(value).__name__}"
    return text.removesuffix("\n").removesuffix("\n...")


def recipe_fields(model: type[BaseModel], prefix: str = "") -> JsonObject:
    """Pydantic's description of every field below a section, by dotted key."""
    found: JsonObject = {}
    for name, info in model.model_fields.items():
        section = _section_type(info.annotation)
        if section is not None:
            found.update(recipe_fields(section, f"{prefix}{name}."))
        else:
            found[prefix + name] = info
    return found


def _section_type(annotation: object) -> type[BaseModel] | None:
    is_section = isinstance(annotation, type) and issubclass(annotation, Section)
    return cast(type[BaseModel], annotation) if is_section else None
