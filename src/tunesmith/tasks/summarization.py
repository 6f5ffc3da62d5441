"""Summarization: the content of a document in a few words."""

from __future__ import annotations

from tunesmith.tasks import Column
from tunesmith.tasks._seq2seq import SequenceToSequence


class Summarization(SequenceToSequence):
    """The task's object."""

    name = "summarization"
    summary = "what a document says, in a few words"
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


task = Summarization()
