"""Predictions of a model for rows, in the form from which answers and scores are computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from tunesmith.encoded import Encoded
from tunesmith.inference.embedder import head_outputs, passing_features_through
from tunesmith.inference.forward import Advance, Outputs, forward
from tunesmith.inference.generation import generate
from tunesmith.tasks import EncodeOptions, EvalPredictions, LabelSchema, Task, Values

if TYPE_CHECKING:
    from torch import nn

    from tunesmith.types import JsonObject, Model, Tokenizer


def score(
    task: Task,
    model: Model,
    tokenizer: Tokenizer,
    columns: Values,
    encoded: Encoded,
    *,
    bf16: bool = False,
    prompts: Callable[[], Encoded] | None = None,
    outputs: Outputs | None = None,
    advance: Advance | None = None,
) -> EvalPredictions:
    """Predictions for rows with labels, ready to be scored.

    Args:
        task: task of the model.
        model: a model of transformers.
        tokenizer: tokenizer of the model.
        columns: values of the rows by column.
        encoded: sequences of the rows, with labels.
        bf16: whether to compute in bfloat16.
        prompts: gives the rows as prompts, if texts shall be generated for the metrics that need them.
        outputs: selected outputs of the model, if they are already known.
        advance: function that is called with the progress.
    """
    if outputs is None:
        outputs = forward(
            task, model, encoded, pad_token_id=tokenizer.pad_token_id, bf16=bf16, advance=advance
        )
    if prompts is None or task.generation is None or not task.generation.scores_texts:
        return EvalPredictions(columns, encoded, outputs, None, tokenizer)
    made = generate(model, tokenizer, prompts(), bf16=bf16, advance=advance)
    return EvalPredictions(columns, encoded, outputs, made.texts, tokenizer, made.ended)


def prompts_of(
    task: Task, columns: Values, tokenizer: Tokenizer, max_length: int, label_schema: LabelSchema
) -> Encoded:
    """Rows as prompts of a generation.

    Args:
        task: task of the model.
        columns: values of the rows by column.
        tokenizer: tokenizer of the model.
        max_length: most tokens of a prompt and its answer.
        label_schema: the task's label schema.
    """
    inputs = {name: columns[name] for name in task.inputs if name in columns}
    return task.encode(inputs, tokenizer, EncodeOptions(max_length, "predict"), label_schema)


def answer(
    task: Task,
    model: Model,
    tokenizer: Tokenizer,
    columns: Values,
    encoded: Encoded,
    *,
    bf16: bool = False,
    head: nn.Linear | None = None,
) -> EvalPredictions:
    """Predictions for rows without labels, ready to be decoded to answers.

    Args:
        task: task of the model.
        model: a model of transformers.
        tokenizer: tokenizer of the model.
        columns: values of the rows by column.
        encoded: sequences of the rows, encoded for predictions.
        bf16: whether to compute in bfloat16.
        head: linear head of the model, if its inputs shall be kept as `features` in the memo.
    """
    if task.generation:
        made = generate(model, tokenizer, encoded, bf16=bf16)
        return EvalPredictions(columns, encoded, None, made.texts, tokenizer, made.ended)
    how: JsonObject = {"pad_token_id": tokenizer.pad_token_id, "bf16": bf16}
    if head is None:
        return EvalPredictions(columns, encoded, forward(task, model, encoded, **how), None, tokenizer)
    with passing_features_through(head):
        features = forward(task, model, encoded, **how)
    evaluated = EvalPredictions(columns, encoded, head_outputs(head, features), None, tokenizer)
    evaluated.memo["features"] = features
    return evaluated


def with_samples(
    task: Task,
    model: Model,
    tokenizer: Tokenizer,
    evaluated: EvalPredictions,
    n: int,
    max_length: int,
    label_schema: LabelSchema,
    *,
    advance: Advance | None = None,
) -> EvalPredictions:
    """Scored rows with generated texts for the first rows, if the scores need no generated texts.

    Args:
        task: task of the model.
        model: a model of transformers.
        tokenizer: tokenizer of the model.
        evaluated: predictions for the rows.
        n: number of texts.
        max_length: most tokens of a prompt.
        label_schema: the task's label schema.
        advance: function that is called with the progress.
    """
    if task.generation is None or evaluated.texts is not None or not n:
        return evaluated
    columns = {name: evaluated.columns[name][:n] for name in task.inputs if name in evaluated.columns}
    prompts = prompts_of(task, task.generation.sample_prompts(columns), tokenizer, max_length, label_schema)
    made = generate(model, tokenizer, prompts, advance=advance)
    return replace(evaluated, texts=made.texts, ended=made.ended)
