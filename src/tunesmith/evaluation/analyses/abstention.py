"""Abstaining: how many answers the model gives, and how many of them are wrong, with and without a promise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunesmith.evaluation.abstaining import (
    DELTA,
    USUAL_ERRORS,
    JudgedAnswers,
    Promise,
    answers_needed,
    curve,
    error_bound,
    judged_answers,
    keep_promise,
    least_error,
)
from tunesmith.evaluation.analyses import Analysis, Answered
from tunesmith.inference.trust import Abstention, Trust
from tunesmith.metrics import percent

if TYPE_CHECKING:
    from tunesmith.types import JsonObject


def _find(answered: Answered) -> JsonObject | None:
    """See `Analysis`: the promise of the recipe, what usual promises would give, and the whole curve."""
    how = answered.final.task.confidence
    if how is None:
        return None
    final = judged_answers(answered.final)
    validation = answered.scored("validation")
    tested = None if validation is None else judged_answers(validation).one_a_group(answered.seed)
    is_same = validation is answered.final
    asked = Trust.of_model(answered.run.model).abstention
    found = {
        "delta": DELTA,
        "answers": len(final),
        "what": how.answers,
        "split": "test" if not is_same else "validation",
        "one_a_group": tested is not None
        and validation is not None
        and len(tested) < len(judged_answers(validation)),
        "levels": [] if tested is None else [_level(tested, final, error) for error in USUAL_ERRORS],
        "curve": curve(final),
    }
    return found if asked is None else {**found, **_asked(asked, tested, final, found)}


def _asked(
    asked: Abstention, tested: JudgedAnswers | None, final: JudgedAnswers, found: JsonObject
) -> JsonObject:
    """The promise that the recipe asked for, and how it was kept."""
    kept = _measured(final, asked.threshold, asked.max_error)
    if tested is not None:
        promise = keep_promise(tested, asked.max_error)
        kept["tested"] = {"answers": promise.answers, "given": promise.given, "wrong": promise.wrong}
        if promise.threshold is None:
            kept["needed"] = answers_needed(tested, asked.max_error)
    return {**kept, "text": _sentence(kept, found)}


def _level(tested: JudgedAnswers, final: JudgedAnswers, max_error: float) -> JsonObject:
    promise: Promise = keep_promise(tested, max_error)
    return _measured(final, promise.threshold, max_error)


def _measured(final: JudgedAnswers, threshold: float | None, max_error: float) -> JsonObject:
    """The answers that reach a threshold: how many, how many are wrong, and whether that breaks the promise."""
    given = final.given(threshold)
    n, wrong = len(given), int((~given.is_right).sum())
    found: JsonObject = {
        "max_error": max_error,
        "threshold": threshold,
        "given": n,
        "coverage": n / len(final) if len(final) else 0.0,
        "wrong": wrong,
    }
    if not n:
        return found
    low, high = least_error(wrong, n), error_bound(wrong, n)
    return {**found, "error": wrong / n, "error_low": low, "error_high": high, "is_broken": low > max_error}


def _sentence(kept: JsonObject, found: JsonObject) -> str:
    what, promised = found["what"], percent(kept["max_error"])
    if kept["threshold"] is None:
        return _nothing_given(kept, what, promised)
    if kept.get("is_broken"):
        return broken(kept, what)
    if found["split"] == "validation":
        measured = "measured on the rows that set the threshold, as there are no test rows"
    elif not kept["given"]:
        measured = "none of the test rows reaches the threshold"
    else:
        measured = (
            f"{percent(kept['error'])} of them are wrong on test, and {percent(kept['error_high'])} at most"
        )
    return (
        f"answers {percent(kept['coverage'])} of the {what if what != 'answers' else 'rows'} at no more than "
        f"{promised} errors, as promised; {measured}"
    )


def broken(level: JsonObject, what: str) -> str:
    """That a promise does not hold on the test rows, and why.

    Args:
        level: an entry of `levels`, or the promise itself.
        what: what the answers are, in the plural.
    """
    return (
        f"a promise of at most {percent(level['max_error'])} errors does not hold on the test rows: "
        f"{percent(level['error'])} of the {what} given are wrong, and at least {percent(level['error_low'])}; it "
        "is made from the validation rows, and the test rows are not like them"
    )


def _nothing_given(kept: JsonObject, what: str, promised: str) -> str:
    tested = kept.get("tested", {}).get("answers")
    if tested is None:
        return f"no {what} are given: the validation rows could not show that at most {promised} are wrong"
    needed = kept.get("needed")
    help_ = (
        f"about {needed - tested:,} more would do, if they are like these"
        if needed
        else f"more would not help, as even the surest {what} are wrong too often"
    )
    return (
        f"no {what} are given: the {tested:,} {what} on validation rows cannot show that at most {promised} are "
        f"wrong; {help_}, or a promise of more errors (`evaluate.max_error`)"
    )


analysis = Analysis("how many answers can be given at a promised share of errors", _find)
