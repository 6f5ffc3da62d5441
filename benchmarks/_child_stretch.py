"""One contender in a process of its own: `python benchmarks/_child_stretch.py '{"program": "trainer", …}'`.

Every program reads the same rows from the same files and trains the same model with the same batch, epochs and
learning rate, as its own documentation shows it. What it does is not imitated: `Trainer` and
`SentenceTransformerTrainer` are called as people call them, ours through `tunesmith.train`. The stretch ends by
their own means, a callback or a listener.
"""

from __future__ import annotations

import contextlib
import csv
import json
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import _flops
from _stretch import EnoughError, Limits, Sizes, Stretch, peak_memory_bytes, sizes_of


@dataclass(frozen=True)
class Spec:
    """What is measured.

    Args:
        program: one of `PROGRAMS`.
        model: folder of the model.
        train: CSV file with columns `text` and `label`, or `text` alone for a language model.
        validation: the like, where a program wants some.
        folder: to write to.
        task: by our name; `text-classification` or `text-generation`.
        batch: rows of a step; 0 leaves it to the program.
        epochs: of the whole training, of which the stretch is the beginning.
        learning_rate: at its peak.
        seed: of order, dropout and head.
        device: `cpu` or `cuda`.
        options: of the program.
        limits: of the stretch, as in `Limits`.
    """

    program: str
    model: str
    train: str
    validation: str
    folder: str
    task: str = "text-classification"
    batch: int = 16
    epochs: float = 3
    learning_rate: float = 1e-4
    seed: int = 1
    device: str = "cpu"
    options: dict[str, Any] = field(default_factory=dict)
    limits: dict[str, Any] = field(default_factory=dict)

    @property
    def is_language(self) -> bool:
        """Whether every token is predicted."""
        return self.task == "text-generation"

    @property
    def uses_adapter(self) -> bool:
        """Whether the model's own matrices are frozen."""
        return bool(self.options.get("lora"))

    def stretch(self) -> Stretch:
        """An empty one, with this specification's limits."""
        # What is compiled cannot be looked into.
        limits = self.limits | ({"counted_steps": 0} if self.options.get("compile") else {})
        return Stretch(Limits(**limits), _waiter(self.device))


def _waiter(device: str) -> Callable[[], None]:
    import torch

    return torch.cuda.synchronize if device == "cuda" else lambda: None


def read_rows(path: str) -> tuple[list[str], list[str]]:
    """Texts and labels of a file; without labels, empty ones."""
    with open(path, encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    return [row["text"] for row in rows], [row.get("label", "") for row in rows]


class SizedBatches:
    """A collator that remembers the sizes of its batches in order, because loaders fetch ahead of the step."""

    def __init__(self, collate: Any) -> None:
        self.collate = collate
        self.sizes: deque[Sizes] = deque()

    def __call__(self, features: Any) -> Any:
        batch = self.collate(features)
        self.sizes.append(sizes_of(batch))
        return batch

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["collate"], name)


