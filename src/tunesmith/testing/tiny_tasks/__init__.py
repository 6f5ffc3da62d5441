"""Tiny data for each task, one file a task, named as the task's own: the whole test of a new task.

The contract (`testing/contract.py`) finds the tasks by itself and takes from here what their rows are and what is
otherwise with them. A task of another package gives its `TinyTask` to its contract directly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from tunesmith.registry import Registry
from tunesmith.tasks import Values
from tunesmith.types import JsonObject

Row = JsonObject

Question = str | Values
"""What a predictor is asked."""

ODD_TEXTS = {
    "one word": "cat",
    "emoji": "the 🙂 cat 👩‍👩‍👧 is 🏳️‍🌈 here",  # joined by U+200D, coloured by U+FE0F
    "right to left": "القط الأحمر هنا the cat חתול",
    "scripts without blanks": "猫は赤い。แมวสีแดง",
    "control characters": "the\u0000 cat\u0007 is\u200b here\r\n\tthere\ufeff",
    "unseen letters": "ǅ ß ı ﬁ ÅÅ é",
    "very long": "the old cat is near a small red dog and " * 60,
    "one long word": "c" * 700,
    "marks of a tokenizer": "[CLS] the [SEP] cat </s> <s> <pad> <unk>",
    "white space around": "  \n the cat \t ",
}
"""Texts that people send, by what is odd about them."""


@dataclass(frozen=True)
class TinyTask:
    """What the tests of a task need to know.

    Args:
        make: a row of a file.
        family: of the tiny model; empty for the usual one of the task's model class.
        question: what a predictor is asked, of a row of a file; the row's inputs when None.
        question_with: what a predictor is asked, of a text.
        odd_texts: texts that answers are asked for.
        stock_loss_is_the_mean: whether the loss that transformers' own model computes is the mean over our items.
        repeats: whether to train a second time and compare every bit; one task of a family is enough.
    """

    make: Callable[[np.random.Generator], Row]
    family: str = ""
    question: Callable[[Row], Question] | None = None
    question_with: Callable[[str], Question] = field(default=lambda text: text)
    odd_texts: Mapping[str, str] = field(default_factory=lambda: ODD_TEXTS)
    stock_loss_is_the_mean: bool = False
    repeats: bool = False


TINY_TASKS: Registry[TinyTask] = Registry("tunesmith.testing.tiny_tasks", "tiny")
