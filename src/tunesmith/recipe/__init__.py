"""The recipe: what one run is made from. `schema` says what there is, `draft` reads it from a file."""

from tunesmith.recipe.draft import SYNONYMS, RecipeDraft
from tunesmith.recipe.schema import (
    METHODS,
    DataRecipe,
    EvaluateRecipe,
    ExportRecipe,
    GenerateRecipe,
    Recipe,
    TrainRecipe,
    describe_fields,
    recipe_keys,
    yaml_value,
)

__all__ = [
    "METHODS",
    "SYNONYMS",
    "DataRecipe",
    "EvaluateRecipe",
    "ExportRecipe",
    "GenerateRecipe",
    "Recipe",
    "RecipeDraft",
    "TrainRecipe",
    "describe_fields",
    "recipe_keys",
    "yaml_value",
]