def stop_when_enough(stretch: Stretch, sizes: deque[Sizes]) -> Any:
    """A callback of `Trainer` that ends the training with the stretch."""
    from transformers import TrainerCallback

    class Callback(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            stretch.begin_step()

        def on_step_end(self, _: Any, __: Any, control: Any, **___: Any) -> None:
            control.should_training_stop = stretch.end_step(sizes.popleft())

    return Callback()


def training_arguments(spec: Spec, **more: Any) -> dict[str, Any]:
    """Arguments of `Trainer`: its defaults, or with `fast` everything it has for speed."""
    arguments: dict[str, Any] = {
        "output_dir": spec.folder,
        "per_device_train_batch_size": spec.batch,
        "num_train_epochs": spec.epochs,
        "learning_rate": spec.learning_rate,
        "seed": spec.seed,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "use_cpu": spec.device == "cpu",
    }
    if spec.options.get("fast"):
        arguments |= {"bf16": True, "optim": "adamw_torch_fused"}
        if not spec.is_language:  # its blocks are of one length
            arguments["train_sampling_strategy"] = "group_by_length"
    if spec.options.get("compile"):
        arguments["torch_compile"] = True
    return arguments | more


def trainer(spec: Spec) -> dict[str, Any]:
    """`transformers.Trainer`.

    Options:
        padding: `max_length`, as in the tutorial; without it, each batch to its longest text.
        fast: with every flag it has for speed.
        attention: `eager`, `sdpa` or `flash_attention_2`.
        compile: with `torch.compile`.
        lora: an adapter of peft on every linear layer.
    """
    from transformers import Trainer, TrainingArguments

    model, tokenizer = load_for_trainer(spec)
    matrices = _flops.matrix_parameters(model)
    if spec.uses_adapter:
        model = _with_adapter(model)
    rows, collate = (_blocks if spec.is_language else _texts)(spec, tokenizer)
    batches, stretch = SizedBatches(collate), spec.stretch()
    Trainer(
        model=model,
        args=TrainingArguments(**training_arguments(spec)),
        train_dataset=rows,
        data_collator=batches,
        callbacks=[stop_when_enough(stretch, batches.sizes)],
    ).train()
    return stretch.result(matrices, _flops.ADAPTER if spec.uses_adapter else _flops.FULL)


def load_for_trainer(spec: Spec) -> tuple[Any, Any]:
    """The model with a new head, as the Auto class of its task makes it, and its tokenizer."""
    from transformers import (
        AutoModelForCausalLM,
        AutoModelForSequenceClassification,
        AutoTokenizer,
        set_seed,
    )

    set_seed(spec.seed)
    tokenizer = AutoTokenizer.from_pretrained(spec.model)
    how = {"attn_implementation": spec.options["attention"]} if "attention" in spec.options else {}
    if spec.is_language:
        return AutoModelForCausalLM.from_pretrained(spec.model, **how), tokenizer
    labels = len(set(read_rows(spec.train)[1]))
    model = AutoModelForSequenceClassification.from_pretrained(spec.model, num_labels=labels, **how)
    return model, tokenizer


def _with_adapter(model: Any) -> Any:
    from peft import LoraConfig, get_peft_model

    return get_peft_model(
        model,
        LoraConfig(
            r=16, lora_alpha=32, lora_dropout=0.05, target_modules="all-linear", task_type="CAUSAL_LM"
        ),
    )


def _texts(spec: Spec, tokenizer: Any) -> tuple[Any, Any]:
    """Rows of token ids and their collator, as the tutorial on text classification makes them."""
    from transformers import DataCollatorWithPadding

    return encoded_rows(spec.train, tokenizer, spec.options.get("padding", False)), DataCollatorWithPadding(
        tokenizer
    )


def encoded_rows(path: str, tokenizer: Any, padding: Any = False) -> Any:
    """A data set of token ids and numbers of labels."""
    from datasets import Dataset

    texts, labels = read_rows(path)
    numbers = {label: number for number, label in enumerate(sorted(set(labels)))}
    rows = Dataset.from_dict({"text": texts, "labels": [numbers[label] for label in labels]})
    return rows.map(
        lambda some: tokenizer(some["text"], truncation=True, padding=padding),
        batched=True,
        remove_columns="text",
    )


def _blocks(spec: Spec, tokenizer: Any) -> tuple[Any, Any]:
    """Texts joined and cut into blocks of one length, as the example `run_clm.py` makes them."""
    from datasets import Dataset
    from transformers import default_data_collator

    size, ids = spec.options["block"], []
    for encoded in tokenizer(read_rows(spec.train)[0], add_special_tokens=False)["input_ids"]:
        ids += [*encoded, tokenizer.eos_token_id]
    blocks = [ids[i : i + size] for i in range(0, len(ids) - size + 1, size)]
    return Dataset.from_dict({"input_ids": blocks, "labels": blocks}), default_data_collator


def sentence_transformers(spec: Spec) -> dict[str, Any]:
    """sentence-transformers on labelled texts: triplets within the batch; bf16 and fused AdamW, as ours."""
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
    from sentence_transformers import SentenceTransformerTrainingArguments as Arguments
    from sentence_transformers.losses import BatchHardSoftMarginTripletLoss

    model = SentenceTransformer(spec.model, device=spec.device)
    matrices = _flops.matrix_parameters(model[0].auto_model)
    texts, labels = read_rows(spec.train)
    numbers = {label: number for number, label in enumerate(sorted(set(labels)))}
    rows = Dataset.from_dict({"sentence": texts, "label": [numbers[label] for label in labels]})
    # A loss of triplets needs two rows of a label in a batch, so rows of one length cannot be put together.
    how = training_arguments(spec, bf16=True, optim="adamw_torch_fused", batch_sampler="group_by_label")
    stretch, sizes = spec.stretch(), deque[Sizes]()
    made = SentenceTransformerTrainer(
        model=model,
        args=Arguments(**how),
        train_dataset=rows,
        loss=BatchHardSoftMarginTripletLoss(model),
        callbacks=[stop_when_enough(stretch, sizes)],
    )
    batches = SizedBatches(made.data_collator)
    batches.sizes = sizes
    made.data_collator = batches
    made.train()
    return stretch.result(matrices)


def ours(spec: Spec) -> dict[str, Any]:
    """`tunesmith.train`, ended by its listener.

    The probe before the first step is left out, because it does not change what a step costs; the time to
    quality counts it. So are looks at the validation rows within the stretch, as for the others.

    Options:
        recipe: values by dotted key, over those of the specification.
        lora: `train.method=lora`.
    """
    import tunesmith
    from tunesmith.events import Event, Step

    tunesmith.tune_process()  # as the command line does
    stretch = spec.stretch()

    def listener(event: Event) -> None:
        if isinstance(event, Step) and stretch.end_step(_taken(sizes)):
            raise EnoughError

    with sized_steps(stretch) as sizes, contextlib.suppress(EnoughError):
        tunesmith.train(
            overrides=recipe_of(spec),
            listeners=[listener],
            task=spec.task,
            model=spec.model,
            data=spec.train,
            validation=spec.validation,
            output_dir=spec.folder,
        )
    return stretch.result(_own_matrices(spec), _flops.ADAPTER if spec.uses_adapter else _flops.FULL)


def recipe_of(spec: Spec) -> dict[str, Any]:
    """Overrides of the recipe for a stretch."""
    asked: dict[str, Any] = {"seed": spec.seed, "evaluate.baselines": False, "train.eval_steps": 1_000_000}
    if not spec.is_language:
        asked["train.head_start"] = False
    if spec.batch:
        asked |= {
            "train.per_device_train_batch_size": spec.batch,
            "train.num_train_epochs": spec.epochs,
            "train.learning_rate": spec.learning_rate,
        }
    if spec.uses_adapter:
        asked["train.method"] = "lora"
    return asked | spec.options.get("recipe", {})


@contextlib.contextmanager
def sized_steps(stretch: Stretch) -> Any:
    """While this lasts, the loop's batches are counted where it makes them; yields their sizes, in order."""
    from tunesmith.training import step_gradient

    sizes: deque[Sizes] = deque()
    collate = step_gradient.collate

    def counting(encoded: Any, **how: Any) -> Any:
        stretch.begin_step()
        batch = collate(encoded, **how)
        real = int(encoded.ragged["input_ids"].lengths.sum())
        sizes.append(Sizes(len(encoded), real, batch["input_ids"].numel()))
        return batch

    step_gradient.collate = counting
    try:
        yield sizes
    finally:
        step_gradient.collate = collate


def _taken(sizes: deque[Sizes]) -> Sizes:
    """The sizes of all forward passes since the last step."""
    if not sizes:
        raise RuntimeError("the loop of tunesmith made no batch that was counted: mend `sized_steps`")
    total = Sizes()
    while sizes:
        total += sizes.popleft()
    return total


def _own_matrices(spec: Spec) -> int:
    """Of the model as it is in its folder: a layer that we add only to pool is no work to be counted."""
    return _flops.matrix_parameters(load_for_trainer(spec)[0])


def facts(spec: Spec) -> dict[str, Any]:
    """What the arithmetic of a token depends on, and the rate of this machine; no training."""
    model, tokenizer = load_for_trainer(spec)
    lengths = [len(ids) for ids in tokenizer(read_rows(spec.train)[0], truncation=True)["input_ids"]]
    if spec.is_language:
        lengths = [spec.options["block"]]
    return {
        "matrix_parameters": _flops.matrix_parameters(model),
        **_flops.shape_of(model.config),
        "parameters": sum(p.numel() for p in model.parameters()),
        "mean_tokens": sum(lengths) / len(lengths),
        "context_tokens": _flops.mean_context(lengths),
        "rates": _flops.matrix_rates(spec.device),
    }


PROGRAMS: dict[str, Callable[[Spec], dict[str, Any]]] = {
    "trainer": trainer,
    "sentence-transformers": sentence_transformers,
    "ours": ours,
    "facts": facts,
}


def main() -> None:
    """Measures what the argument specifies and prints the result."""
    spec = Spec(**json.loads(sys.argv[1]))
    with contextlib.redirect_stdout(sys.stderr):  # Trainer prints its logs
        result = PROGRAMS[spec.program](spec)
    print(json.dumps(result | {"peak_bytes": peak_memory(spec.device)}))


def peak_memory(device: str) -> int:
    """Of the process, or on a GPU what its tensors took there."""
    if device == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated())
    return peak_memory_bytes()


if __name__ == "__main__":
    main()
