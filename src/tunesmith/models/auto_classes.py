"""The auto classes of transformers that tasks load models with, and what others call them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class AutoClass:
    """What an auto class is called elsewhere.

    Args:
        table: the table of its families in transformers, without `_MAPPING_NAMES`.
        in_words: what such models do, for the docs.
        peft_type: its task type in peft; None where peft has none.
    """

    table: str
    in_words: str
    peft_type: str | None = None


AUTO_CLASSES: Mapping[str, AutoClass] = {
    "AutoModelForSequenceClassification": AutoClass(
        "MODEL_FOR_SEQUENCE_CLASSIFICATION", "classification, regression", "SEQ_CLS"
    ),
    "AutoModelForTokenClassification": AutoClass(
        "MODEL_FOR_TOKEN_CLASSIFICATION", "token classification", "TOKEN_CLS"
    ),
    "AutoModelForQuestionAnswering": AutoClass(
        "MODEL_FOR_QUESTION_ANSWERING", "question answering", "QUESTION_ANS"
    ),
    "AutoModelForCausalLM": AutoClass(
        "MODEL_FOR_CAUSAL_LM", "text generation, chat, preference", "CAUSAL_LM"
    ),
    "AutoModelForSeq2SeqLM": AutoClass(
        "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM", "summarization, translation", "SEQ_2_SEQ_LM"
    ),
    "AutoModelForMaskedLM": AutoClass("MODEL_FOR_MASKED_LM", "fill-mask"),
}
"""Auto classes with a head, by name."""

PLAIN_PEFT_TYPE = "FEATURE_EXTRACTION"
"""The task type in peft of a model without a head (`AutoModel`)."""
