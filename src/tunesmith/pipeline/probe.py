"""Phase 6: a head fitted on frozen features: where training starts, and a baseline to compare it with."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace

import numpy as np

from tunesmith.encoded import Encoded, Ragged
from tunesmith.evaluation.baselines import RowStatistics, own_statistics
from tunesmith.pipeline.encode import EncodedData
from tunesmith.pipeline.open_model import OpenedModel
from tunesmith.pipeline.predict_split import reading
from tunesmith.pipeline.training_plan import TrainingPlan, wants_probe
from tunesmith.pipeline.work import Work
from tunesmith.tasks import EvalPredictions
from tunesmith.training.probe import (
    Features,
    ProbeHead,
    fit_probe,
    head_of_model,
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


def start_from_probe(work: Work, plan: TrainingPlan, features: FeaturesOf) -> Probe:
    """Fits a head on frozen features and starts the model from it; what the model's head has of the labels stays.

    Args:
        work: what is to be done.
        plan: model and sequences.
        features: what the head sees of each split.
    """
    began, train = time.perf_counter(), plan.recipe.train
    if not wants_probe(work, plan):
        work.events.note("no probe")
        return Probe()
    probe = _fitted(work, plan, features)
    work.events.note(f"probe: regularisation C = {probe.strength:g}")
    is_method = train.method == "probe"
    scores = {}
    if plan.recipe.evaluate.baselines and not is_method and not plan.opened.loaded.new_outputs:
        scores["probe"] = _scores_of(probe, work, plan, features)
    if train.head_start or is_method:
        put_head(plan.model, probe)
    return Probe(scores, seconds=time.perf_counter() - began)


def with_features(probe: Probe, plan: TrainingPlan, features: FeaturesOf) -> Probe:
    """The probe with what is scored again, where nothing but the head learns; other features are let go.

    Args:
        probe: what `start_from_probe` gave.
        plan: model and sequences.
        features: what the head sees of each split, as the probe and the checks asked for it.
    """
    scored = {split: found for split, found in features.known.items() if split != "train"}
    features.known.clear()
    return replace(probe, features=scored) if plan.recipe.train.method == "probe" else probe


class FeaturesOf:
    """What the head sees of each split on the frozen model; taken once, for the probe and for the checks.

    Args:
        work: what is to be done.
        opened: model with a head, on its device.
        encoded: sequences by split.
        reading: from a split to its sequences as the model is to be given them while that lasts.
        bf16: from a split to whether to compute in bfloat16; not where the result is scored by it.
    """

    def __init__(
        self,
        work: Work,
        opened: OpenedModel,
        encoded: EncodedData,
        reading: Callable[[str], AbstractContextManager[Encoded]],
        bf16: Callable[[str], bool],
    ) -> None:
        self.work, self.opened, self.encoded = work, opened, encoded
        self._reading, self._bf16 = reading, bf16
        self.known: dict[str, Features] = {}

    @classmethod
    def of_plan(cls, work: Work, plan: TrainingPlan) -> FeaturesOf:
        """Those of a training, before it begins."""
        is_method = plan.recipe.train.method == "probe"

        def bf16(split: str) -> bool:
            return plan.settings.bf16 and not (is_method and split != "train")

        return cls(work, plan.opened, plan.encoded, lambda split: reading(work, plan, split), bf16)

    def __getitem__(self, split: str) -> Features:
        if split not in self.known:
            self.known[split] = self._take(split)
        return self.known[split]

    def of_rows(self, split: str) -> tuple[Features, Encoded]:
        """The features of a split's own rows, without noisy copies, and the sequences that they belong to."""
        features, encoded = self[split], self.encoded.splits[split]
        n_rows = len(self.opened.data.splits[split])
        if encoded.n_rows <= n_rows:
            return features, encoded
        own = np.flatnonzero(encoded.rows < n_rows)
        taken = features.take(own) if isinstance(features, Ragged) else features[own]
        return taken, replace(encoded.take(own), n_rows=n_rows)

    def _take(self, split: str) -> Features:
        work, opened = self.work, self.opened
        head = opened.head(work.task)
        assert head is not None, "a task with a probe has a head"
        with self._reading(split) as encoded:
            return take_features(
                work.task,
                opened.model,
                encoded,
                head=head,
                pad_token_id=opened.tokenizer.pad_token_id,
                bf16=self._bf16(split),
                location=self.encoded.location(split),
                advance=work.events.progress(f"{split} texts"),
            )


def _fitted(work: Work, plan: TrainingPlan, features: FeaturesOf) -> ProbeHead:
    """The probe of an earlier start of the run, or a new one."""
    file = work.run.checkpoints / "probe.safetensors"
    probe = ProbeHead.load(file, work.run.run_id)
    if probe is None:
        train, validation = (features[name] for name in ("train", "validation"))
        rows = EvalPredictions(plan.data.splits["validation"].columns, plan.splits["validation"])
        schema, grown = plan.data.label_schema, _grown(work, plan)
        probe = fit_probe(work.task, schema, (train, plan.splits["train"]), (validation, rows), grown=grown)
        if work.processes.is_first:
            probe.save(file, work.run.run_id)
    return probe


def _grown(work: Work, plan: TrainingPlan) -> tuple[ProbeHead, tuple[int, ...]] | None:
    """The head, and its new outputs, where all others stay; a training of the head alone changes all of it."""
    new = plan.opened.loaded.new_outputs
    if not new or plan.recipe.train.method == "probe":
        return None
    n_outputs = work.task.config(plan.data.label_schema)["num_labels"]
    return head_of_model(plan.model, n_outputs), new


def _scores_of(probe: ProbeHead, work: Work, plan: TrainingPlan, features: FeaturesOf) -> RowStatistics:
    """The probe on the rows that count, with thresholds of the probe's own from the validation rows."""

    def answered(split: str) -> EvalPredictions:
        rows = EvalPredictions(plan.data.splits[split].columns, plan.splits[split])
        return probe_answers(probe, features[split], rows)

    return own_statistics(
        work.task, answered(plan.final_split), lambda: answered("validation"), plan.data.label_schema
    )
