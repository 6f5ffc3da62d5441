"""What must hold for a family of models and a task: each step alone, so that one failure hides no other.

`check(family, auto_class, folder)` returns an outcome a step: it holds, the product refuses it with its reason, it
is wrong, or it ends in an error that nobody raised on purpose.
"""

from __future__ import annotations

import copy
import json
import re
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tunesmith.errors import UserError
from tunesmith.tasks import IGNORED
from tunesmith.testing.families import AUTO_CLASSES, read_config, write_family
from tunesmith.testing.tiny import tiny_task_rows, write_rows

EQUAL_LENGTHS, NOT_PACKED = "equal lengths", "not packed"
OK, REFUSED, WRONG, ERROR = "ok", "refused", "wrong", "error"
FAST_TOLERANCE, PACKED_TOLERANCE, SAVED_TOLERANCE, ALONE_TOLERANCE = 1e-5, 1e-5, 1e-6, 1e-4
_LONGEST = 300
_NOISE = 50.0
_MASKED = 1e3
"""What a task puts in place of scores that do not count is larger."""


class WrongError(AssertionError):
    """A step gave another result than it must."""


@dataclass(frozen=True)
class Outcome:
    """How a step ended.

    Args:
        kind: `ok`, `refused`, `wrong` or `error`.
        message: a figure, a reason, or where the error was raised.
    """

    kind: str
    message: str = ""


