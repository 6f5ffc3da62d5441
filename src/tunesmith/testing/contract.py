"""Tests of what every task must do; a new task inherits them (as in Optuna's `testing.pytest_samplers`).

    TestTextClassification = contract_of("text-classification")

    class TestMyTask(TaskContract):
        name, task, tiny = "my-task", MyTask(), TinyTask(make=a_row)

The suite reads rows, trains, evaluates, loads, and asks for answers to unusual texts. Most tests share one
training of a few steps.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tunesmith.data.columns import recognised
from tunesmith.tasks import TASKS
from tunesmith.testing._bench import Bench
from tunesmith.testing._comparing import (
    ALIKE,
    are_close,
    as_json,
    by_ending,
    lines_of,
    not_finite,
    values_of,
    visible_text,
)
from tunesmith.testing._fixtures import TaskFixtures, train_leanly
from tunesmith.testing.tiny_tasks import Row

if TYPE_CHECKING:
    from tunesmith.inference.predictor import Predictor
    from tunesmith.run import Run
    from tunesmith.tasks import Task
    from tunesmith.testing._fixtures import MakeRecipe
    from tunesmith.types import JsonObject

_FROZEN = {
    "bert": ("embeddings.", "encoder.layer.0."),
    "roberta": ("embeddings.", "encoder.layer.0."),
    "llama": ("model.embed_tokens.", "model.layers.0."),
    "bart": ("model.shared.", "model.encoder.layers.0."),
}
_LEARNING = {
    "bert": "encoder.layer.1.output.dense.weight",
    "roberta": "encoder.layer.1.output.dense.weight",
    "llama": "model.layers.1.mlp.down_proj.weight",
    "bart": "model.encoder.layers.1.fc2.weight",
}
_EXACT = 1e-10


class TaskContract(TaskFixtures):
    """The suite; subclass it as `Test…` and set the attributes that differ."""

    # ---- the declaration ----

    def test_it_says_what_it_is(self, make_recipe: MakeRecipe) -> None:
        """The task has a name, a summary, columns, inputs and an auto class."""
        from tunesmith.tasks import TASKS, Task

        task = TASKS.get(self.name)
        assert isinstance(task, Task)
        assert task.name == self.name
        assert self.name in TASKS.names()
        assert task.summary
        assert not task.summary.endswith(".")
        assert task.columns
        assert task.inputs
        assert task.auto_class.startswith("AutoModel")

    def test_rows_are_read(self, make_recipe: MakeRecipe) -> None:
        """Reading a row gives the same inputs and outputs each time; without targets, only the inputs."""
        task = _task(self)
        for row in self.rows(20, seed=1):
            read = _read(task, row)
            assert set(read) <= {*task.inputs, *task.outputs}
            assert json.loads(json.dumps(read)) == json.loads(json.dumps(_read(task, row)))
            asked = self.question(row)
            only = task.read(asked if isinstance(asked, dict) else {task.inputs[0]: asked})
            assert not set(only) & set(task.outputs)

    def test_an_empty_text_is_refused(self, predictor: Predictor) -> None:
        """An empty text, or one that UTF-8 cannot write, is an error with the reason."""
        from tunesmith.tasks import RowError

        for text in ("", " \n\t "):
            with pytest.raises(RowError, match=r"empty|no |mask"):
                predictor(self.facts().question_with(text))
        with pytest.raises(RowError, match="UTF-8"):
            predictor(self.facts().question_with("the \ud800 cat"))

    # ---- encoding ----

    def test_every_row_becomes_sequences_that_name_it(self, bench: Bench) -> None:
        """Rows become the same sequences one by one and together."""
        whole = bench.encode(range(7))
        parts = [bench.encode([row]) for row in range(7)]
        assert whole.n_rows == 7
        assert whole.rows.tolist() == [i for i, part in enumerate(parts) for _ in range(len(part))]
        for name, ragged in whole.ragged.items():
            apart = np.concatenate([part.ragged[name].values for part in parts])
            assert ragged.values.tolist() == apart.tolist(), name

    def test_rows_to_predict_need_no_targets(self, bench: Bench) -> None:
        """Rows without targets become sequences without labels."""
        from tunesmith.tasks import EncodeOptions

        options = EncodeOptions(bench.max_length, "predict", bench.max_length // 4)
        inputs = {name: list(values) for name, values in bench.columns.items() if name in bench.task.inputs}
        encoded = bench.task.encode(inputs, bench.loaded.tokenizer, options, bench.label_schema)
        assert set(encoded.rows.tolist()) == set(range(encoded.n_rows))
        assert encoded.n_rows == len(next(iter(inputs.values())))
        assert not [name for name in (*encoded.ragged, *encoded.dense) if name.endswith("labels")]

    def test_no_sequence_is_longer_than_asked(self, bench: Bench) -> None:
        """Every limit holds for all fields."""
        for max_length in (12, 16, 31):
            encoded = bench.encode(range(20), max_length=max_length)
            assert encoded.ragged["input_ids"].lengths.max() <= max_length
            assert all(ragged.lengths.max(initial=0) <= max_length for ragged in encoded.ragged.values())
            assert bench.task.num_items(encoded).min() >= 0

    # ---- the loss ----

    def test_the_loss_is_a_sum_and_so_is_its_gradient(self, bench: Bench) -> None:
        """The losses and gradients of the parts of a batch add up to the whole, in float64 to ten digits."""
        if bench.task.compares_rows:
            pytest.skip("it compares the rows of a batch with each other")
        encoded = bench.varied(range(9))
        n = len(encoded)
        whole, gradient = bench.loss_and_gradient(encoded)
        for parts in (2, n):
            pieces = [encoded.take(part) for part in np.array_split(np.arange(n), parts)]
            done = [bench.loss_and_gradient(piece) for piece in pieces]
            assert sum(loss for loss, _ in done) == pytest.approx(whole, rel=_EXACT)
            added = np.sum([g for _, g in done], axis=0)
            assert np.abs(added - gradient).max() <= _EXACT * np.abs(gradient).max()
            items = [int(bench.task.num_items(piece).sum()) for piece in pieces]
            assert sum(items) == bench.task.num_items(encoded).sum() > 0
            means = [loss / count for (loss, _), count in zip(done, items, strict=True) if count]
            assert np.average(means, weights=[c for c in items if c]) * sum(items) == pytest.approx(
                whole, rel=_EXACT
            )

    def test_a_loss_that_compares_rows_has_one_gradient(self, bench: Bench) -> None:
        """However a batch is cut into passes, loss and gradient are those of the whole, to ten digits."""
        if not bench.task.compares_rows:
            pytest.skip("it is a sum over parts of a batch")
        encoded = bench.varied(range(9))
        whole, gradient = bench.loss_and_gradient(encoded)
        assert whole > 0
        for parts in (1, 2, 4, 9):
            loss, found = bench.loss_and_gradient_over_rows(encoded, np.array_split(np.arange(9), parts))
            assert loss == pytest.approx(whole, rel=_EXACT)
            assert np.abs(found - gradient).max() <= _EXACT * np.abs(gradient).max()

    def test_it_is_the_items_times_the_mean_of_transformers(self, bench: Bench) -> None:
        """The stock model computes the same loss, as a mean over the items."""
        if not self.facts().stock_loss_is_the_mean:
            pytest.skip("transformers has no such loss, or in another unit")
        encoded = bench.varied(range(9))
        batch = bench.batch(encoded)
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask") if name in batch}
        labels = batch["decoder_labels"] if "decoder_labels" in batch else batch["labels"]
        stock = float(bench.model(**inputs, labels=labels).loss.detach())
        ours, _ = bench.loss_and_gradient(encoded)
        assert ours == pytest.approx(stock * int(bench.task.num_items(encoded).sum()), rel=1e-6)

    def test_padding_changes_nothing(self, bench: Bench) -> None:
        """Each sequence has the same outputs alone and padded beside the longest one."""
        from tunesmith.inference.forward import forward

        encoded = bench.varied(range(9))
        pad = bench.loaded.tokenizer.pad_token_id
        together, apart = (
            forward(bench.task, bench.model, encoded, pad_token_id=pad, tokens_per_batch=tokens)
            for tokens in (100_000, 1)
        )
        assert np.allclose(values_of(together), values_of(apart), rtol=1e-5, atol=1e-5)

    # ---- the run ----

    def test_metrics_are_numbers(self, run: Run) -> None:
        """In metrics.json, every value is finite, every metric is declared, and the primary metric is present."""
        from tunesmith.metrics import METRICS

        task, metrics = _task(self), run.metrics
        assert "NaN" not in run.metrics_file.read_text(encoding="utf-8")
        assert not_finite(metrics) == []
        primary = metrics["primary"]
        n = primary["n"] + primary.get("left_out", 0)
        assert (primary["name"], primary["split"], n) == (task.primary_metric, "test", 16)
        for metric, score in metrics["splits"]["test"].items():
            assert METRICS.get(metric).label
            assert score["low"] <= score["high"]
        for name in task.baselines:
            assert task.primary_metric in metrics["baselines"][name], name
        assert metrics["train"]["steps"] == 8

    def test_training_lowers_the_loss(self, run: Run, bench: Bench) -> None:
        """A few steps lower the loss of the training rows."""
        from tunesmith.models.loading import load_trained
        from tunesmith.models.resolve import resolve_model

        trained = load_trained(resolve_model(str(run.model)), bench.task).model.double()
        encoded = bench.varied(range(56))
        before = bench.loss(bench.model, encoded)
        assert bench.loss(trained, encoded) < before

    def test_every_row_has_its_line(self, run: Run, files: dict[str, Path]) -> None:
        """`predictions/test.jsonl` has a line for each row, in order, with an answer in plain JSON."""
        lines = lines_of(run.predictions / "test.jsonl")
        rows = lines_of(files["test"])
        assert [line["row"] for line in lines] == [f"test.jsonl:{i + 1}" for i in range(len(rows))]
        assert all({"gold", "prediction", "correct"} <= line.keys() for line in lines)
        assert not_finite(lines) == []
        assert {key for line in lines for key in line} >= {
            name for name in _task(self).inputs if name in rows[0]
        }

    def test_the_saved_model_says_the_same_again(
        self, run: Run, predictor: Predictor, files: dict[str, Path]
    ) -> None:
        """The loaded model gives the answers of predictions/test.jsonl and the scores of metrics.json."""
        import tunesmith
        from tunesmith.data.preparing import read_checked
        from tunesmith.evaluation.scoring import Scored

        before = run.metrics
        again = tunesmith.evaluate(run.path, str(files["test"]))
        assert are_close(again["splits"], before["splits"])
        assert are_close(again["primary"], before["primary"])
        if predictor.task.reference:  # answers need the reference, which `evaluate` has computed
            return
        examples = read_checked(predictor.task, [str(files["test"])], predictor.label_schema).examples
        scored = Scored(predictor.task, predictor.label_schema, examples, predictor.score(examples))
        for old, new in zip(lines_of(run.predictions / "test.jsonl"), scored.lines(), strict=True):
            fresh = json.loads(json.dumps(new))
            old.pop("left_out", None)  # which only the scores of a split know
            # Samples are added to some rows' answers, only for the report.
            answer = {key: value for key, value in old["prediction"].items() if key in fresh["prediction"]}
            assert are_close(fresh, {**old, "prediction": answer})

    def test_plain_transformers_loads_it(self, run: Run, predictor: Predictor, bench: Bench) -> None:
        """No weight is missing or unexpected, and the outputs are the same."""
        import transformers

        from tunesmith.inference.forward import forward

        auto = getattr(transformers, predictor.task.auto_class)
        stock, info = auto.from_pretrained(run.model, output_loading_info=True)
        assert not info["missing_keys"]
        assert not info["unexpected_keys"]
        tokenizer = transformers.AutoTokenizer.from_pretrained(run.model)
        assert tokenizer.model_max_length == predictor.max_length
        encoded, pad = bench.varied(range(9)), tokenizer.pad_token_id
        theirs, ours = (
            forward(predictor.task, model, encoded, pad_token_id=pad) for model in (stock, predictor.model)
        )
        assert np.allclose(values_of(theirs), values_of(ours), rtol=ALIKE, atol=1e-3)

    def test_the_report_is_written_for_people(self, run: Run) -> None:
        """The report names the task, has no raw values of Python or templates, and needs no network."""
        page = run.report_file.read_text(encoding="utf-8")
        text = visible_text(page)
        assert _task(self).name in text
        oddities = re.findall(r".{0,40}\b(?:None|nan|NaN|inf|undefined|Undefined)\b.{0,40}", text)
        assert oddities == []
        assert not re.findall(r".{0,40}(?:\{\{|\}\}|\{%|object at 0x|&lt;function).{0,40}", page)
        assert not re.search(r"""(?:src|href)=["']https?://""", page), "it must open without a network"

    def test_the_code_of_card_and_report_runs(self, run: Run) -> None:
        """As it is written, and with a text that is far longer than what the model reads."""
        from tunesmith.reports.usage import with_transformers, with_tunesmith

        task = _task(self)
        card = (run.model / "README.md").read_text(encoding="utf-8")
        code = re.findall(r"```python\n(.*?)```", card, re.DOTALL)[0]
        assert with_transformers(run, "PATH/TO/THIS/FOLDER") in code
        for written in (code.replace("PATH/TO/THIS/FOLDER", str(run.model)), with_tunesmith(run, task)):
            for lengthened in (written, re.sub(r'"(a [^"]+)"', r'"\1' + " word" * 2000 + '"', written)):
                names: JsonObject = {}
                exec(compile(lengthened, "the card", "exec"), names)
                assert names.get("answer", names.get("outputs")) is not None, written

    # ---- answers ----

    def test_answers_come_in_order_and_do_not_depend_on_company(self, predictor: Predictor) -> None:
        """A question has the same answer alone and among others; every answer is plain JSON."""
        questions = [self.question(row) for row in self.rows(8, seed=5)]
        together = predictor(questions)
        assert len(together) == len(questions)
        for question, answer in zip(questions, together, strict=True):
            assert are_close(predictor(question), answer)
            assert json.loads(json.dumps(answer)) == answer
        every = predictor(questions, top_k=None)
        assert json.loads(json.dumps(every)) == every
        assert predictor([]) == []

    def test_a_table_in_memory_is_read_as_its_file(self, run: Run, files: dict[str, Path]) -> None:
        """Rows as columns of lists have the answers and the scores of the file that they are from."""
        import tunesmith

        rows = lines_of(files["test"])
        table = {name: [row.get(name) for row in rows] for name in rows[0]}
        again = tunesmith.evaluate(run, table, progress=False)
        assert are_close(again["splits"], run.metrics["splits"])
        if _task(self).masking is None:  # what is to be filled needs a mask, and the rows of a file have none
            assert are_close(tunesmith.predict(run, table), tunesmith.predict(run, files["test"]))

    def test_later_rows_can_be_watched(self, run: Run, files: dict[str, Path]) -> None:
        """`monitor` measures rows against the reference that the training has kept."""
        from tunesmith import pipeline

        found = pipeline.monitor(run.path, data=[str(files["train"])], window=50)
        names = set(found["windows"][0]["statistics"]) | set(found["not_measured"])
        assert names == set(found["titles"])
        assert found["reference"]["rows"] > 0
        json.dumps(found, allow_nan=False)

    def test_odd_texts_have_answers(self, predictor: Predictor) -> None:
        """Unusual texts have answers, alone and together: emoji, right-to-left, without spaces, far too long."""
        answers = {
            odd: predictor(self.facts().question_with(text)) for odd, text in self.facts().odd_texts.items()
        }
        for odd, answer in answers.items():
            assert not_finite(as_json(answer)) == [], odd
        together = predictor([self.facts().question_with(text) for text in self.facts().odd_texts.values()])
        for odd, answer in zip(answers, together, strict=True):
            assert as_json(answer).keys() == as_json(answers[odd]).keys() | ({"truncated"} & answer.keys())
        if not predictor.task.windows:
            assert answers["very long"]["truncated"] is True
            assert "truncated" not in answers["one word"]

    # ---- frozen layers, and a second training ----

    def test_frozen_layers_are_bit_identical(self, make_recipe: MakeRecipe, base: Path) -> None:
        """With `train.freeze_layers=1`, the lowest layer and all below it stay the same; others are trained."""
        from safetensors.torch import load_file

        run = train_leanly(make_recipe(freeze_layers=1, max_steps=3))
        before = load_file(base / "model.safetensors")
        after = load_file(run.model / "model.safetensors")
        frozen = [name for name in before if name.startswith(_FROZEN[self.family()])]
        assert len(frozen) > 4
        for name in frozen:
            now = by_ending(after, name)
            assert bool((now[: len(before[name])] == before[name]).all()), name
        learning = _LEARNING[self.family()]
        assert bool((by_ending(after, learning) != before[learning]).any())

    def test_the_same_recipe_gives_the_same_bits(self, run: Run, make_recipe: MakeRecipe) -> None:
        """A second training with the same recipe gives the same weights and scores."""
        if not self.facts().repeats:
            pytest.skip("done for another task of the family")
        again = train_leanly(make_recipe())
        one, other = ((r.model / "model.safetensors").read_bytes() for r in (run, again))
        assert one == other
        assert run.metrics["splits"] == again.metrics["splits"]
        assert run.metrics["baselines"] == again.metrics["baselines"]


def contract_of(name: str, family: str = "") -> type[TaskContract]:
    """The suite for a task that has a file in `testing/tiny_tasks`.

    Args:
        name: name of the task.
        family: family of the tiny model, where it is not the usual one: `llama` for a writing task by a decoder.
    """
    title = "".join(part.capitalize() for part in (*name.split("-"), family))
    members = {
        "name": name,
        "model_family": family,
        "__doc__": f"The contract of {name} {family}".rstrip() + ".",
    }
    return type(f"Test{title}", (TaskContract,), members)


def _task(contract: TaskContract) -> Task:
    return TASKS.get(contract.name)


def _read(task: Task, row: Row) -> JsonObject:
    found = recognised(task, list(row), [row])
    return task.read(found.convert(row) if found else row)
