"""Translation: a text in another language."""

from __future__ import annotations

from tunesmith.tasks import Column, Values
from tunesmith.tasks._seq2seq import SequenceToSequence

_AS_LONG = 0.2, 5.0
"""Characters of a translation for each of its source (Chinese is short), where the task is guessed."""


class Translation(SequenceToSequence):
    """The task's object."""

    name = "translation"
    summary = "a text in another language"
    aliases = ("translate", "machine-translation", "mt")
    columns = (
        Column("source", "text", ("source", "src", "input", "en", "original")),
        Column("target", "text", ("target", "tgt", "output", "translation", "de", "fr"), target=True),
    )
    primary_metric = "chrf"
    measures = ("chrf", "bleu")
    answer_key = "translation_text"
    baselines = ("copy_source", "base_model")

    def resembles(self, columns: Values) -> bool:
        """See Task: both texts are about as long."""
        low, high = _AS_LONG
        return super().resembles(columns) and low <= self._relative_length(columns) <= high


task = Translation()
