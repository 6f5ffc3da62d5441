"""The texts of text generation, with a word hidden."""

from __future__ import annotations

from tunesmith.testing.tiny_tasks import ODD_TEXTS, Row, TinyTask
from tunesmith.testing.tiny_tasks.text_generation import tiny as texts


def _hidden(row: Row) -> Row:
    return {"text": row["text"].replace(" is ", " [MASK] ", 1)}


tiny = TinyTask(
    texts.make,
    question=_hidden,
    odd_texts={odd: f"<mask> {text}" for odd, text in ODD_TEXTS.items()} | {"one word": "<mask>"},
    stock_loss_is_the_mean=True,
)
