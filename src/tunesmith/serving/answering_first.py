"""The first stage of a cascade in a worker: it answers what it is sure of, before a row is encoded."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tunesmith.errors import RunError
from tunesmith.inference.first_stage import FirstStage, read_first_stage
from tunesmith.serving.batching import Job
from tunesmith.tasks import EvalPredictions

if TYPE_CHECKING:
    from tunesmith.inference.predictor import Predictor
    from tunesmith.types import JsonObject

FIRST = "first"
"""The entry `stage` of an answer of the first stage; answers of the model have no such entry."""

_Row = tuple[Job, int, "JsonObject"]
"""A request, the position of a row in it, and the row."""


class AnsweringFirst:
    """Answers rows of which a first stage is sure.

    Args:
        stage: the cheap model.
        threshold: least confidence of an answer that it gives.
        predictor: the full model, for the form of answers.
    """

    def __init__(self, stage: FirstStage, threshold: float, predictor: Predictor) -> None:
        self._stage, self._threshold, self._predictor = stage, threshold, predictor

    @classmethod
    def of(cls, cascade: JsonObject, predictor: Predictor) -> AnsweringFirst:
        """The first stage of a folder.

        Args:
            cascade: `folder` and `threshold`.
            predictor: the full model.

        Raises:
            RunError: the folder is damaged, or of a model with other labels.
        """
        stage, facts, _ = read_first_stage(Path(cascade["folder"]))
        if facts["labels"] != predictor.labels:
            raise RunError(
                f"`{cascade['folder']}` is of a run with other labels.", remedy="Remove the folder."
            )
        return cls(stage, float(cascade["threshold"]), predictor)

    def answer(self, rows: Sequence[_Row]) -> tuple[list[_Row], list[Job]]:
        """Answers what it can.

        Args:
            rows: rows as the task reads them.

        Returns:
            The rows that are left for the model, and requests that have all their answers.
        """
        left, done = [], []
        for job, position, row in rows:
            found = (
                None if job.is_over or not _is_plain(job.ask) else self._answer(row, job.ask.get("top_k", 1))
            )
            if found is None:
                left.append((job, position, row))
                continue
            job.started = job.started or time.monotonic()
            job.answers[position] = found
            job.missing -= 1
            if not job.missing:
                done.append(job)
        return left, done

    def _answer(self, row: JsonObject, top_k: int | None) -> JsonObject | None:
        """The answer to a row; None where it is not sure enough."""
        task, schema = self._predictor.task, self._predictor.label_schema
        text = "\n".join(str(row[name]) for name in task.inputs if row.get(name) is not None)
        outputs = self._stage.logits([text])
        # Of one label a text, the outputs alone are decoded.
        [prediction] = task.decode(EvalPredictions({}, cast("Any", None), outputs), schema)
        assert task.confidence is not None, "only of tasks that can abstain"
        if task.confidence.of(prediction, schema) < self._threshold:
            return None
        return {**self._predictor.answer(prediction, top_k), "stage": FIRST, "tokens": 0}


def _is_plain(ask: JsonObject) -> bool:
    """Whether a request asks for answers alone, and not for vectors, or for sets that only the model can make."""
    return ask["op"] == "answer" and ask.get("coverage") is None
