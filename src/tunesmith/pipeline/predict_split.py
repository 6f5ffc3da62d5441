"""A split as a model answers it; nothing is computed twice that an earlier phase knows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tunesmith.acceleration.frozen_layers import body_tensors, fingerprint
from tunesmith.encoded import Encoded
from tunesmith.inference.answering import prompts_of, score
from tunesmith.inference.embedder import head_outputs
from tunesmith.inference.forward import Outputs, forward
from tunesmith.models import heads
from tunesmith.pipeline.training_plan import TrainingPlan
from tunesmith.pipeline.work import Work
from tunesmith.tasks import EvalPredictions
from tunesmith.training.probe import Features

if TYPE_CHECKING:
    from tunesmith.types import Model


def predict_split(
    work: Work,
    plan: TrainingPlan,
    split: str,
    *,
    model: Model | None = None,
    features: Mapping[str, Features] | None = None,
    with_texts: bool = True,
    bf16: bool = False,
) -> EvalPredictions:
    """The rows of a split and what a model makes of them.

    Args:
        work: what is to be done.
        plan: model and sequences.
        split: `train`, `validation` or `test`.
        model: another model than the one in training.
        features: what the head sees, by split, where nothing but the head learns.
        with_texts: generate texts too, where the metrics need them.
        bf16: compute in bfloat16.
    """
    model = plan.model if model is None else model
    known = (features or {}).get(split)
    if known is not None and _has_same_body(plan.model, model):
        outputs: Outputs = head_outputs(heads.find_head(model, model.config.num_labels), known)
    else:
        outputs = _compute(work, plan, split, model, bf16=bf16)
    return score(
        work.task,
        model,
        plan.tokenizer,
        plan.data.splits[split].columns,
        plan.splits[split],
        prompts=plan_prompts(work, plan, split) if with_texts else None,
        outputs=outputs,
        advance=work.events.progress(f"{split} texts"),
    )


def plan_prompts(work: Work, plan: TrainingPlan, split: str) -> Callable[[], Encoded]:
    """Gives the rows of a split as prompts of a generation."""
    return lambda: prompts_of(
        work.task,
        plan.data.splits[split].columns,
        plan.tokenizer,
        plan.encoded.max_length,
        plan.data.label_schema,
    )


@contextmanager
def reading(work: Work, plan: TrainingPlan, split: str, model: Model | None = None) -> Iterator[Encoded]:
    """A split's sequences as the model is to be given them while this lasts: see `FrozenCache`."""
    if plan.frozen_cache is None:
        yield plan.splits[split]
        return
    model = plan.model if model is None else model
    advance = work.events.progress(f"{split} texts")
    with plan.frozen_cache.reading(split, plan.splits[split], model, advance) as encoded:
        yield encoded


def _compute(work: Work, plan: TrainingPlan, split: str, model: Model, *, bf16: bool) -> Outputs:
    with reading(work, plan, split, model) as encoded:
        return forward(
            work.task,
            model,
            encoded,
            pad_token_id=plan.tokenizer.pad_token_id,
            bf16=bf16,
            advance=work.events.progress(f"{split} texts"),
        )


def _has_same_body(trained: Model, model: Model) -> bool:
    """Whether a model differs from the one in training by its head alone."""
    if model is trained:
        return True
    one, other = (
        fingerprint(body_tensors(m, heads.find_head(m, m.config.num_labels))) for m in (trained, model)
    )
    return one == other
