"""A text in another language."""

from tunesmith.tasks import Column
from tunesmith.tasks._seq2seq import SequenceToSequence

task = SequenceToSequence(
    "translation",
    "a text in another language",
    (
        Column("source", "text", ("source", "src", "input", "en", "original")),
        Column("target", "text", ("target", "tgt", "output", "translation", "de", "fr"), target=True),
    ),
    measures=("chrf", "bleu"),
    answer_key="translation_text",
    baselines=("copy_source", "base_model"),
)
