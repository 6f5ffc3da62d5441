"""What the base model writes and knows, kept for the comparison with the trained model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tunesmith.inference.answering import with_samples
from tunesmith.inference.general_text import nats_and_bytes, read_paragraphs
from tunesmith.inference.harm import Asked
from tunesmith.pipeline.training_plan import TrainingPlan
from tunesmith.pipeline.work import Work
from tunesmith.recipe import EvaluateRecipe
from tunesmith.run import write_json
from tunesmith.tasks import EvalPredictions, Task
from tunesmith.training.reference import load_reference, save_reference

if TYPE_CHECKING:
    from pathlib import Path

    from tunesmith.types import Model

BaseTexts = tuple[Sequence[str], Sequence[bool]]
"""Texts, and whether each ended by itself."""


def refuse_files_of_evaluate(work: Work) -> None:
    """Raises UserError where a file with what a model that writes is asked cannot be used."""
    if work.recipe.evaluate.general_text is not None:
        read_paragraphs(work.recipe.evaluate.general_text)
    Asked.of(work.task, work.recipe.evaluate)


def with_texts(work: Work, plan: TrainingPlan, model: Model, evaluated: EvalPredictions) -> EvalPredictions:
    """Scored rows of the final split with generated texts, if the scores need none, for the first rows."""
    n = samples_of(work.task, plan.recipe.evaluate)
    how = (plan.encoded.max_length, plan.data.label_schema)
    advance = work.events.progress("written texts")
    return with_samples(work.task, model, plan.tokenizer, evaluated, n, *how, advance=advance)


def samples_of(task: Task, how: EvaluateRecipe) -> int:
    """The number of texts to generate where the metrics need none."""
    if task.generation is None:
        return 0
    return task.generation.samples if how.samples == "auto" else how.samples


def keep_base_texts(work: Work, plan: TrainingPlan, final: EvalPredictions) -> None:
    """Keeps in the run folder what the base model writes for the first rows of the final split, or for all.

    Args:
        work: what is to be done.
        plan: base model and sequences.
        final: the final split as the base model answers it.
    """
    if work.task.generation is None or _base_file(work).is_file():
        return
    written = with_texts(work, plan, plan.model, final)
    if written.texts is not None and written.ended is not None:
        write_json(_base_file(work), {"texts": list(written.texts), "ended": list(written.ended)})


def base_texts(work: Work, rows: NDArray[np.int64]) -> BaseTexts | None:
    """What the base model wrote for rows of the final split; None where it is not kept.

    Args:
        work: what is to be done.
        rows: numbers of the rows that count.
    """
    file = _base_file(work)
    if not file.is_file():
        return None
    kept = json.loads(file.read_text(encoding="utf-8"))
    known = [row for row in rows.tolist() if row < len(kept["texts"])]
    return [kept["texts"][row] for row in known], [kept["ended"][row] for row in known]


def general_before(work: Work, plan: TrainingPlan) -> None:
    """Measures the base model on general text, if such a model reads plain texts, and keeps what it finds."""
    if (
        _reads_plain(work)
        and work.processes.is_first
        and load_reference(_general_file(work), work.run.run_id) is None
    ):
        save_reference(_general_file(work), _general(work, plan, plan.model), work.run.run_id)


def general_text(
    work: Work, plan: TrainingPlan, model: Model
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Nats and bytes of each paragraph of the general text, before the training and by a model after it."""
    before = load_reference(_general_file(work), work.run.run_id) if _reads_plain(work) else None
    if before is None:
        return None
    after = _general(work, plan, model)
    if not np.array_equal(before[:, 1], after[:, 1]):
        work.events.warn("the text of evaluate.general_text has changed: what was forgotten is not measured")
        return None
    return np.asarray(before, np.float64), after


def _reads_plain(work: Work) -> bool:
    return work.task.generation is not None and work.task.generation.reader is not None


def _general(work: Work, plan: TrainingPlan, model: Model) -> NDArray[np.float64]:
    generation = work.task.generation
    assert generation is not None, "asked before"
    assert generation.reader is not None, "asked before"
    paragraphs = read_paragraphs(plan.recipe.evaluate.general_text)
    return nats_and_bytes(generation.reader(), model, plan.tokenizer, paragraphs, plan.encoded.max_length)


def _base_file(work: Work) -> Path:
    return work.run.checkpoints / "base_texts.json"


def _general_file(work: Work) -> Path:
    return work.run.checkpoints / "general-text.safetensors"
