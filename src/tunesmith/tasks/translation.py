"""Translation: a text in another language."""

from __future__ import annotations

from collections.abc import Mapping

from tunesmith.tasks import Column, Decoders, Values
from tunesmith.tasks._by_decoder import by_decoder
from tunesmith.tasks._language_names import language_name
from tunesmith.tasks._seq2seq import SequenceToSequence

_AS_LONG = 0.2, 5.0
"""Characters of a translation for each of its source (Chinese is short), where the task is guessed."""


def _instruction(columns: Mapping[str, str]) -> str:
    """Names the languages that the names of the columns tell."""
    source, target = (language_name(columns.get(name, "")) for name in ("source", "target"))
    if source and target:
        return f"Translate from {source} to {target}."
    return f"Translate to {target}." if target else "Translate the text."


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
    decoders = Decoders(lambda: by_decoder(Translation, _instruction))

    def resembles(self, columns: Values) -> bool:
        """See Task: both texts are about as long."""
        low, high = _AS_LONG
        return super().resembles(columns) and low <= self._relative_length(columns) <= high


task = Translation()
