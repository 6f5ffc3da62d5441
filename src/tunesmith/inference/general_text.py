"""How well a model predicts general text: what training on other texts makes it forget.

The text is thirty paragraphs of plain English on many subjects, written for this package, or a file of the user's.
A model's likelihood of text that has nothing to do with the training data is the usual measure of forgetting
(Luo et al. 2023; Biderman et al. 2024).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.errors import RecipeError
from tunesmith.inference.forward import forward
from tunesmith.tasks import EncodeOptions, Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tunesmith.types import Model, Tokenizer

_OWN = Path(__file__).with_name("general_english.txt")
_FEWEST = 5


def read_paragraphs(file: str | None) -> list[str]:
    """The paragraphs of a text file, which blank lines divide; those of this package when None.

    Raises:
        RecipeError: the file cannot be read, or has fewer than five paragraphs.
    """
    path = _OWN if file is None else Path(file).expanduser()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(
            f"the text of `evaluate.general_text` cannot be read: {error}",
            remedy="Give a text file in UTF-8, with blank lines between paragraphs.",
        ) from None
    paragraphs = [part.strip() for part in re.split(r"\n\s*\n", text) if part.strip()]
    if len(paragraphs) < _FEWEST:
        raise RecipeError(
            f"`{path}` has {len(paragraphs)} paragraphs, and `evaluate.general_text` needs at least {_FEWEST}.",
            remedy="Put a blank line between paragraphs, or give a longer text.",
        )
    return paragraphs


def nats_and_bytes(
    reader: Task, model: Model, tokenizer: Tokenizer, paragraphs: list[str], max_length: int
) -> NDArray[np.float64]:
    """[paragraphs, 2]: the negative log-likelihood in nats, and the scored bytes.

    Args:
        reader: task that reads plain texts with such a model.
        model: a decoder.
        tokenizer: tokenizer of the model.
        paragraphs: texts.
        max_length: most tokens of a window.
    """
    options = EncodeOptions(max_length, "score", max_length // 4)
    encoded = reader.encode({"text": paragraphs}, tokenizer, options, {})
    outputs = np.asarray(forward(reader, model, encoded, pad_token_id=tokenizer.pad_token_id))
    n_bytes = encoded.sum_by_row(encoded.dense["n_bytes"])
    return np.stack([encoded.sum_by_row(outputs[:, :1].astype(np.float64))[:, 0], n_bytes], axis=1)
