"""Phase 6: a head fitted on frozen features: where training starts, and a baseline to compare it with."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from tunesmith.evaluation.baselines import RowStatistics, own_statistics
from tunesmith.pipeline.predict_split import reading
from tunesmith.pipeline.training_plan import TrainingPlan, wants_probe
from tunesmith.pipeline.work import Work
from tunesmith.tasks import EvalPredictions
from tunesmith.training.probe import (
    Features,
    ProbeHead,
    fit_probe,
    probe_answers,
    put_head,
    take_features,
)


@dataclass(frozen=True)
class Probe:
    """What the probe leaves.

    Args:
        scores: the probe on the rows that count, as a baseline.
        features: what the head sees, by split, where nothing but the head learns.
        seconds: time that the probe took.
    """

    scores: Mapping[str, RowStatistics] = field(default_factory=dict)
    features: Mapping[str, Features] = field(default_factory=dict)
    seconds: float = 0.0


def start_from_probe(work: Work, plan: TrainingPlan) -> Probe:
    """Fits a head on frozen features and starts the model from it; a head made for these labels stays."""
    began, train = time.perf_counter(), plan.recipe.train
    if not wants_probe(work, plan):
        work.events.note("no probe")
        return Probe()
    features = _FeaturesOf(work, plan)
    probe = _fitted(work, plan, features)
    work.events.note(f"probe: regularisation C = {probe.strength:g}")
    is_method = train.method == "probe"
    scores = {}
    if plan.recipe.evaluate.baselines and not is_method:
        scores["probe"] = _scores_of(probe, work, plan, features)
    if train.head_start or is_method:
        put_head(plan.model, probe)
    return Probe(scores, features.known if is_method else {}, time.perf_counter() - began)


class _FeaturesOf:
    """What the head sees of each split; taken once, and in full precision where the result is scored by it."""

    def __init__(self, work: Work, plan: TrainingPlan) -> None:
        self.work, self.plan = work, plan
        self.known: dict[str, Features] = {}

    def __getitem__(self, split: str) -> Features:
        if split not in self.known:
            features = self._take(split)
            if split == "train":
                return features
            self.known[split] = features
        return self.known[split]

    def _take(self, split: str) -> Features:
        work, plan = self.work, self.plan
        is_scored = plan.recipe.train.method == "probe" and split != "train"
        head = plan.opened.head(work.task)
        assert head is not None, "a task with a probe has a head"
        with reading(work, plan, split) as encoded:
            return take_features(
                work.task,
                plan.model,
                encoded,
                head=head,
                pad_token_id=plan.tokenizer.pad_token_id,
                bf16=plan.settings.bf16 and not is_scored,
                location=plan.encoded.location(split),
                advance=work.events.progress(f"{split} texts"),
            )


def _fitted(work: Work, plan: TrainingPlan, features: _FeaturesOf) -> ProbeHead:
    """The probe of an earlier start of the run, or a new one."""
    file = work.run.checkpoints / "probe.safetensors"
    probe = ProbeHead.load(file)
    if probe is None:
        train, validation = (features[name] for name in ("train", "validation"))
        rows = EvalPredictions(plan.data.splits["validation"].columns, plan.splits["validation"])
        probe = fit_probe(
            work.task, plan.data.label_schema, (train, plan.splits["train"]), (validation, rows)
        )
        if work.processes.is_first:
            probe.save(file)
    return probe


def _scores_of(probe: ProbeHead, work: Work, plan: TrainingPlan, features: _FeaturesOf) -> RowStatistics:
    """The probe on the rows that count, with thresholds of the probe's own from the validation rows."""

    def answered(split: str) -> EvalPredictions:
        rows = EvalPredictions(plan.data.splits[split].columns, plan.splits[split])
        return probe_answers(probe, features[split], rows)

    return own_statistics(
        work.task, answered(plan.final_split), lambda: answered("validation"), plan.data.label_schema
    )
