"""Every task does what every task must do; so does one that a user writes in one class."""

from __future__ import annotations

import numpy as np
import pytest

from tunesmith.metrics import classification
from tunesmith.tasks import TASKS, Column, Encoded, LinearProbe, Pooling, RowError, Task
from tunesmith.testing.contract import TaskContract, contract_of
from tunesmith.testing.tiny_tasks import TinyTask
from tunesmith.testing.tiny_words import one, scattered

for _name in TASKS.built_in():
    _contract = contract_of(_name)
    globals()[_contract.__name__] = _contract
    if TASKS.get(_name).decoders is not None:
        _contract = contract_of(_name, "llama")
        globals()[_contract.__name__] = _contract


class WordCount(Task):
    """Whether a text has many words: a task as a user writes it, in one class."""

    name = "text-length"
    summary = "whether a text has few words or many"
    columns = (Column("text", "text"), Column("length", "category", target=True))
    auto_class = "AutoModelForSequenceClassification"
    primary_metric = "accuracy"
    pooling = Pooling()
    probe = LinearProbe()
    baselines = ("majority",)
    _labels = ("few", "many")

    def read(self, row):
        if not isinstance(row["text"], str) or not row["text"].strip():
            raise RowError("text is empty.")
        if any("\ud800" <= character <= "\udfff" for character in row["text"]):
            raise RowError("text is not UTF-8.")
        return {name: row[name] for name in ("text", "length") if name in row}

    def config(self, label_schema):
        return {"num_labels": 2, "id2label": dict(enumerate(self._labels))}

    def encode(self, batch, tokenizer, options, label_schema):
        ids = tokenizer(
            batch["text"], truncation=options.max_length is not None, max_length=options.max_length
        )
        known = {"labels": [self._labels.index(x) for x in batch["length"]]} if "length" in batch else {}
        return Encoded.of({"input_ids": ids["input_ids"]}, known)

    def loss(self, outputs, batch, options):
        from torch.nn.functional import cross_entropy

        return cross_entropy(outputs, batch["labels"], reduction="sum")

    def decode(self, evaluated, label_schema):
        logits = np.asarray(evaluated.outputs)
        return [
            {"label": self._labels[i], "score": float(row[i])}
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


def _row(rng):
    text = scattered(rng, [one(rng, "animal")], 2, 11)
    return {"text": text, "length": WordCount._labels[len(text.split()) > 8]}


class TestATaskOfOnesOwn(TaskContract):
    name, task, tiny = "text-length", WordCount(), TinyTask(_row, stock_loss_is_the_mean=True)


@pytest.mark.parametrize("name", TASKS.built_in())
def test_a_task_is_found_by_its_name(name):
    assert TASKS.get(name).name == name
