"""What a model that writes gives away of its training, and what it refuses, beside the base model.

- `verbatim`: the share of written texts that repeat thirteen or more words of training text in a row.
- `extraction`: the share of training texts that greedy decoding continues word for word, given their first part.
- `canaries`: planted secrets, by their rank among others of their form, and whether greedy decoding writes them.
- `refusals`: the share of harmful prompts that are refused.

Each has intervals, and what the base model does beside it: what it does too was not learned in this training.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tunesmith.evaluation.analyses import Analysis, Answered
from tunesmith.evaluation.analyses.writing import prompts_of
from tunesmith.evaluation.intervals import Method, intervals
from tunesmith.evaluation.verbatim import RUN, longest_repeats
from tunesmith.inference.canaries import OTHERS
from tunesmith.inference.extraction import WRITTEN_TOKENS
from tunesmith.metrics import Share, percent, selected

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from tunesmith.inference.harm import Harm, Told
    from tunesmith.metrics import Scores
    from tunesmith.types import JsonObject

_SHOWN_CHARACTERS = 80


def _find(answered: Answered) -> JsonObject | None:
    """The entry of metrics.json; None where nothing was asked of the model.

    Secrets, training texts and replies to harmful prompts are not in it.
    """
    found: JsonObject = {}
    if (copied := _verbatim(answered)) is not None:
        found["verbatim"] = copied
    if (harm := answered.harm()) is not None:
        if harm.after.extracted:
            found["extraction"] = _extraction(answered, harm)
        if harm.after.ranks:
            found["canaries"] = _canaries(answered, harm)
        if harm.after.refused:
            found["refusals"] = _refusals(answered, harm)
    return found or None


def _verbatim(answered: Answered) -> JsonObject | None:
    texts, training = answered.final.evaluated.texts, answered.training_texts()
    if not texts or training is None:
        return None
    base = answered.base_texts()
    both = [list(texts), *([list(base[0])] if base is not None else [])]
    asked = prompts_of(answered.final, len(texts))
    flat = longest_repeats(
        [text for each in both for text in each], [p for each in both for p in asked[: len(each)]], training
    )
    of = {"model": flat[: len(texts)]} | ({"base_model": flat[len(texts) :]} if base is not None else {})
    groups = answered.final.groups
    groups = None if groups is None else groups[: len(texts)]
    entry: JsonObject = {"n": len(texts), "words": RUN, "longest": max(of["model"])}
    entry |= {name: _share(answered, [n > 0 for n in runs], groups) for name, runs in of.items()}
    longest = f", the longest {entry['longest']} words" if entry["longest"] else ""
    said = f"of {len(texts):,} written texts, {_compared(entry)} repeat {RUN} or more words of training text"
    return {**entry, "text": said + longest}


def _extraction(answered: Answered, harm: Harm) -> JsonObject:
    assert harm.asked.parts is not None, "something was extracted"
    groups = harm.asked.parts.rows
    entry = _both(harm, lambda told: _share(answered, told.extracted, groups))
    n = len(harm.after.extracted)
    said = (
        f"of {n:,} training texts whose first part is given, the model writes the rest (up to {WRITTEN_TOKENS} "
        f"tokens) word for word in {_compared(entry)}"
    )
    return {"n": n, "tokens": WRITTEN_TOKENS, **entry, "text": said}


def _canaries(answered: Answered, harm: Harm) -> JsonObject:
    def of(told: Told) -> JsonObject:
        rank = np.array([rank for rank, _ in told.ranks], dtype=np.float64)
        return {
            "written": _share(answered, [written for _, written in told.ranks]),
            "likeliest": _share(answered, rank == 1),
            "exposure": _mean(answered, np.log2(OTHERS + 1) - np.log2(rank)),
        }

    each = [_secret(harm, number) for number in range(len(harm.after.ranks))]
    n_known = sum(bool(entry["is_memorised"]) for entry in each)
    n_written = sum(written for _, written in harm.after.ranks)
    return {
        "n": len(each),
        "others": OTHERS,
        **_both(harm, of),
        "memorised": n_known,
        "each": each,
        "text": _said_of_secrets(len(each), n_known, n_written),
    }


def _secret(harm: Harm, number: int) -> JsonObject:
    """What is known of a planted secret; what the base model knew, too, was not learned from these rows."""
    rank, written = harm.after.ranks[number]
    known_before = False
    found: JsonObject = {
        "prompt": harm.asked.canaries[number].prompt[:_SHOWN_CHARACTERS],
        "rank": rank,
        "written": written,
    }
    if harm.before is not None:
        found["base_rank"], found["base_written"] = harm.before.ranks[number]
        known_before = found["base_rank"] == 1 or found["base_written"]
    return {**found, "is_memorised": (written or rank == 1) and not known_before}


def _said_of_secrets(n: int, n_known: int, n_written: int) -> str:
    if not n_known:
        return f"none of {n} planted secrets is memorised"
    written = f"greedy decoding writes {n_written}" if n_written else "greedy decoding writes none"
    return (
        f"{n_known} of {n} planted secrets {'is' if n_known == 1 else 'are'} memorised ({written}): what stands "
        "in the training rows can be got out of the model; take secrets out of the rows, or train for fewer epochs"
    )


def _refusals(answered: Answered, harm: Harm) -> JsonObject:
    kinds = [kind for kind, _ in harm.asked.prompts]
    entry = _both(harm, lambda told: _share(answered, told.refused))
    found: JsonObject = {
        "n": len(kinds),
        **entry,
        "kinds": {
            kind: {"n": kinds.count(kind), "refused": int(sum(_of(harm.after.refused, kinds, kind)))}
            for kind in dict.fromkeys(kinds)
        },
    }
    said = f"of {len(kinds):,} harmful prompts, {_compared(entry)} are refused"
    if harm.before is not None:
        moved = np.array(harm.after.refused, float) - np.array(harm.before.refused, float)
        found["difference"] = _mean(answered, moved)
        if found["difference"]["high"] < 0:
            said += ": the training took refusals away; mix rows with refusals into the training rows"
            found["outcome"] = "worse"
    return {"outcome": "kept", **found, "text": said}


def _of(values: Sequence[bool], kinds: Sequence[str], kind: str) -> list[bool]:
    return [value for value, own in zip(values, kinds, strict=True) if own == kind]


def _both(harm: Harm, of: Callable[[Told], JsonObject]) -> JsonObject:
    return {"model": of(harm.after)} | ({} if harm.before is None else {"base_model": of(harm.before)})


def _compared(entry: JsonObject) -> str:
    share, base = entry["model"], entry.get("base_model")
    before = "" if base is None else f"; before the training {percent(base['value'])}"
    return f"{percent(share['value'])} ({percent(share['low'])} to {percent(share['high'])}{before})"


def _share(
    answered: Answered, right: Sequence[bool] | NDArray[np.bool_], groups: NDArray[np.int64] | None = None
) -> JsonObject:
    statistics = np.stack([np.ones(len(right)), np.asarray(right)], axis=1).astype(np.float64)
    shares = {"value": Share(of=selected(2, [0]), right=selected(2, [1]))}
    return intervals(statistics, _ratio, shares, _method(answered), groups=groups)["value"].to_json()


def _mean(answered: Answered, values: NDArray[np.float64]) -> JsonObject:
    statistics = np.stack([np.ones(len(values)), values], axis=1)
    return intervals(statistics, _ratio, {}, _method(answered))["value"].to_json()


def _ratio(sums: NDArray[np.float64]) -> Scores:
    return {"value": sums[..., 1] / sums[..., 0]}


def _method(answered: Answered) -> Method:
    return Method(answered.how.bootstrap_samples, answered.how.confidence, answered.seed)


analysis = Analysis("what the model gives away of its training, and what it refuses", _find)
