"""What is saved beside a model so that its answers can be trusted: predictions read it, and exports carry it.

`config.json` has the threshold of a promise, for people who load the model with plain transformers:

    "tunesmith_abstention": {"max_error": 0.02, "delta": 0.05, "threshold": 0.83}

`threshold` is null where no threshold keeps the promise; then the model abstains from every answer. What
prediction sets and the score of texts out of scope need is in `trust.safetensors`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tunesmith.errors import ModelError, RecipeError
from tunesmith.inference import prediction_sets
from tunesmith.inference.scope import Scope
from tunesmith.models.resolve import config_file
from tunesmith.run import read_json, write_atomically

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tunesmith.tasks import EvalPredictions, LabelSchema, Prediction, Task
    from tunesmith.types import JsonObject

ABSTENTION_KEY = "tunesmith_abstention"
"""Entry of config.json."""

TRUST_FILE = "trust.safetensors"

_STRANGENESS = "sets.strangeness"


@dataclass(frozen=True)
class Abstention:
    """When the model abstains.

    Args:
        max_error: most wrong answers of those given, as promised.
        delta: most often that the promise may be broken.
        threshold: least confidence of an answer that is given; None where no answer is given.
    """

    max_error: float
    delta: float
    threshold: float | None

    def gives(self, confidence: float) -> bool:
        """Whether an answer of this confidence is given."""
        return self.threshold is not None and confidence >= self.threshold

    def to_json(self) -> JsonObject:
        """The entry of config.json."""
        return {"max_error": self.max_error, "delta": self.delta, "threshold": self.threshold}


@dataclass(frozen=True)
class Trust:
    """What a model knows of its own answers.

    Args:
        abstention: when it abstains; None where no promise was asked for.
        strangeness: [validation rows], of the true answers, for prediction sets; None where the task has none.
        scope: what its training texts look like; None where a text has no vector of its own.
    """

    abstention: Abstention | None = None
    strangeness: NDArray[np.float64] | None = None
    scope: Scope | None = None

    @classmethod
    def of_model(cls, folder: Path) -> Trust:
        """Reads the files of a model's folder.

        Raises:
            ModelError: a file is damaged.
        """
        config = config_file(folder)
        entry = read_json(config).get(ABSTENTION_KEY) if config.is_file() else None
        tensors = _tensors(folder / TRUST_FILE)
        return cls(
            Abstention(**entry) if entry else None, tensors.get(_STRANGENESS), Scope.of_tensors(tensors)
        )

    def write(self, folder: Path) -> None:
        """Writes what is known into a model's folder: its `config.json`, and `trust.safetensors`."""
        from safetensors.numpy import save

        _state_promise(folder, self.abstention)
        tensors: dict[str, NDArray[Any]] = {} if self.scope is None else self.scope.tensors()
        if self.strangeness is not None:
            tensors[_STRANGENESS] = np.sort(self.strangeness)
        if tensors:
            write_atomically(folder / TRUST_FILE, save(tensors))

    def complete(
        self,
        task: Task,
        predictions: list[Prediction],
        evaluated: EvalPredictions,
        label_schema: LabelSchema,
        coverage: float | None,
    ) -> None:
        """Adds to predictions what is known of each: `abstained`, `set` or `interval`, `out_of_scope`.

        Raises:
            RecipeError: sets were asked for and cannot be made.
        """
        if coverage is not None:
            found = self.sets_of(task, evaluated, label_schema, coverage)
            for prediction, entry in zip(predictions, found, strict=True):
                prediction.update(entry)
        if self.abstention is not None:
            for prediction in predictions:
                abstain(task, prediction, label_schema, self.abstention)
        if self.scope is not None and (features := evaluated.memo.get("features")) is not None:
            for prediction, score in zip(predictions, self.scope.scores(features), strict=True):
                prediction["out_of_scope"] = {"score": float(score), "is_out": bool(score > 1)}

    def sets_of(
        self, task: Task, evaluated: EvalPredictions, label_schema: LabelSchema, coverage: float
    ) -> list[JsonObject]:
        """What the prediction sets add to each prediction.

        Raises:
            RecipeError: the task has no sets, the run did not save what they need, or had too few rows.
        """
        if task.sets is None:
            raise RecipeError(f"`{task.name}` has no prediction sets.", remedy="Leave the coverage out.")
        if self.strangeness is None:
            raise RecipeError(
                "this model was trained by a version that saved nothing for prediction sets.",
                remedy="Train it again, or leave the coverage out.",
            )
        most = prediction_sets.limit(self.strangeness, coverage)
        return prediction_sets.entries(task.sets, task.sets.values(evaluated), most, label_schema)


def withheld(
    task: Task, prediction: Prediction, label_schema: LabelSchema, abstention: Abstention
) -> bool | list[JsonObject]:
    """Whether the model abstains from an answer; of several answers in a prediction, those from which it does."""
    how = task.confidence
    assert how is not None, "only tasks with a confidence have a promise"
    if not how.key:
        return not abstention.gives(how.of(prediction, label_schema))
    return [one for one in prediction[how.key] if not abstention.gives(how.of(one, label_schema))]


def abstain(task: Task, prediction: Prediction, label_schema: LabelSchema, abstention: Abstention) -> None:
    """Says in a prediction what is withheld; of several answers, those withheld move to `abstained`."""
    found = withheld(task, prediction, label_schema, abstention)
    if isinstance(found, list) and task.confidence is not None:
        key = task.confidence.key
        prediction[key] = [one for one in prediction[key] if one not in found]
    prediction["abstained"] = found


def _tensors(file: Path) -> dict[str, NDArray[Any]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    if not file.is_file():
        return {}
    try:
        return dict(load_file(file))
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"the file cannot be read: {error}.",
            location=str(file),
            remedy="Train or export the model again.",
        ) from None


def _state_promise(folder: Path, abstention: Abstention | None) -> None:
    """States the promise in the config of a saved model, in place of that of the run that it began from."""
    file = config_file(folder)
    known = json.loads(file.read_text(encoding="utf-8"))
    stated = {key: value for key, value in known.items() if key != ABSTENTION_KEY}
    if abstention is not None:
        stated[ABSTENTION_KEY] = abstention.to_json()
    if stated != known:
        write_atomically(file, json.dumps(stated, indent=2, sort_keys=True, ensure_ascii=True) + "\n")
