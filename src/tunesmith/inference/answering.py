"""Rows and what a model makes of them, in the one form that answers and scores are computed from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tunesmith.encoded import Encoded
from tunesmith.inference.forward import Advance, Outputs, forward
from tunesmith.inference.generation import generate
from tunesmith.tasks import EncodeOptions, EvalPredictions, LabelSchema, Task, Values


def score(
    task: Task,
    model: Any,
    tokenizer: Any,
    columns: Values,
    encoded: Encoded,
    *,
    bf16: bool = False,
    with_texts: bool = True,
    outputs: Outputs | None = None,
    advance: Advance | None = None,
) -> EvalPredictions:
    """Rows with their labels, seen by the model, ready to be scored.

    Args:
        task: of the model.
        model: of transformers.
        tokenizer: of the model.
        columns: the rows.
        encoded: their sequences, with labels.
        bf16: compute in bfloat16.
        with_texts: generate texts too, where the metrics need them.
        outputs: what the task keeps of the model's output, where that is known already.
        advance: told of the progress.
    """
    if outputs is None:
        outputs = forward(
            task, model, encoded, pad_token_id=tokenizer.pad_token_id, bf16=bf16, advance=advance
        )
    texts = None
    if with_texts and task.generation is not None and task.generation.scores_texts:
        texts = generate(model, tokenizer, encoded, bf16=bf16, advance=advance)
    return EvalPredictions(columns, encoded, outputs, texts, tokenizer)


def answer(
    task: Task, model: Any, tokenizer: Any, columns: Values, encoded: Encoded, *, bf16: bool = False
) -> EvalPredictions:
    """Rows without labels, seen by the model, ready to be answered.

    Args:
        task: of the model.
        model: of transformers.
        tokenizer: of the model.
        columns: the rows.
        encoded: their sequences, encoded to predict.
        bf16: compute in bfloat16.
    """
    if task.generation:
        return EvalPredictions(
            columns, encoded, None, generate(model, tokenizer, encoded, bf16=bf16), tokenizer
        )
    outputs = forward(task, model, encoded, pad_token_id=tokenizer.pad_token_id, bf16=bf16)
    return EvalPredictions(columns, encoded, outputs, None, tokenizer)


def with_samples(
    task: Task,
    model: Any,
    tokenizer: Any,
    evaluated: EvalPredictions,
    n: int,
    max_length: int,
    label_schema: LabelSchema,
) -> EvalPredictions:
    """Scored rows with generated texts for the first of them, where the scores themselves need none.

    Args:
        task: of the model.
        model: of transformers.
        tokenizer: of the model.
        evaluated: the rows.
        n: how many texts.
        max_length: tokens of a prompt.
        label_schema: of the task.
    """
    if task.generation is None or evaluated.texts is not None or not n:
        return evaluated
    columns = {name: evaluated.columns[name][:n] for name in task.inputs if name in evaluated.columns}
    columns = dict(task.generation.sample_prompts(columns))
    prompts = task.encode(columns, tokenizer, EncodeOptions(max_length, "predict"), label_schema)
    texts = generate(model, tokenizer, prompts)
    return replace(evaluated, texts=texts)
