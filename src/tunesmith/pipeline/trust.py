"""What the answers of the saved model are worth, fitted on the validation rows and saved beside it.

The saved model has its calibrated probabilities by now, so the threshold of a promise is one for the `score` that
people see.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tunesmith.evaluation.abstaining import DELTA, judged_answers, keep_promise
from tunesmith.evaluation.clusters import one_of_each
from tunesmith.inference.prediction_sets import strangeness
from tunesmith.inference.scope import Scope
from tunesmith.inference.trust import Abstention, Trust
from tunesmith.pipeline.analysing import SavedAnswers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tunesmith.evaluation.scoring import Scored


def fit_trust(answers: SavedAnswers) -> Trust:
    """The threshold of the promise, what prediction sets need, and what texts in scope look like; all is saved."""
    task, recipe = answers.work.task, answers.plan.recipe
    is_read = recipe.evaluate.max_error is not None or task.sets is not None
    validation = answers.scored("validation") if is_read else None
    trust = Trust(
        _abstention(validation, recipe.evaluate.max_error, recipe.seed),
        _strangeness(validation, recipe.seed),
        _scope(answers),
    )
    trust.write(answers.work.run.model)
    return trust


def _abstention(validation: Scored | None, max_error: float | None, seed: int) -> Abstention | None:
    if max_error is None or validation is None:
        return None
    promise = keep_promise(judged_answers(validation).one_a_group(seed), max_error)
    return Abstention(max_error, DELTA, promise.threshold)


def _strangeness(validation: Scored | None, seed: int) -> NDArray[np.float64] | None:
    """How strange the true answers are; one row of each group, since rows of a group are not exchangeable."""
    if validation is None or (sets := validation.task.sets) is None:
        return None
    found = strangeness(sets, sets.values(validation.evaluated), sets.true(validation.evaluated))
    return found if validation.groups is None else found[one_of_each(validation.groups, seed)]


def _scope(answers: SavedAnswers) -> Scope | None:
    train, validation = (answers.features(split) for split in ("train", "validation"))
    return None if train is None or validation is None else Scope.fit(train, validation)