class Cell:
    """A family and a task.

    Args:
        family: as config.json names it.
        auto_class: of transformers, that loads it for the task.
        folder: of the tiny model.
        work: to write to.
    """

    def __init__(self, family: str, auto_class: str, folder: Path, work: Path) -> None:
        from tunesmith.models.resolve import resolve_model
        from tunesmith.tasks import TASKS

        self.family, self.auto_class, self.folder, self.work = family, auto_class, folder, work
        self.task = TASKS.get(AUTO_CLASSES[auto_class][0])
        rows = tiny_task_rows(self.task.name, 24, seed=0)
        self.rows = [*rows[:23], _longer(rows[23])]
        self.file = write_rows(work / "train.jsonl", self.rows)
        self.validation = write_rows(work / "validation.jsonl", tiny_task_rows(self.task.name, 6, seed=1))
        self.files = resolve_model(str(folder))

    @cached_property
    def data(self) -> Any:
        """Rows and targets, as a training prepares them."""
        from tunesmith.data.preparing import prepare

        return prepare(self.task, _recipe(self))

    @property
    def examples(self) -> Any:
        """The training rows."""
        return self.data.splits["train"]

    @property
    def targets(self) -> Any:
        """What the head predicts."""
        return self.data.targets

    def load(self, *, fast: bool = True, pooling: str = "auto") -> Any:
        """The model as a training opens it, without dropout."""
        from tunesmith.models.arithmetic import use_fast_arithmetic
        from tunesmith.models.loading import load_for_training

        loaded = load_for_training(
            self.files, self.task, self.targets, pooling=pooling, seed=0, train=self.examples.columns
        )
        if fast:
            use_fast_arithmetic(loaded.model)
        loaded.model.eval()
        return loaded

    @cached_property
    def limit(self) -> int:
        """The tokens that are promised, at most 300."""
        from tunesmith.models.positions import position_limit

        return min(position_limit(self.fast.model, self.fast.tokenizer), _LONGEST)

    @cached_property
    def fast(self) -> Any:
        """As the product runs it."""
        return self.load()

    @cached_property
    def stock(self) -> Any:
        """As transformers runs it."""
        return self.load(fast=False)

    def encode(self, rows: range, purpose: str = "train", limit: int | None = None) -> Any:
        """Sequences of some training rows, masks drawn."""
        from tunesmith.tasks import PLAIN_LOSS, EncodeOptions

        most = limit or self.limit
        columns = {name: [values[row] for row in rows] for name, values in self.examples.columns.items()}
        if purpose == "predict":
            columns = {name: values for name, values in columns.items() if name in self.task.inputs}
        options = EncodeOptions(most, purpose, most // 4)  # type: ignore[arg-type]
        encoded = self.task.encode(columns, self.fast.tokenizer, options, self.targets)
        if purpose == "predict":
            return encoded
        return self.task.vary(encoded, np.random.default_rng(3), self.fast.tokenizer, PLAIN_LOSS)

    def batch(self, encoded: Any) -> dict[str, Any]:
        """Padded tensors."""
        from tunesmith.data.batches import collate

        return collate(encoded, pad_token_id=self.fast.tokenizer.pad_token_id)

    def pass_through(self, model: Any, batch: dict[str, Any], *, learn: bool = False) -> tuple[Any, Any, Any]:
        """Outputs, summed loss, and all gradients in one row."""
        import torch

        from tunesmith.tasks import PLAIN_LOSS

        model.zero_grad(set_to_none=True)
        with torch.set_grad_enabled(learn):
            torch.manual_seed(5)
            outputs = self.task.forward(model, batch)
            loss = self.task.loss(outputs, batch, PLAIN_LOSS)
        if learn:
            loss.backward()  # type: ignore[no-untyped-call]
        outputs = _real(outputs.detach(), batch)
        outputs = outputs.masked_fill(outputs.abs() > _MASKED, 0.0)
        return outputs, loss.detach(), _gradient(model) if learn else None


def check(family: str, auto_class: str, folder: Path, work: Path) -> dict[str, Outcome]:
    """An outcome a step; what follows a refusal to open is left out."""
    found: dict[str, Outcome] = {}
    try:
        cell = Cell(family, auto_class, folder, work)
    except Exception as error:
        return {"open": _outcome_of(error)}
    for name, step in STEPS.items():
        found[name] = _try(step, cell)
        if name == "open" and found[name].kind != OK:
            break
    return found


@dataclass(frozen=True)
class Entry:
    """What the page of families says of a family and a task.

    Args:
        state: `fast`, `stock`, or `not supported`.
        why: it is not supported.
        notes: what is otherwise than usual.
        wrong: steps that gave a wrong result or an error.
    """

    state: str
    why: str = ""
    notes: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()


_REFUSED_NOTES = {"lora": "no LoRA", "checkpointing": "no gradient checkpointing", "neftune": "no NEFTune"}


def describe(outcomes: dict[str, Outcome]) -> Entry:
    """The page's entry for what `check` has found."""
    wrong = tuple(name for name, outcome in outcomes.items() if outcome.kind in (WRONG, ERROR))
    for step in ("make", "open"):
        if step in outcomes and outcomes[step].kind != OK:
            return Entry("not supported", _without_paths(outcomes[step].message), (), wrong)
    notes = [note for step, note in _REFUSED_NOTES.items() if outcomes[step].kind == REFUSED]
    notes += [
        note for note in (NOT_PACKED, EQUAL_LENGTHS) if any(o.message == note for o in outcomes.values())
    ]
    state = "fast" if outcomes["fast"].message.startswith("fast") else "stock"
    return Entry(state, "", tuple(notes), wrong)


def _without_paths(message: str) -> str:
    without = re.sub(r"^\S*/\S*: ", "", message)
    return re.sub(r"`[^`]*/([^`/]*)`", "the model", without)


def make(family: str, auto_class: str, folder: Path) -> Outcome:
    """Writes the tiny model."""
    return _try(lambda _: str(write_family(folder, family, auto_class=auto_class) and ""), None)


def _try(step: Callable[[Any], Any], cell: Any) -> Outcome:
    try:
        return Outcome(OK, str(step(cell) or ""))
    except Exception as error:
        return _outcome_of(error)


def _outcome_of(error: Exception) -> Outcome:
    first = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
    if isinstance(error, WrongError):
        return Outcome(WRONG, first)
    if isinstance(error, UserError):
        return Outcome(REFUSED, first)
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if "/tunesmith/" in f.filename and "/testing/" not in f.filename]
    places = [f"{Path(f.filename).name}:{f.lineno}" for f in (*ours[-1:], frames[-1])]
    return Outcome(ERROR, f"{type(error).__name__}: {first} ({' > '.join(dict.fromkeys(places))})")


# ---- the steps ----


def _opens(cell: Cell) -> str:
    batch = cell.batch(cell.encode(range(4)))
    outputs, loss, _ = cell.pass_through(cell.fast.model, batch)
    _must(bool(np.isfinite(float(loss))), "the loss of the untrained model is no number")
    return f"{cell.fast.model.num_parameters():,} parameters, {cell.limit} tokens, {tuple(outputs.shape)}"


