"""Why a model is recommended or not, from facts."""

import numpy as np
import pytest

from tunesmith.models.catalogue import catalogue, find_known
from tunesmith.models.task_of_model import task_of_family
from tunesmith.pipeline.data_facts import DataFacts
from tunesmith.pipeline.model_costs import Cost
from tunesmith.pipeline.model_reasons import (
    POSSIBLE,
    RECOMMENDED,
    UNFIT,
    reasons_before_measuring,
    reasons_of_cost,
    verdict_of,
)
from tunesmith.tasks import TASKS


def facts(languages=("en",), lengths=(20, 30), **more) -> DataFacts:
    sizes = np.array(lengths)
    return DataFacts(100, dict.fromkeys(languages, 1 / len(languages)), sizes, 4 * sizes, **more)


def judged(name, task="text-classification", data=None, *, available=False):
    known = find_known(name)
    learned = task_of_family(TASKS.get(task), known.family)
    reasons = reasons_before_measuring(known, learned, data or facts(), available=available)
    return verdict_of(reasons), " | ".join(f"{reason.side}: {reason.text}" for reason in reasons)


@pytest.mark.parametrize(
    ("name", "task", "data", "verdict", "said"),
    [
        ("google-bert/bert-base-uncased", "text-classification", facts(), RECOMMENDED, "for: made for `en`"),
        ("google-bert/bert-base-uncased", "chat", facts(), UNFIT, "chat needs a decoder"),
        ("google-bert/bert-base-uncased", "text-classification", facts(["de"]), UNFIT, "made for `en`"),
        ("deepset/gbert-base", "text-classification", facts(["de"]), RECOMMENDED, "for: made for `de`"),
        ("FacebookAI/xlm-roberta-base", "text-classification", facts(["de"]), RECOMMENDED, "among 93 languages"),
        ("FacebookAI/xlm-roberta-base", "text-classification", facts(), POSSIBLE, "one for `en` alone is better"),
        ("google-bert/bert-base-uncased", "text-classification", facts(["en", "fr"]), POSSIBLE, "are in `fr`"),
        ("google-bert/bert-base-uncased", "text-classification", facts(lengths=(900, 900)), POSSIBLE, "be cut"),
        ("answerdotai/ModernBERT-base", "text-classification", facts(lengths=(900, 900)), RECOMMENDED, "`en`"),
        ("google-bert/bert-base-uncased", "question-answering", facts(lengths=(900, 9)), RECOMMENDED, "windows"),
        ("google/byt5-small", "summarization", facts(lengths=(900, 900)), POSSIBLE, "would be cut"),
        ("openai-community/gpt2", "text-classification", facts(), POSSIBLE, "against: a decoder"),
        ("nlpaueb/legal-bert-base-uncased", "text-classification", facts(), POSSIBLE, "made for legal texts"),
        ("microsoft/deberta-v3-base", "text-classification", facts(), UNFIT, "pickled"),
        ("meta-llama/Llama-3.2-1B-Instruct", "chat", facts(), POSSIBLE, "accounts that have accepted"),
        ("Qwen/Qwen3-0.6B", "chat", facts(), RECOMMENDED, "for: tuned to answer in a chat"),
        ("Qwen/Qwen2.5-0.5B", "chat", facts(), POSSIBLE, "has no chat template"),
        ("Qwen/Qwen2.5-0.5B", "summarization", facts(), POSSIBLE, "was not tuned to answer"),
        ("facebook/bart-large-cnn", "summarization", facts(written=0.2), RECOMMENDED, "for: fine-tuned"),
        ("facebook/bart-large-cnn", "translation", facts(written=1.0, crosses=True), POSSIBLE, "against: fine"),
        (
            "Helsinki-NLP/opus-mt-en-de",
            "translation",
            facts(["en", "de"], written=1.1, crosses=True),
            RECOMMENDED,
            "for: fine-tuned to write translations",
        ),
        (
            "facebook/nllb-200-distilled-600M",
            "translation",
            facts(["en", "de"], written=1.1, crosses=True),
            POSSIBLE,
            "forbids commercial use",
        ),
        ("sentence-transformers/all-MiniLM-L6-v2", "fill-mask", facts(), POSSIBLE, "no output layer"),
        ("sentence-transformers/all-MiniLM-L6-v2", "text-similarity", facts(pairs=True), RECOMMENDED, "compare"),
        ("google-bert/bert-base-uncased", "text-similarity", facts(pairs=True), POSSIBLE, "not made to compare"),
        ("google-t5/t5-small", "text-similarity", facts(pairs=True), POSSIBLE, "an encoder-decoder"),
    ],
)  # fmt: skip
def test_the_verdict_and_what_is_said(name, task, data, verdict, said):
    found, text = judged(name, task, data)
    assert said in text
    assert found == verdict, text


def test_what_is_on_this_machine_needs_no_consent_and_no_download():
    verdict, text = judged("meta-llama/Llama-3.2-1B-Instruct", "chat", available=True)
    assert (verdict, "is on this machine" in text) == (RECOMMENDED, True)
    assert judged("microsoft/deberta-v3-base", available=True)[0] == RECOMMENDED


@pytest.mark.parametrize("task", TASKS.built_in())
def test_every_task_has_models_that_are_recommended_without_data(task):
    verdicts = {}
    for known in catalogue():
        learned = task_of_family(TASKS.get(task), known.family)
        verdicts[known.id] = verdict_of(reasons_before_measuring(known, learned, None, available=False))
    assert list(verdicts.values()).count(RECOMMENDED) >= 5
    assert UNFIT in verdicts.values()


def test_costs_speak_against_a_model():
    slow = list(reasons_of_cost(Cost(20_000.0, 3.0, 10**9, True)))
    assert verdict_of(slow) == POSSIBLE
    assert "about 16.7 h for 3 epochs" in slow[0].text
    large = list(reasons_of_cost(Cost(1.0, 3.0, 5 * 10**9, False)))
    assert verdict_of(large) == UNFIT
    assert "needs 5.0 GB" in large[0].text
    assert list(reasons_of_cost(Cost(1.0, 3.0, 10**9, True))) == []
