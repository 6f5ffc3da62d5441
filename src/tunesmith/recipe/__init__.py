"""The recipe: everything that one run depends on. `schema` defines it, `keys` lists its keys, `draft` reads it."""

from tunesmith.recipe.data_section import DataRecipe
from tunesmith.recipe.draft import SYNONYMS, RecipeDraft
from tunesmith.recipe.keys import describe_fields, recipe_keys, yaml_value
from tunesmith.recipe.schema import (
    METHOD_ALIASES,
    METHODS,
    EvaluateRecipe,
    ExportRecipe,
    GenerateRecipe,
    RangeRecipe,
    Recipe,
    TrainRecipe,
    TuneRecipe,
)
from tunesmith.recipe.translations import TRANSLATIONS

__all__ = [
    "METHODS",
    "METHOD_ALIASES",
    "SYNONYMS",
    "TRANSLATIONS",
    "DataRecipe",
    "EvaluateRecipe",
    "ExportRecipe",
    "GenerateRecipe",
    "RangeRecipe",
    "Recipe",
    "RecipeDraft",
    "TrainRecipe",
    "TuneRecipe",
    "describe_fields",
    "recipe_keys",
    "yaml_value",
]
