"""Questions for the animal or the colour of a text, which may have none."""

from __future__ import annotations

import numpy as np

from tunesmith.testing.tiny_tasks import Row, TinyTask
from tunesmith.testing.tiny_words import KINDS, one, scattered


def _row(rng: np.random.Generator) -> Row:
    kind = str(rng.choice(list(KINDS)))
    said = {other: one(rng, other) for other in KINDS if other != kind or rng.random() < 0.8}
    context = scattered(rng, list(said.values()), 4, 10)
    words = context.split()
    found = [said[kind]] if kind in said else []
    starts = [sum(len(word) + 1 for word in words[: words.index(text)]) for text in found]
    answers = {"text": found, "answer_start": starts}
    return {
        "question": f"a {'cat' if kind == 'animal' else 'red'} is here",
        "context": context,
        "answers": answers,
    }


tiny = TinyTask(_row, question_with=lambda text: {"question": "a red is here", "context": text})
