"""What every task must do, as tests that a new one inherits (as Optuna's `testing.pytest_samplers`).

    class TestTextClassification(TaskContract):
        name = "text-classification"

The subclass names the task, the family of tiny models that it needs, and what is otherwise with it; the suite
reads rows, trains, evaluates, loads and asks odd things. One training of a few steps serves most tests.
"""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest

from tunesmith.testing.tiny import Row, tiny_task_rows, write_rows, write_tiny_model

if TYPE_CHECKING:
    from tunesmith.encoded import Encoded
    from tunesmith.inference.predictor import Predictor
    from tunesmith.recipe import Recipe
    from tunesmith.run import Run
    from tunesmith.tasks import Task

ODD_TEXTS = {
    "one word": "cat",
    "emoji": "the 🙂 cat 👩‍👩‍👧 is 🏳️‍🌈 here",  # joined by U+200D, coloured by U+FE0F
    "right to left": "القط الأحمر هنا the cat חתול",
    "scripts without blanks": "猫は赤い。แมวสีแดง",
    "control characters": "the\u0000 cat\u0007 is\u200b here\r\n\tthere\ufeff",
    "unseen letters": "ǅ ß ı ﬁ ÅÅ é",
    "very long": "the old cat is near a small red dog and " * 60,
    "one long word": "c" * 700,
    "marks of a tokenizer": "[CLS] the [SEP] cat </s> <s> <pad> <unk>",
    "white space around": "  \n the cat \t ",
}
"""Texts that people send, by what is odd about them."""

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
_ALIKE = 1e-4


