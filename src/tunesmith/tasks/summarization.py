"""Summarization: the content of a document in a few words."""

from __future__ import annotations

from collections.abc import Mapping

from tunesmith.tasks import Column, Decoders, Values
from tunesmith.tasks._by_decoder import by_decoder
from tunesmith.tasks._seq2seq import SequenceToSequence

_SHORTER = 0.6
"""Most characters of a summary for each of its document, where the task is guessed."""


def _instruction(columns: Mapping[str, str]) -> str:
    return "Summarize the text."


class Summarization(SequenceToSequence):
    """The task's object."""

    name = "summarization"
    summary = "what a document says, in a few words"
    aliases = ("summarisation", "summarize")
    columns = (
        Column("document", "text", ("document", "text", "article", "dialogue", "body", "source", "content")),
        Column(
            "summary",
            "text",
            ("summary", "summaries", "highlights", "abstract", "tldr", "target"),
            target=True,
        ),
    )
    primary_metric = "rougeL"
    measures = ("rougeL", "rouge1", "rouge2", "chrf")
    answer_key = "summary_text"
    baselines = ("first_sentence", "base_model")
    decoders = Decoders(lambda: by_decoder(Summarization, _instruction))

    def resembles(self, columns: Values) -> bool:
        """See Task: a summary is shorter than its document."""
        return super().resembles(columns) and self._relative_length(columns) <= _SHORTER


task = Summarization()
