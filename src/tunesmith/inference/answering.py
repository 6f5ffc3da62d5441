"""Rows and what a model makes of them, in the one form that answers and scores are computed from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tunesmith.encoded import Encoded
from tunesmith.inference.forward import Advance, Kept, forward
from tunesmith.inference.generation import generate
from tunesmith.tasks import EncodeOptions, Seen, Targets, Task, Values


def score(
    task: Task,
    model: Any,
    tokenizer: Any,
    columns: Values,
    encoded: Encoded,
    *,
    bf16: bool = False,
    with_texts: bool = True,
    kept: Kept | None = None,
    advance: Advance | None = None,
) -> Seen:
    """Rows with their labels, seen by the model, ready to be scored.

    Args:
        task: of the model.
        model: of transformers.
        tokenizer: of the model.
        columns: the rows.
        encoded: their sequences, with labels.
        bf16: compute in bfloat16.
        with_texts: generate texts too, where the metrics need them.
        kept: what the task keeps of the model's output, where that is known already.
        advance: told of the progress.
    """
    if kept is None:
        kept = forward(task, model, encoded, pad_token_id=tokenizer.pad_token_id, bf16=bf16, advance=advance)
    texts = None
    if with_texts and task.scores_texts:
        texts = generate(model, tokenizer, encoded, bf16=bf16, advance=advance)
    return Seen(columns, encoded, kept, texts, tokenizer)


def answer(
    task: Task, model: Any, tokenizer: Any, columns: Values, encoded: Encoded, *, bf16: bool = False
) -> Seen:
    """Rows without labels, seen by the model, ready to be answered.

    Args:
        task: of the model.
        model: of transformers.
        tokenizer: of the model.
        columns: the rows.
        encoded: their sequences, encoded to predict.
        bf16: compute in bfloat16.
    """
    if task.generates:
        return Seen(columns, encoded, None, generate(model, tokenizer, encoded, bf16=bf16), tokenizer)
    kept = forward(task, model, encoded, pad_token_id=tokenizer.pad_token_id, bf16=bf16)
    return Seen(columns, encoded, kept, None, tokenizer)


def with_samples(
    task: Task, model: Any, tokenizer: Any, seen: Seen, n: int, max_length: int, targets: Targets
) -> Seen:
    """Scored rows with generated texts for the first of them, where the scores themselves need none.

    Args:
        task: of the model.
        model: of transformers.
        tokenizer: of the model.
        seen: the rows.
        n: how many texts.
        max_length: tokens of a prompt.
        targets: of the task.
    """
    if not task.generates or seen.texts is not None or not n:
        return seen
    columns = {name: seen.columns[name][:n] for name in task.inputs if name in seen.columns}
    columns = dict(task.sample_prompts(columns))
    prompts = task.encode(columns, tokenizer, EncodeOptions(max_length, "predict"), targets)
    texts = generate(model, tokenizer, prompts)
    return replace(seen, texts=texts)
