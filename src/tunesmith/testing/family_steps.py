"""The steps of the family contract, in their order; each returns a figure or a remark, or raises WrongError."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.testing._fixtures import train_leanly
from tunesmith.testing.family_cell import EQUAL_LENGTHS, NOT_PACKED, Cell
from tunesmith.testing.family_measures import (
    ALONE_TOLERANCE,
    FAST_TOLERANCE,
    PACKED_TOLERANCE,
    SAVED_TOLERANCE,
    answers_differ,
    difference_of,
    is_fast,
    must,
    stored,
    stretched,
    use_attention_for,
    without_dropout,
)
from tunesmith.testing.tiny import question_of
from tunesmith.testing.tiny_tasks import TINY_TASKS

if TYPE_CHECKING:
    from tunesmith.types import Model

NOISE = 50.0
"""Size of NEFTune's noise, large enough to change the outputs of every model."""


def _opens(cell: Cell) -> str:
    batch = cell.batch(cell.encode(range(4)))
    outputs, loss, _ = cell.pass_through(cell.fast.model, batch)
    must(bool(np.isfinite(float(loss))), "the loss of the untrained model is not a number")
    return f"{cell.fast.model.num_parameters():,} parameters, {cell.limit} tokens, {tuple(outputs.shape)}"


def _fast_is_stock(cell: Cell) -> str:
    worst = 0.0
    for rows in (range(8), range(16, 24)):
        batch = cell.batch(cell.encode(rows))
        use_attention_for(cell.fast.model, batch)
        ours, _, our_gradient = cell.pass_through(cell.fast.model, batch, learn=True)
        plain, _, gradient = cell.pass_through(cell.stock.model, batch, learn=True)
        quiet, _, _ = cell.pass_through(cell.fast.model, batch)
        for name, one, other in (("logits", ours, plain), ("gradients", our_gradient, gradient),
                                 ("logits without gradient", quiet, plain)):  # fmt: skip
            difference = difference_of(one, other)
            worst = max(worst, difference)
            longest = batch["input_ids"].shape[1]
            must(difference <= FAST_TOLERANCE, f"{name} differ by {difference:.1e} on {longest} tokens")
    return f"{'fast' if is_fast(cell.fast.model) else 'stock'}; {worst:.0e}"


def _trains(cell: Cell) -> str:
    run = train_leanly(cell.recipe)
    metrics = run.metrics
    must(metrics["train"]["steps"] == 3, f"{metrics['train']['steps']} steps instead of 3")
    cell.__dict__["run"] = run
    return ""


