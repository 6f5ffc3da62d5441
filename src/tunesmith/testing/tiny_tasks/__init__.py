"""Tiny data for each task, in a file with the name of the task's file: the whole test of a new task.

The contract (`testing/contract.py`) finds the tasks and takes their rows and their peculiarities from here. A task
of another package gives its `TinyTask` to its contract directly.
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
"""The input of a predictor: a text, or the columns of a row."""

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
"""Unusual texts that users send, by what is unusual."""


@dataclass(frozen=True)
class TinyTask:
    """Facts of a task that its tests need.

    Args:
        make: function that makes a row of a file.
        family: family of the tiny model; empty for the usual one of the task's model class.
        question: function from a row of a file to the question to a predictor; None for the row's inputs.
        question_with: function from a text to a question to a predictor.
        odd_texts: unusual texts that must have answers.
        stock_loss_is_the_mean: whether transformers' own model computes the mean of the loss over our items.
        repeats: whether to train a second time and compare every bit; one task for each family is enough.
    """

    make: Callable[[np.random.Generator], Row]
    family: str = ""
    question: Callable[[Row], Question] | None = None
    question_with: Callable[[str], Question] = field(default=lambda text: text)
    odd_texts: Mapping[str, str] = field(default_factory=lambda: ODD_TEXTS)
    stock_loss_is_the_mean: bool = False
    repeats: bool = False


TINY_TASKS: Registry[TinyTask] = Registry("tunesmith.testing.tiny_tasks", "tiny")
