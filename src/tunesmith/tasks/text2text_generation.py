"""One text from another that has a right answer: corrections, transcriptions, queries."""

from __future__ import annotations

from collections.abc import Mapping

from tunesmith.tasks import Column, Decoders
from tunesmith.tasks._by_decoder import by_decoder
from tunesmith.tasks._seq2seq import SequenceToSequence


def _instruction(columns: Mapping[str, str]) -> str:
    """Nothing: what is to be done is known to the data alone."""
    return ""


class Text2TextGeneration(SequenceToSequence):
    """The task's object."""

    name = "text2text-generation"
    summary = "one text from another: corrections, transcriptions, queries"
    aliases = ("seq2seq", "text2text", "sequence-to-sequence")
    columns = (
        Column("source", "text", ("source", "input", "input_text", "text", "question", "word")),
        Column(
            "target", "text", ("target", "output", "target_text", "label", "answer", "phonemes"), target=True
        ),
    )
    primary_metric = "exact_match"
    measures = ("exact_match", "chrf")
    answer_key = "generated_text"
    baselines = ("copy_source", "base_model")
    decoders = Decoders(lambda: by_decoder(Text2TextGeneration, _instruction))


task = Text2TextGeneration()
