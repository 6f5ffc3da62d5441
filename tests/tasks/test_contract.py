"""Every task does what every task must do; so does one that a user writes in one class."""

from __future__ import annotations

import numpy as np
import pytest

from tunesmith.metrics import classification
from tunesmith.tasks import TASKS, Column, Encoded, RowError, Task
from tunesmith.testing.contract import ODD_TEXTS, TaskContract


class TestTextClassification(TaskContract):
    name = "text-classification"
    stock_loss_is_the_mean = True
    repeats = True


class TestMultiLabelClassification(TaskContract):
    name = "multi-label-classification"
    family = "roberta"


class TestTextRegression(TaskContract):
    name = "text-regression"


class TestTokenClassification(TaskContract):
    name = "token-classification"
    stock_loss_is_the_mean = True

    def question_with(self, text):
        return {"text": text}


class TestQuestionAnswering(TaskContract):
    name = "question-answering"

    def question_with(self, text):
        return {"question": "a red is here", "context": text}


class TestSummarization(TaskContract):
    name = "summarization"
    family = "bart"
    stock_loss_is_the_mean = True
    repeats = True


class TestTranslation(TaskContract):
    name = "translation"
    family = "bart"
    stock_loss_is_the_mean = True


class TestText2TextGeneration(TaskContract):
    name = "text2text-generation"
    family = "bart"
    stock_loss_is_the_mean = True


class TestTextGeneration(TaskContract):
    name = "text-generation"
    family = "llama"
    stock_loss_is_the_mean = True
    repeats = True


class TestChat(TaskContract):
    name = "chat"
    family = "llama"
    stock_loss_is_the_mean = True


class TestFillMask(TaskContract):
    name = "fill-mask"
    stock_loss_is_the_mean = True
    odd_texts = {odd: f"<mask> {text}" for odd, text in ODD_TEXTS.items()} | {"one word": "<mask>"}

    def question(self, row):
        return {"text": row["text"].replace(" is ", " [MASK] ", 1)}


class TestPreference(TaskContract):
    name = "preference"
    family = "llama"
    repeats = True


class WordCount(Task):
    """Whether a text has many words: a task as a user writes it, in one class."""

    name = "text-length"
    summary = "whether a text has few words or many"
    columns = (Column("text", "text"), Column("length", "category", target=True))
    auto_class = "AutoModelForSequenceClassification"
    primary_metric = "accuracy"
    makes_head = True
    pools = True
    probe = "logistic_regression"
    baselines = ("majority",)
    labels = ("few", "many")

    def read(self, row):
        if not isinstance(row["text"], str) or not row["text"].strip():
            raise RowError("text is empty.")
        if any("\ud800" <= character <= "\udfff" for character in row["text"]):
            raise RowError("text is not UTF-8.")
        return {name: row[name] for name in ("text", "length") if name in row}

    def config(self, label_schema):
        return {"num_labels": 2, "id2label": dict(enumerate(self.labels))}

    def encode(self, batch, tokenizer, options, label_schema):
        ids = tokenizer(
            batch["text"], truncation=options.max_length is not None, max_length=options.max_length
        )
        known = {"labels": [self.labels.index(x) for x in batch["length"]]} if "length" in batch else {}
        return Encoded.of({"input_ids": ids["input_ids"]}, known)

    def loss(self, outputs, batch, options):
        from torch.nn.functional import cross_entropy

        return cross_entropy(outputs, batch["labels"], reduction="sum")

    def decode(self, evaluated, label_schema):
        logits = np.asarray(evaluated.outputs)
        return [
            {"label": self.labels[i], "score": float(row[i])}
            for i, row in zip(logits.argmax(-1), logits, strict=True)
        ]

    def is_correct(self, prediction, gold):
        return prediction["label"] == gold

    def statistics(self, evaluated, label_schema):
        return classification.statistics(
            evaluated.encoded.dense["labels"], np.asarray(evaluated.outputs).argmax(-1), 2
        )

    def formula(self, sums, label_schema):
        return classification.formula(sums)


class TestATaskOfOnesOwn(TaskContract):
    name = "text-length"
    task = WordCount()
    stock_loss_is_the_mean = True

    def rows(self, n, seed):
        from tunesmith.testing.tiny import tiny_rows

        texts = [row["text"] for row in tiny_rows(n, seed=seed)]
        return [{"text": text, "length": WordCount.labels[len(text.split()) > 8]} for text in texts]


def test_every_task_is_under_the_contract():
    tested = {contract.name for contract in TaskContract.__subclasses__()}
    assert tested >= set(TASKS.names())


@pytest.mark.parametrize("name", [name for name in TASKS.names() if name != WordCount.name])
def test_a_task_is_found_by_its_name(name):
    assert TASKS.get(name).name == name
