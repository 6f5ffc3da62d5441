"""What a document says, in a few words."""

from tunesmith.tasks import Column
from tunesmith.tasks._seq2seq import SequenceToSequence

task = SequenceToSequence(
    "summarization",
    "what a document says, in a few words",
    (
        Column("document", "text", ("document", "text", "article", "dialogue", "body", "source", "content")),
        Column(
            "summary",
            "text",
            ("summary", "summaries", "highlights", "abstract", "tldr", "target"),
            target=True,
        ),
    ),
    measures=("rougeL", "rouge1", "rouge2", "chrf"),
    answer_key="summary_text",
    baselines=("first_sentence", "base_model"),
)