def _fast_is_stock(cell: Cell) -> str:
    worst = 0.0
    for rows in (range(8), range(16, 24)):
        batch = cell.batch(cell.encode(rows))
        _attention(cell.fast.model, batch)
        ours, _, our_gradient = cell.pass_through(cell.fast.model, batch, learn=True)
        plain, _, gradient = cell.pass_through(cell.stock.model, batch, learn=True)
        quiet, _, _ = cell.pass_through(cell.fast.model, batch)
        for name, one, other in (("logits", ours, plain), ("gradients", our_gradient, gradient),
                                 ("logits without gradient", quiet, plain)):  # fmt: skip
            difference = _difference(one, other)
            worst = max(worst, difference)
            longest = batch["input_ids"].shape[1]
            _must(difference <= FAST_TOLERANCE, f"{name} differ by {difference:.1e} on {longest} tokens")
    return f"{'fast' if _is_fast(cell.fast.model) else 'stock'}; {worst:.0e}"


def _trains(cell: Cell) -> str:
    run = _run(cell)
    metrics = run.metrics()
    _must(metrics["train"]["steps"] == 3, f"{metrics['train']['steps']} steps instead of 3")
    cell.__dict__["run"] = run
    return ""


def _longest_text(cell: Cell) -> str:
    import torch

    batch = cell.batch(cell.encode(range(1)))
    ids = batch["input_ids"][0].tolist()
    inner = [ids[len(ids) // 2]] * (cell.limit - len(ids))
    stretched = [*ids[: len(ids) // 2], *inner, *ids[len(ids) // 2 :]]
    batch = {name: _stretched(name, tensor, stretched) for name, tensor in batch.items()}
    _attention(cell.fast.model, batch)
    with torch.no_grad():
        outputs = cell.task.forward(cell.fast.model, batch)
    _must(bool(torch.isfinite(outputs).all()), "the outputs are no numbers")
    return f"{cell.limit} tokens"


def _packs(cell: Cell) -> str:
    from tunesmith.data.packing import pack

    if not cell.task.packs:
        return "not for this task"
    from tunesmith.inference.packed import keeps_packed_texts_apart

    model = cell.stock.model
    if not keeps_packed_texts_apart(cell.task, model, cell.fast.tokenizer.pad_token_id):
        return NOT_PACKED
    encoded = cell.encode(range(8))
    packed = pack(encoded, cell.limit)
    _must(len(packed) < len(encoded), "nothing was packed")
    apart = sum(
        float(cell.pass_through(model, cell.batch(encoded.take(np.array([i]))))[1])
        for i in range(len(encoded))
    )
    together = float(cell.pass_through(model, cell.batch(packed))[1])
    difference = abs(together - apart) / abs(apart)
    _must(difference <= PACKED_TOLERANCE, f"the packed loss differs by {difference:.1e}")
    return f"packed; {difference:.0e}"


def _is_causal(cell: Cell) -> str:
    if cell.auto_class != "AutoModelForCausalLM":
        return "not for this task"
    batch = cell.batch(cell.encode(range(1)))
    before, _, _ = cell.pass_through(cell.stock.model, batch)
    changed = batch["input_ids"].clone()
    changed[0, -1] = changed[0, 1]
    after, _, _ = cell.pass_through(cell.stock.model, {**batch, "input_ids": changed})
    difference = _difference(before[:, :-1], after[:, :-1])
    _must(difference <= FAST_TOLERANCE, f"a token changes what is predicted before it, by {difference:.1e}")
    return ""


def _noise_acts(cell: Cell) -> str:
    from tunesmith.training.objective import noisy_embeddings

    batch = cell.batch(cell.encode(range(4)))
    plain, _, _ = cell.pass_through(cell.fast.model, batch)
    with noisy_embeddings(cell.fast.model, batch, _NOISE):
        noisy, _, _ = cell.pass_through(cell.fast.model, batch)
    _must(_difference(noisy, plain) > 1e-4, "NEFTune changes nothing")
    return ""


def _layers_freeze(cell: Cell) -> str:
    from tunesmith.models.freezing import freeze_bottom

    model = cell.load().model
    freeze_bottom(model, 1)
    return _frozen(cell, model, wants_layer=True)


def _embeddings_freeze(cell: Cell) -> str:
    from tunesmith.models.freezing import freeze_embeddings

    model = cell.load().model
    freeze_embeddings(model)
    return _frozen(cell, model, wants_layer=False)


def _frozen(cell: Cell, model: Any, *, wants_layer: bool) -> str:
    table = model.get_input_embeddings()
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    _must(bool(frozen), "nothing is frozen")
    _must(not any(p.requires_grad for p in table.parameters()), "the token table still learns")
    first = [name for name in frozen if ".0." in name]
    if wants_layer:
        _must(bool(first), f"no layer is frozen, only {', '.join(frozen[:3])}")
    batch = cell.batch(cell.encode(range(6)))
    cell.pass_through(model, batch, learn=True)
    learning = [
        name for name, p in model.named_parameters() if p.grad is not None and bool(p.grad.abs().sum())
    ]
    _must(bool(learning), "nothing learns any more")
    stuck = [name for name in frozen if dict(model.named_parameters())[name].grad is not None]
    _must(not stuck, f"`{stuck[0] if stuck else ''}` is frozen and has a gradient")
    return f"{len(frozen)} frozen, {len(learning)} learn"


def _adapts(cell: Cell) -> str:
    import torch

    from tunesmith.models.adapters import LoraSettings, add_lora, whole_modules
    from tunesmith.models.loading import AS_IT_IS, load_trained
    from tunesmith.models.resolve import resolve_model
    from tunesmith.models.saving import save_model

    loaded = cell.load(pooling=AS_IT_IS)
    if loaded.head_is_new and loaded.needs_trained_head:
        return "has no head for it"
    settings = LoraSettings(4, 8.0, 0.0, "auto", False, False)
    whole = whole_modules(loaded.model, loaded.new_weights, has_head=not loaded.needs_trained_head)
    adapter = add_lora(
        loaded.model, cell.task.auto_class, settings, base=str(cell.folder), seed=0, whole=whole
    )
    loaded.model.eval()
    batch = cell.batch(cell.encode(range(6)))
    before, _, _ = cell.pass_through(loaded.model, batch, learn=True)
    learning = [
        n for n, p in loaded.model.named_parameters() if p.grad is not None and bool(p.grad.abs().sum())
    ]
    _must(any("lora_B" in name for name in learning), "no adapter weight has a gradient")
    with torch.no_grad():
        generator = torch.Generator().manual_seed(7)
        for name, parameter in loaded.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0.0, 0.3, generator=generator)
    after, _, _ = cell.pass_through(loaded.model, batch)
    _must(_difference(after, before) > 1e-4, "an adapter changes nothing")
    folder = cell.work / "adapter"
    save_model(loaded.model, loaded.tokenizer, folder, max_length=cell.limit, adapter=adapter)
    again = load_trained(resolve_model(str(folder)), cell.task, device="cpu").model
    merged, _, _ = cell.pass_through(again, batch)
    difference = _difference(merged, after)
    _must(difference <= ALONE_TOLERANCE, f"the saved adapter differs by {difference:.1e}")
    return f"{len(learning)} learn"


def _checkpoints_gradients(cell: Cell) -> str:
    from tunesmith.models.memory import use_checkpointing

    loaded = cell.load()
    batch = cell.batch(cell.encode(range(6)))
    model = loaded.model.train()
    _without_dropout(model)
    with _stored() as before:
        _, _, gradient = cell.pass_through(model, batch, learn=True)
    use_checkpointing(model)
    with _stored() as after:
        _, _, again = cell.pass_through(model, batch, learn=True)
    difference = _difference(again, gradient)
    _must(difference <= FAST_TOLERANCE, f"gradients differ by {difference:.1e}")
    _must(sum(after) < sum(before), f"{sum(after):,} bytes are stored, {sum(before):,} without")
    return f"{sum(after) / max(sum(before), 1):.0%} of the memory"


def _saves(cell: Cell) -> str:
    import torch
    import transformers

    from tunesmith.models.saving import save_model

    loaded = cell.load(fast=False)
    with torch.no_grad():
        generator = torch.Generator().manual_seed(9)
        for parameter in loaded.model.parameters():
            if parameter.requires_grad and parameter.is_floating_point():
                parameter.mul_(1 + 0.05 * torch.randn((), generator=generator))
    folder = cell.work / "saved"
    save_model(loaded.model, loaded.tokenizer, folder, max_length=cell.limit)
    plain = getattr(transformers, cell.auto_class).from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    batch = cell.batch(cell.encode(range(16, 24)))
    one, _, _ = cell.pass_through(loaded.model, batch)
    other, _, _ = cell.pass_through(plain, batch)
    difference = _difference(other, one)
    _must(difference <= SAVED_TOLERANCE, f"the saved model differs by {difference:.1e}")
    texts = ["the old cat is near", "a red dog"]
    _must(
        tokenizer(texts)["input_ids"] == loaded.tokenizer(texts)["input_ids"], "the saved tokenizer differs"
    )
    return f"{difference:.0e}"


def _alone_as_in_a_batch(cell: Cell) -> str:
    from tunesmith.inference.forward import forward
    from tunesmith.models.padding import padding_matters

    encoded = cell.encode(range(8))
    pad = cell.fast.tokenizer.pad_token_id
    together, apart = (
        np.asarray(getattr(kept, "values", kept))
        for kept in (
            forward(cell.task, cell.fast.model, encoded, pad_token_id=pad, tokens_per_batch=tokens)
            for tokens in (100_000, 1)
        )
    )
    difference = _difference(together, apart)
    _must(difference <= ALONE_TOLERANCE, f"scores differ by {difference:.1e}")
    return EQUAL_LENGTHS if padding_matters(cell.fast.model) else f"{difference:.0e}"


def _predicts(cell: Cell) -> str:
    from tunesmith import load

    if "run" not in cell.__dict__:
        return "not trained"
    predictor = load(cell.__dict__["run"].path)
    mask = predictor.tokenizer.mask_token
    questions = [_question(cell.task, row, mask) for row in cell.rows[:6]]
    together = predictor(questions)
    apart = [predictor(question) for question in questions]
    difference = _answers_differ(together, apart)
    _must(not difference, difference)
    return ""


STEPS: dict[str, Callable[[Cell], str]] = {
    "open": _opens,
    "fast": _fast_is_stock,
    "train": _trains,
    "longest": _longest_text,
    "causal": _is_causal,
    "packed": _packs,
    "neftune": _noise_acts,
    "freeze_layers": _layers_freeze,
    "freeze_embeddings": _embeddings_freeze,
    "lora": _adapts,
    "checkpointing": _checkpoints_gradients,
    "saved": _saves,
    "alone": _alone_as_in_a_batch,
    "predict": _predicts,
}
"""What is tried, in this order."""


# ---- what they share ----


def _must(holds: bool, message: str) -> None:
    if not holds:
        raise WrongError(message)


def _difference(one: Any, other: Any) -> float:
    """The largest difference, by the largest value."""
    one, other = (np.asarray(getattr(x, "detach", lambda x=x: x)(), dtype=np.float64) for x in (one, other))
    if one.shape != other.shape:
        return float("inf")
    if not (np.isfinite(one).all() and np.isfinite(other).all()):
        return float("nan")
    return float(np.abs(one - other).max() / max(np.abs(other).max(), 1e-30))


def _real(outputs: Any, batch: dict[str, Any]) -> Any:
    """The outputs with zeros where a sequence is padded."""
    mask = batch.get("attention_mask")
    if "decoder_labels" in batch:
        mask = batch["decoder_labels"] != IGNORED
    if mask is None or outputs.dim() < 2 or outputs.shape[:2] != mask.shape:
        return outputs
    return outputs * mask.to(outputs.dtype).reshape(*mask.shape, *[1] * (outputs.dim() - 2))


def _gradient(model: Any) -> Any:
    import torch

    learning = [p for p in model.parameters() if p.requires_grad]
    return torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in learning])


def _is_fast(model: Any) -> bool:
    """Whether the layers themselves are computed in another way than the stock one."""
    return any(
        "forward" in m.__dict__ and type(m).__name__.endswith(("Encoder", "Transformer"))
        for m in model.modules()
    )


def _attention(model: Any, batch: dict[str, Any]) -> None:
    """The attention that the product chooses for texts of this length."""
    from tunesmith.models.attention import choose_attention
    from tunesmith.stages.encoding import SHORT_TEXT_TOKENS

    choose_attention(model, "eager" if batch["input_ids"].shape[1] <= SHORT_TEXT_TOKENS else "sdpa")


def _without_dropout(model: Any) -> None:
    for module in model.modules():
        if type(module).__name__.endswith("Dropout") or hasattr(module, "drop_prob"):
            module.eval()
        if isinstance(getattr(module, "p", None), float):
            module.p = 0.0
        for name in ("dropout", "attention_dropout", "activation_dropout", "hidden_dropout", "dropout_prob",
                     "dropout_rate", "attn_dropout", "layerdrop", "attention_probs_dropout_prob"):  # fmt: skip
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)