class TaskContract:
    """The suite; subclass it as `Test…` and set what differs."""

    name: ClassVar[str]
    """Of the task."""
    task: ClassVar[Any] = None
    """The task, where it is not in the registry: it is registered under `name`."""
    family: ClassVar[str] = "bert"
    """Of the tiny model."""
    recipe: ClassVar[dict[str, dict[str, Any]]] = {}
    """Sections of the recipe that differ."""
    odd_texts: ClassVar[dict[str, str]] = ODD_TEXTS
    """Texts that answers are asked for."""
    stock_loss_is_the_mean: ClassVar[bool] = False
    """Whether the loss that transformers' own model computes is the mean over the items of ours."""
    repeats: ClassVar[bool] = False
    """Whether to train a second time and compare every bit; one task of a family is enough."""

    # ---- what a subclass may say otherwise ----

    def rows(self, n: int, seed: int) -> list[Row]:
        """Rows of a file."""
        return tiny_task_rows(self.name, n, seed=seed)

    def question(self, row: Row) -> Any:
        """What a predictor is asked, of a row of the file."""
        names = {column.name for column in _task(self).columns if not column.target}
        return {name: value for name, value in row.items() if name in names}

    def question_with(self, text: str) -> Any:
        """What a predictor is asked, of a text."""
        return text

    # ---- made once for all tests of a subclass ----

    @pytest.fixture(scope="class")
    @classmethod
    def base(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """The folder of the untrained model."""
        return write_tiny_model(tmp_path_factory.mktemp("model") / cls.family, family=cls.family)

    @pytest.fixture(scope="class")
    @classmethod
    def files(cls, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
        """A file a split."""
        folder = tmp_path_factory.mktemp("data")
        rows = cls().rows(88, seed=0)
        parts = {"train": rows[:56], "validation": rows[56:72], "test": rows[72:]}
        return {name: write_rows(folder / f"{name}.jsonl", part) for name, part in parts.items()}

    @pytest.fixture(scope="class")
    @classmethod
    def make_recipe(
        cls, base: Path, files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
    ) -> Iterator[Any]:
        """From values of `train` to a recipe with a folder of its own; the cache is ours meanwhile."""
        from tunesmith.recipe import Recipe
        from tunesmith.tasks import TASKS

        def make(**train: Any) -> Recipe:
            tree: dict[str, Any] = {
                "task": cls.name,
                "model": str(base),
                "output_dir": str(tmp_path_factory.mktemp("runs") / "run"),
                "data": {split: [str(file)] for split, file in files.items()},
                "train": {"max_steps": 8, "learning_rate": 2e-3, "per_device_train_batch_size": 8},
                "generate": {"max_new_tokens": 6} if TASKS.get(cls.name).generates else {},
                "evaluate": {"bootstrap_samples": 100, "samples": 3},
            }
            for section, values in (*cls.recipe.items(), ("train", train)):
                tree.setdefault(section, {}).update(values)
            return Recipe.model_validate(tree)

        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TUNESMITH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
            if cls.task is not None:
                # As `register` does it, but only while these tests last.
                patch.setitem(TASKS._registered, cls.name, cls.task)
            yield make

    @pytest.fixture(scope="class")
    @classmethod
    def run(cls, make_recipe: Any) -> Run:
        """One finished training."""
        from tunesmith import pipeline

        return pipeline.train(make_recipe())

    @pytest.fixture(scope="class")
    @classmethod
    def predictor(cls, run: Run) -> Predictor:
        """Of that training."""
        from tunesmith import load

        return load(run.path)

    @pytest.fixture(scope="class")
    @classmethod
    def bench(cls, make_recipe: Any) -> _Bench:
        """The untrained model in float64 without dropout, and sequences to train it on."""
        return _Bench(cls(), make_recipe())

    # ---- what it says of itself ----

    def test_it_says_what_it_is(self, make_recipe: Any) -> None:
        """Names, columns and metrics fit together."""
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

    def test_rows_are_read(self, make_recipe: Any) -> None:
        """A row gives its inputs and outputs; without its targets, its inputs alone; twice the same."""
        task = _task(self)
        for row in self.rows(20, seed=1):
            read = _read(task, row)
            assert set(read) <= {*task.inputs, *task.outputs}
            assert json.loads(json.dumps(read)) == json.loads(json.dumps(_read(task, row)))
            asked = self.question(row)
            only = task.read(asked if isinstance(asked, dict) else {task.inputs[0]: asked})
            assert not set(only) & set(task.outputs)

    def test_an_empty_text_is_refused(self, predictor: Predictor) -> None:
        """With the reason, and not with an answer."""
        from tunesmith.tasks import RowError

        for text in ("", " \n\t "):
            with pytest.raises(RowError, match=r"empty|no |mask"):
                predictor(self.question_with(text))
        with pytest.raises(RowError, match="UTF-8"):
            predictor(self.question_with("the \ud800 cat"))

    # ---- encoding ----

    def test_every_row_becomes_sequences_that_name_it(self, bench: _Bench) -> None:
        """Row by row or together, rows become the same sequences."""
        whole = bench.encode(range(7))
        parts = [bench.encode([row]) for row in range(7)]
        assert whole.n_rows == 7
        assert whole.rows.tolist() == [i for i, part in enumerate(parts) for _ in range(len(part))]
        for name, ragged in whole.ragged.items():
            apart = np.concatenate([part.ragged[name].values for part in parts])
            assert ragged.values.tolist() == apart.tolist(), name

    def test_rows_to_predict_need_no_targets(self, bench: _Bench) -> None:
        """What is read is the same; labels there are none."""
        from tunesmith.tasks import EncodeOptions

        options = EncodeOptions(bench.max_length, "predict", bench.max_length // 4)
        inputs = {name: list(values) for name, values in bench.columns.items() if name in bench.task.inputs}
        encoded = bench.task.encode(inputs, bench.loaded.tokenizer, options, bench.label_schema)
        assert set(encoded.rows.tolist()) == set(range(encoded.n_rows))
        assert encoded.n_rows == len(next(iter(inputs.values())))
        assert not [name for name in (*encoded.ragged, *encoded.dense) if name.endswith("labels")]

    def test_no_sequence_is_longer_than_asked(self, bench: _Bench) -> None:
        """Whatever the limit."""
        for max_length in (12, 16, 31):
            encoded = bench.encode(range(20), max_length=max_length)
            assert encoded.ragged["input_ids"].lengths.max() <= max_length
            assert all(ragged.lengths.max(initial=0) <= max_length for ragged in encoded.ragged.values())
            assert bench.task.num_items(encoded).min() >= 0

    # ---- the loss ----

    def test_the_loss_is_a_sum_and_so_is_its_gradient(self, bench: _Bench) -> None:
        """However a batch is cut, its parts add up to the whole, in float64 to ten digits."""
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

    def test_it_is_the_items_times_the_mean_of_transformers(self, bench: _Bench) -> None:
        """Where the stock model has the same loss, as a mean."""
        if not self.stock_loss_is_the_mean:
            pytest.skip("transformers has no such loss, or in another unit")
        encoded = bench.varied(range(9))
        batch = bench.batch(encoded)
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask") if name in batch}
        labels = batch["decoder_labels"] if "decoder_labels" in batch else batch["labels"]
        stock = float(bench.model(**inputs, labels=labels).loss.detach())
        ours, _ = bench.loss_and_gradient(encoded)
        assert ours == pytest.approx(stock * int(bench.task.num_items(encoded).sum()), rel=1e-6)

    def test_padding_changes_nothing(self, bench: _Bench) -> None:
        """Each sequence alone and beside the longest gives what is kept of it."""
        from tunesmith.inference.forward import forward

        encoded = bench.varied(range(9))
        pad = bench.loaded.tokenizer.pad_token_id
        together, apart = (
            forward(bench.task, bench.model, encoded, pad_token_id=pad, tokens_per_batch=tokens)
            for tokens in (100_000, 1)
        )
        assert np.allclose(_values(together), _values(apart), rtol=1e-5, atol=1e-5)

    # ---- the run ----

    def test_metrics_are_numbers(self, run: Run) -> None:
        """In metrics.json, every value, interval and baseline is finite, and the primary one is there."""
        task, metrics = _task(self), run.metrics()
        assert "NaN" not in run.metrics_file.read_text(encoding="utf-8")
        assert _not_finite(metrics) == []
        primary = metrics["primary"]
        assert (primary["name"], primary["split"], primary["n"]) == (task.primary_metric, "test", 16)
        for score in metrics["splits"]["test"].values():
            assert score["low"] <= score["high"]
        for name in task.baselines:
            assert task.primary_metric in metrics["baselines"][name], name
        assert metrics["train"]["steps"] == 8

    def test_training_lowers_the_loss(self, run: Run, bench: _Bench) -> None:
        """On the rows that were trained on, a few steps are enough to see it."""
        from tunesmith.models.loading import load_trained
        from tunesmith.models.resolve import resolve_model

        trained = load_trained(resolve_model(str(run.model)), bench.task).model.double()
        encoded = bench.varied(range(56))
        before = bench.loss(bench.model, encoded)
        assert bench.loss(trained, encoded) < before

    def test_every_row_has_its_line(self, run: Run, files: dict[str, Path]) -> None:
        """`predictions/test.jsonl` has a line a row, in order, with an answer in plain JSON."""
        lines = _lines(run.predictions / "test.jsonl")
        rows = _lines(files["test"])
        assert [line["row"] for line in lines] == [f"test.jsonl:{i + 1}" for i in range(len(rows))]
        assert all({"gold", "prediction", "correct"} <= line.keys() for line in lines)
        assert _not_finite(lines) == []
        assert {key for line in lines for key in line} >= {
            name for name in _task(self).inputs if name in rows[0]
        }

    def test_the_saved_model_says_the_same_again(
        self, run: Run, predictor: Predictor, files: dict[str, Path]
    ) -> None:
        """Loaded again, it gives the answers of predictions/test.jsonl and the scores of metrics.json."""
        import tunesmith
        from tunesmith.data.preparing import read_checked
        from tunesmith.evaluation.scoring import Scored

        before = run.metrics()
        again = tunesmith.evaluate(run.path, str(files["test"]))
        assert _close(again["splits"], before["splits"])
        assert _close(again["primary"], before["primary"])
        if predictor.task.reference:  # their answers need the reference; evaluate has computed it
            return
        examples = read_checked(predictor.task, [str(files["test"])], {}, predictor.label_schema).examples
        scored = Scored(predictor.task, predictor.label_schema, examples, predictor.score(examples))
        for old, new in zip(_lines(run.predictions / "test.jsonl"), scored.lines(), strict=True):
            fresh = json.loads(json.dumps(new))
            # Samples are written only for the report, into some rows' answers.
            answer = {key: value for key, value in old["prediction"].items() if key in fresh["prediction"]}
            assert _close(fresh, {**old, "prediction": answer})

    def test_plain_transformers_loads_it(self, run: Run, predictor: Predictor, bench: _Bench) -> None:
        """No weight is missing or too many, and it computes the same."""
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
        assert np.allclose(_values(theirs), _values(ours), rtol=_ALIKE, atol=1e-3)

    def test_the_report_is_written_for_people(self, run: Run) -> None:
        """It names the metric, and holds no value of Python's that slipped through."""
        page = run.report_file.read_text(encoding="utf-8")
        text = _visible(page)
        assert _task(self).name in text
        oddities = re.findall(r".{0,40}\b(?:None|nan|NaN|inf|undefined|Undefined)\b.{0,40}", text)
        assert oddities == []
        assert not re.findall(r".{0,40}(?:\{\{|\}\}|\{%|object at 0x|&lt;function).{0,40}", page)
        assert not re.search(r"""(?:src|href)=["']https?://""", page), "it must open without a network"

    # ---- answers ----

    def test_answers_come_in_order_and_do_not_depend_on_company(self, predictor: Predictor) -> None:
        """One question, or the same among others, has one answer; every answer is plain JSON."""
        questions = [self.question(row) for row in self.rows(8, seed=5)]
        together = predictor(questions)
        assert len(together) == len(questions)
        for question, answer in zip(questions, together, strict=True):
            assert _close(_plain(predictor(question)), _plain(answer))
        assert predictor([]) == []

    def test_odd_texts_have_answers(self, predictor: Predictor) -> None:
        """Emoji, right-to-left, no blanks, far too long: each alone and all together."""
        answers = {odd: predictor(self.question_with(text)) for odd, text in self.odd_texts.items()}
        for odd, answer in answers.items():
            assert _not_finite(_plain(answer)) == [], odd
        together = predictor([self.question_with(text) for text in self.odd_texts.values()])
        for odd, answer in zip(answers, together, strict=True):
            assert _plain(answer).keys() == _plain(answers[odd]).keys() | ({"truncated"} & answer.keys())
        if not predictor.task.windows:
            assert answers["very long"]["truncated"] is True
            assert "truncated" not in answers["one word"]

    # ---- what stays, and what comes again ----

    def test_frozen_layers_are_bit_identical(self, make_recipe: Any, base: Path) -> None:
        """With `train.freeze_layers=1`, the bottom stays as it was, and what is above it learns."""
        from safetensors.torch import load_file

        from tunesmith import pipeline

        run = pipeline.train(make_recipe(freeze_layers=1, max_steps=3))
        before = load_file(base / "model.safetensors")
        after = load_file(run.model / "model.safetensors")
        frozen = [name for name in before if name.startswith(_FROZEN[self.family])]
        assert len(frozen) > 4
        for name in frozen:
            now = _by_ending(after, name)
            assert bool((now[: len(before[name])] == before[name]).all()), name
        learning = _LEARNING[self.family]
        assert bool((_by_ending(after, learning) != before[learning]).any())

    def test_the_same_recipe_gives_the_same_bits(self, run: Run, make_recipe: Any) -> None:
        """Every weight, every score."""
        if not self.repeats:
            pytest.skip("done for another task of the family")
        from tunesmith import pipeline

        again = pipeline.train(make_recipe())
        one, other = ((r.model / "model.safetensors").read_bytes() for r in (run, again))
        assert one == other
        assert run.metrics()["splits"] == again.metrics()["splits"]
        assert run.metrics()["baselines"] == again.metrics()["baselines"]


class _Bench:
    """A task's untrained model, computing in float64 without dropout, and its training rows."""

    def __init__(self, contract: TaskContract, recipe: Recipe) -> None:
        from tunesmith.data.preparing import prepare
        from tunesmith.models.loading import load_for_training
        from tunesmith.models.positions import position_limit
        from tunesmith.models.resolve import resolve_model

        self.task = _task(contract)
        data = prepare(self.task, recipe)
        self.columns, self.label_schema = data.splits["train"].columns, data.label_schema
        self.loaded = load_for_training(
            resolve_model(recipe.model),
            self.task,
            self.label_schema,
            pooling="first",
            seed=1,
            train=self.columns,
        )
        self.model = self.loaded.model.double().eval()
        self.max_length = position_limit(self.model, self.loaded.tokenizer)

    def encode(self, rows: Sequence[int], max_length: int | None = None) -> Encoded:
        """Training sequences of some rows."""
        from tunesmith.tasks import EncodeOptions

        options = EncodeOptions(max_length or self.max_length, "train", (max_length or self.max_length) // 4)
        batch = {name: [values[row] for row in rows] for name, values in self.columns.items()}
        return self.task.encode(batch, self.loaded.tokenizer, options, self.label_schema)

    def varied(self, rows: Sequence[int]) -> Encoded:
        """The same with what is drawn anew for each step, and with what a loss of pairs compares with."""
        from dataclasses import replace

        from tunesmith.tasks import PLAIN_LOSS, draw

        rng = np.random.default_rng(3)
        encoded = draw(self.task, self.encode(rows), rng, self.loaded.tokenizer, PLAIN_LOSS)
        if not self.task.reference:
            return encoded
        with _without_gradient():
            reference = self.task.forward(self.model, self.batch(encoded)).double().numpy()
        return replace(encoded, dense={**encoded.dense, "reference": reference})

    def batch(self, encoded: Encoded) -> dict[str, Any]:
        """Padded tensors."""
        from tunesmith.data.batches import collate

        return collate(encoded, pad_token_id=self.loaded.tokenizer.pad_token_id)

    def loss(self, model: Any, encoded: Encoded) -> float:
        """The summed loss of a model."""
        from tunesmith.tasks import PLAIN_LOSS

        batch = self.batch(encoded)
        with _without_gradient():
            return float(self.task.loss(self.task.forward(model, batch), batch, PLAIN_LOSS))

    def loss_and_gradient(self, encoded: Encoded) -> tuple[float, Any]:
        """The summed loss, and its gradient by all parameters in one row."""
        import torch

        from tunesmith.tasks import PLAIN_LOSS

        batch = self.batch(encoded)
        self.model.zero_grad(set_to_none=True)
        loss = self.task.loss(self.task.forward(self.model, batch), batch, PLAIN_LOSS)
        assert loss.ndim == 0
        loss.backward()  # type: ignore[no-untyped-call]
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        zeros = (torch.zeros_like(p) if p.grad is None else p.grad for p in parameters)
        return float(loss.detach()), torch.cat([gradient.flatten() for gradient in zeros]).numpy()


def _without_gradient() -> Any:
    import torch

    return torch.no_grad()


def _task(contract: TaskContract) -> Task:
    from tunesmith.tasks import TASKS

    return TASKS.get(contract.name)


def _read(task: Task, row: Row) -> dict[str, Any]:
    found = task.layouts.recognise(list(row), [row])
    return task.read(found.convert(row) if found else row)


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _values(kept: Any) -> Any:
    return np.asarray(getattr(kept, "values", kept))


def _plain(answer: Any) -> Any:
    """An answer as JSON gives it back; arrays become lists."""
    return json.loads(json.dumps(answer, default=lambda array: np.asarray(array).tolist()))


def _not_finite(value: Any, path: str = "") -> list[str]:
    """Where in a JSON value a number is infinite or none."""
    if isinstance(value, dict):
        return [found for key, item in value.items() for found in _not_finite(item, f"{path}.{key}")]
    if isinstance(value, list):
        return [found for i, item in enumerate(value) for found in _not_finite(item, f"{path}[{i}]")]
    return [path] if isinstance(value, float) and not math.isfinite(value) else []


def _close(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal, numbers to four digits."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_close(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_close, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=_ALIKE, abs_tol=_ALIKE)
    return bool(one == other)


def _by_ending(tensors: dict[str, Any], name: str) -> Any:
    """The tensor of that name, or with the body's prefix before it."""
    return next(tensor for known, tensor in tensors.items() if known == name or known.endswith(f".{name}"))


def _visible(page: str) -> str:
    without = re.sub(r"<(script|style|svg)\b.*?</\1>", " ", page, flags=re.DOTALL)
    return html.unescape(re.sub(r"<[^>]+>", " ", without))
