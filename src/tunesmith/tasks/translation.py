"""Translation: a text in another language."""

from __future__ import annotations

from tunesmith.tasks import Column
from tunesmith.tasks._seq2seq import SequenceToSequence


class Translation(SequenceToSequence):
    """The task's object."""

    name = "translation"
    summary = "a text in another language"
    columns = (
        Column("source", "text", ("source", "src", "input", "en", "original")),
        Column("target", "text", ("target", "tgt", "output", "translation", "de", "fr"), target=True),
    )
    primary_metric = "chrf"
    measures = ("chrf", "bleu")
    answer_key = "translation_text"
    baselines = ("copy_source", "base_model")


task = Translation()
