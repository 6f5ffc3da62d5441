"""One text from another: corrections, transcriptions, queries, anything that has a right answer."""

from tunesmith.tasks import Column
from tunesmith.tasks._seq2seq import SequenceToSequence

task = SequenceToSequence(
    "text2text-generation",
    "one text from another: corrections, transcriptions, queries",
    (
        Column("source", "text", ("source", "input", "input_text", "text", "question", "word")),
        Column(
            "target", "text", ("target", "output", "target_text", "label", "answer", "phonemes"), target=True
        ),
    ),
    measures=("exact_match", "chrf"),
    answer_key="generated_text",
    baselines=("copy_source", "base_model"),
)
