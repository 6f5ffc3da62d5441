"""Names for types that many modules use.

transformers has no types that a checker can use. Its classes stand here for what a value is, and are imported
only for checking.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

    Array: TypeAlias = NDArray[Any]
    """An array of any type of number."""
    Model: TypeAlias = PreTrainedModel
    """A model of transformers."""
    Tokenizer: TypeAlias = PreTrainedTokenizerFast
    """A fast tokenizer of transformers."""
    Config: TypeAlias = PretrainedConfig
    """The configuration of a model."""

JsonObject: TypeAlias = dict[str, Any]
"""An object of a JSON document; a row of a file."""

Columns: TypeAlias = dict[str, Sequence[Any]]
"""The values of each column, by its name."""
