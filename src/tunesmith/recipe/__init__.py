"""The recipe: everything that one run depends on. `schema` defines the keys, `draft` reads them from a file."""

from tunesmith.recipe.draft import SYNONYMS, RecipeDraft
from tunesmith.recipe.schema import (
    METHOD_ALIASES,
    METHODS,
    DataRecipe,
    EvaluateRecipe,
    ExportRecipe,
    GenerateRecipe,
    RangeRecipe,
    Recipe,
    TrainRecipe,
    TuneRecipe,
    describe_fields,
    recipe_keys,
    yaml_value,
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