def _longest_text(cell: Cell) -> str:
    import torch

    batch = cell.batch(cell.encode(range(1)))
    ids = batch["input_ids"][0].tolist()
    inner = [ids[len(ids) // 2]] * (cell.limit - len(ids))
    longest = [*ids[: len(ids) // 2], *inner, *ids[len(ids) // 2 :]]
    batch = {name: stretched(name, tensor, longest) for name, tensor in batch.items()}
    use_attention_for(cell.fast.model, batch)
    with torch.no_grad():
        outputs = cell.task.forward(cell.fast.model, batch)
    must(bool(torch.isfinite(outputs).all()), "some outputs are not numbers")
    return f"{cell.limit} tokens"


def _packs(cell: Cell) -> str:
    from tunesmith.data.packing import pack

    if not cell.task.packing:
        return "not for this task"
    from tunesmith.inference.packed import keeps_packed_texts_apart

    model = cell.stock.model
    if not keeps_packed_texts_apart(cell.task, model, cell.fast.tokenizer.pad_token_id):
        return NOT_PACKED
    encoded = cell.encode(range(8))
    packed = pack(encoded, cell.limit)
    must(len(packed) < len(encoded), "nothing was packed")
    apart = sum(
        float(cell.pass_through(model, cell.batch(encoded.take(np.array([i]))))[1])
        for i in range(len(encoded))
    )
    together = float(cell.pass_through(model, cell.batch(packed))[1])
    difference = abs(together - apart) / abs(apart)
    must(difference <= PACKED_TOLERANCE, f"the packed loss differs by {difference:.1e}")
    return f"packed; {difference:.0e}"


def _is_causal(cell: Cell) -> str:
    if cell.auto_class != "AutoModelForCausalLM":
        return "not for this task"
    batch = cell.batch(cell.encode(range(1)))
    before, _, _ = cell.pass_through(cell.stock.model, batch)
    changed = batch["input_ids"].clone()
    changed[0, -1] = changed[0, 1]
    after, _, _ = cell.pass_through(cell.stock.model, {**batch, "input_ids": changed})
    difference = difference_of(before[:, :-1], after[:, :-1])
    must(difference <= FAST_TOLERANCE, f"a token changes the outputs before it by {difference:.1e}")
    return ""


def _noise_acts(cell: Cell) -> str:
    from tunesmith.training.objective import noisy_embeddings

    batch = cell.batch(cell.encode(range(4)))
    plain, _, _ = cell.pass_through(cell.fast.model, batch)
    with noisy_embeddings(cell.fast.model, batch, NOISE):
        noisy, _, _ = cell.pass_through(cell.fast.model, batch)
    must(difference_of(noisy, plain) > 1e-4, "NEFTune changes nothing")
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


def _frozen(cell: Cell, model: Model, *, wants_layer: bool) -> str:
    table = model.get_input_embeddings()
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    must(bool(frozen), "nothing is frozen")
    must(not any(p.requires_grad for p in table.parameters()), "the token table is still trained")
    first = [name for name in frozen if ".0." in name]
    if wants_layer:
        must(bool(first), f"no layer is frozen, only {', '.join(frozen[:3])}")
    batch = cell.batch(cell.encode(range(6)))
    cell.pass_through(model, batch, learn=True)
    learning = [
        name for name, p in model.named_parameters() if p.grad is not None and bool(p.grad.abs().sum())
    ]
    must(bool(learning), "nothing is trained")
    stuck = [name for name in frozen if dict(model.named_parameters())[name].grad is not None]
    must(not stuck, f"`{stuck[0] if stuck else ''}` is frozen and has a gradient")
    return f"{len(frozen)} frozen, {len(learning)} learn"


def _adapts(cell: Cell) -> str:
    import torch

    from tunesmith.models.adapters import LoraSettings, add_lora, whole_modules
    from tunesmith.models.loading import load_trained
    from tunesmith.models.pooling_layer import AS_IT_IS
    from tunesmith.models.resolve import resolve_model
    from tunesmith.models.saving import save_model

    loaded = cell.load(pooling=AS_IT_IS)
    if loaded.head_is_new and loaded.needs_trained_head:
        return "has no head for this task"
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
    must(any("lora_B" in name for name in learning), "no adapter weight has a gradient")
    with torch.no_grad():
        generator = torch.Generator().manual_seed(7)
        for name, parameter in loaded.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0.0, 0.3, generator=generator)
    after, _, _ = cell.pass_through(loaded.model, batch)
    must(difference_of(after, before) > 1e-4, "an adapter changes nothing")
    folder = cell.work / "adapter"
    save_model(loaded.model, loaded.tokenizer, folder, max_length=cell.limit, adapter=adapter)
    again = load_trained(resolve_model(str(folder)), cell.task, device="cpu").model
    merged, _, _ = cell.pass_through(again, batch)
    difference = difference_of(merged, after)
    must(difference <= ALONE_TOLERANCE, f"the saved adapter differs by {difference:.1e}")
    return f"{len(learning)} learn"


def _checkpoints_gradients(cell: Cell) -> str:
    from tunesmith.models.memory import use_checkpointing

    loaded = cell.load()
    batch = cell.batch(cell.encode(range(6)))
    model = loaded.model.train()
    without_dropout(model)
    with stored() as before:
        _, _, gradient = cell.pass_through(model, batch, learn=True)
    use_checkpointing(model)
    with stored() as after:
        _, _, again = cell.pass_through(model, batch, learn=True)
    difference = difference_of(again, gradient)
    must(difference <= FAST_TOLERANCE, f"gradients differ by {difference:.1e}")
    must(
        sum(after) < sum(before),
        f"{sum(after):,} bytes are stored, and {sum(before):,} without checkpointing",
    )
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
    difference = difference_of(other, one)
    must(difference <= SAVED_TOLERANCE, f"the saved model differs by {difference:.1e}")
    texts = ["the old cat is near", "a red dog"]
    must(tokenizer(texts)["input_ids"] == loaded.tokenizer(texts)["input_ids"], "the saved tokenizer differs")
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
    difference = difference_of(together, apart)
    must(difference <= ALONE_TOLERANCE, f"scores differ by {difference:.1e}")
    return EQUAL_LENGTHS if padding_matters(cell.fast.model) else f"{difference:.0e}"


def _predicts(cell: Cell) -> str:
    from tunesmith import load

    if "run" not in cell.__dict__:
        return "not trained"
    predictor = load(cell.__dict__["run"].path)
    tiny = TINY_TASKS.get(cell.task.name)
    questions = [question_of(cell.task, tiny, row) for row in cell.rows[:6]]
    together = predictor(questions)
    apart = [predictor(question) for question in questions]
    difference = answers_differ(together, apart)
    must(not difference, difference)
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
"""The steps by name, in the order in which they are tried."""