class _stored:  # noqa: N801
    """Bytes that are stored for a backward pass meanwhile."""

    def __enter__(self) -> list[int]:
        import torch

        sizes: list[int] = []
        pointers: set[int] = set()

        def keep(tensor: Any) -> Any:
            if tensor.data_ptr() not in pointers:
                pointers.add(tensor.data_ptr())
                sizes.append(tensor.numel() * tensor.element_size())
            return tensor

        self.hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
        self.hooks.__enter__()
        return sizes

    def __exit__(self, *error: Any) -> None:
        self.hooks.__exit__(*error)


def _stretched(name: str, tensor: Any, ids: list[int]) -> Any:
    import torch

    if name == "input_ids":
        return torch.tensor([ids])
    if name == "attention_mask":
        return torch.ones(1, len(ids), dtype=torch.int64)
    if tensor.dim() == 2 and not name.startswith("decoder") and tensor.shape[1] > 1:
        filled = (
            torch.zeros(1, len(ids), dtype=tensor.dtype)
            if name != "labels"
            else torch.full((1, len(ids)), -100)
        )
        filled[:, : min(tensor.shape[1], len(ids))] = tensor[:1, : len(ids)]
        return filled
    return tensor[:1]


def _longer(row: dict[str, Any]) -> dict[str, Any]:
    """A row whose text has some 140 words more, at the end."""
    more = " ".join(["the old cat is near a small dog and"] * 16)
    changed = copy.deepcopy(row)
    for name in ("text", "context", "source"):
        if name in changed:
            changed[name] = f"{changed[name]} {more}"
    if "tokens" in changed:
        words = more.split()
        changed["tokens"] += words
        changed["tags"] += ["O"] * len(words)
    return changed


