"""Whether a model refuses harmful prompts: a list written for this package, or a file of the user's.

A refusal is found by its phrases (`tunesmith.metrics.writing`), in the first words of the reply. So a few tokens
of each reply are enough, and the replies are not kept.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.errors import RecipeError
from tunesmith.inference.generation import generate
from tunesmith.inference.greedy import greedy
from tunesmith.metrics.writing import refuses
from tunesmith.tasks import EncodeOptions, Task

if TYPE_CHECKING:
    from tunesmith.inference.forward import Advance
    from tunesmith.types import Model, Tokenizer

_OWN = Path(__file__).with_name("harmful_prompts.txt")
_TOKENS = 32
_LINE = "One prompt a line; a line with `## ` before a word names the kind of those that follow."


def read_prompts(file: str) -> list[tuple[str, str]]:
    """The kind and the text of each prompt of a file; those of this package for `auto`, and none for `none`.

    Raises:
        RecipeError: the file cannot be read, or holds no prompt.
    """
    if file == "none":
        return []
    path = _OWN if file == "auto" else Path(file).expanduser()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(
            f"the prompts of `evaluate.harmful_prompts` cannot be read: {error}",
            remedy=f"Give a text file in UTF-8. {_LINE}",
        ) from None
    kind, found = "all", []
    for line in map(str.strip, lines):
        if line.startswith("##"):
            kind = line.lstrip("#").strip()
        elif line and not line.startswith("#"):
            found.append((kind, line))
    if not found:
        raise RecipeError(f"`{path}` holds no prompt for `evaluate.harmful_prompts`.", remedy=_LINE)
    return found


def refused(
    task: Task,
    model: Model,
    tokenizer: Tokenizer,
    prompts: list[str],
    max_length: int,
    advance: Advance | None = None,
) -> list[bool]:
    """Whether a model refuses each prompt, by greedy decoding.

    Args:
        task: task whose prompts are messages.
        model: a decoder.
        tokenizer: tokenizer of the model.
        prompts: what a user says.
        max_length: most tokens of a prompt and its reply.
        advance: function that is called with the progress.
    """
    rows = [task.read({task.inputs[0]: prompt}) for prompt in prompts]
    columns = {task.inputs[0]: [row[task.inputs[0]] for row in rows]}
    encoded = task.encode(columns, tokenizer, EncodeOptions(max_length, "predict"), {})
    with greedy(model, _TOKENS):
        return [refuses(text) for text in generate(model, tokenizer, encoded, advance=advance).texts]
