"""The recipe: what one run is made from. `schema` says what there is, `draft` reads it from a file."""

from tunesmith.recipe.draft import SYNONYMS, RecipeDraft
from tunesmith.recipe.schema import (
    METHODS,
    DataRecipe,
    EvaluateRecipe,
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
    "GenerateRecipe",
    "Recipe",
    "RecipeDraft",
    "TrainRecipe",
    "describe_fields",
    "recipe_keys",
    "yaml_value",
]