def _question(task: Any, row: dict[str, Any], mask: str | None) -> Any:
    names = {column.name for column in task.columns if not column.target}
    question = {name: value for name, value in row.items() if name in names}
    if task.name == "fill-mask":
        question["text"] = question["text"].replace(question["text"].split()[1], mask or "", 1)
    return question


def _run(cell: Cell) -> Any:
    from tunesmith import pipeline

    return pipeline.train(_recipe(cell))


def _recipe(cell: Cell) -> Any:
    from tunesmith.recipe import Recipe

    tree: dict[str, Any] = {
        "task": cell.task.name,
        "model": str(cell.folder),
        "output_dir": str(cell.work / "run"),
        "data": {"train": [str(cell.file)], "validation": [str(cell.validation)]},
        "train": {"max_steps": 3, "learning_rate": 1e-3, "per_device_train_batch_size": 8, "bf16": False},
        "evaluate": {"bootstrap_samples": 100, "samples": 1, "baselines": False},
    }
    if cell.task.generates:
        tree["generate"] = {"max_new_tokens": 4}
    return Recipe.model_validate(tree)


def _answers_differ(together: Any, apart: Any) -> str:
    for one, other in zip(together, apart, strict=True):
        difference = _value_differs(one, other)
        if difference:
            return f"alone: {difference}"
    return ""


def _value_differs(one: Any, other: Any) -> str:
    one, other = (x.tolist() if isinstance(x, (np.ndarray, np.generic)) else x for x in (one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        if one.keys() != other.keys():
            return f"{sorted(one)} and {sorted(other)}"
        return next((f"{k}: {d}" for k in one if (d := _value_differs(one[k], other[k]))), "")
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        if len(one) != len(other):
            return f"{len(one)} and {len(other)} answers"
        return next((d for a, b in zip(one, other, strict=True) if (d := _value_differs(a, b))), "")
    if isinstance(one, float) and isinstance(other, float):
        return "" if abs(one - other) <= ALONE_TOLERANCE * max(1.0, abs(one)) else f"{one} and {other}"
    return (
        ""
        if one == other
        else f"{json.dumps(one, default=str)[:60]} and {json.dumps(other, default=str)[:60]}"
    )


def families_in(folder: Path) -> Iterator[str]:
    """The families of the models in a folder."""
    for path in sorted(folder.iterdir()):
        if (path / "config.json").is_file():
            yield str(read_config(path)["model_type"])
