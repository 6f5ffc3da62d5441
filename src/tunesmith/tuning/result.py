"""What a search ends with: the content of tune.json, and the best recipe as a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import yaml

from tunesmith.masking import masked_values
from tunesmith.metrics import METRICS
from tunesmith.recipe import Recipe, yaml_value
from tunesmith.run import finite, write_atomically
from tunesmith.tuning.choice import Finalist, optimism
from tunesmith.tuning.running import COARSE, DEFAULT, FINALISTS, FINE, SEED, VALUES, Search, default_value
from tunesmith.tuning.search import Found
from tunesmith.tuning.space import space_to_json, with_values
from tunesmith.tuning.stages import Done
from tunesmith.tuning.trial import read_statistics

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

_FEWEST_FOR_IMPORTANCE = 8


def write_best_recipe(search: Search, recipe: Recipe, values: Mapping[str, Any], soup: str = "") -> Recipe:
    """Writes best.yaml, and returns it: the recipe with the values that were chosen, trained into `best`.

    Args:
        search: search.
        recipe: recipe that the search began from, as it was asked for.
        values: value of each key that the search changed.
        soup: what became of the average of the finalists' weights, in words; empty where none was asked for.
    """
    best = with_values(search.in_one_precision(recipe), values, search.shared.task)
    best = best.model_copy(update={"output_dir": str(search.folder.best.path)})
    tree = masked_values(best.model_dump(mode="json", exclude_unset=True))
    tree.pop("tune", None)
    text = yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)
    comment = f"# The best recipe of the search in {search.folder.path}.\n"
    if soup:
        comment += f"# {soup[0].upper()}{soup[1:]}.\n# This file gives the chosen model alone.\n"
    write_atomically(search.folder.best_recipe, comment + text)
    return best.model_copy(update={"tune": type(best.tune)()})


def result_json(search: Search, found: Found, compared: JsonObject | None) -> JsonObject:
    """The content of tune.json.

    Args:
        search: search.
        found: what its stages found.
        compared: comparison of the best run with that of the default recipe on the test rows, if there was one.
    """
    metric, maximize = search.shared.metric
    trials = list(_trials(search, found))
    winner, best = found.choice.winner, search.folder.best.metrics
    luck = _optimism(search, found)
    result: JsonObject = {
        "task": search.recipe.task,
        "metric": metric,
        "maximize": maximize,
        "seconds": round(search.clock(), 1),
        "space": space_to_json(found.space),
        "trials": trials,
        "counts": dict(Counter(it["state"] for it in trials)),
        "importance": importance(search, found),
        "finalists": [_described(it, found) for it in found.finalists],
        "choice": found.choice.to_json(),
        "optimism": luck,
        "soup": search.folder.best.manifest().get("soup"),
        "best": {
            "recipe": str(search.folder.best_recipe),
            "run": str(search.folder.best.path),
            "values": _changed(search, winner.values),
            "is_default": winner.is_default,
            "validation": winner.mean,
            "primary": best["primary"],
        },
        "against_default": compared["pairs"][0] if compared else None,
    }
    return {**result, "text": in_words(result)}


def _trials(search: Search, found: Found) -> Sequence[JsonObject]:
    stages: list[tuple[str, Sequence[Done]]] = [
        (DEFAULT, [found.default]), (COARSE, found.coarse), (FINE, found.fine),
    ]  # fmt: skip
    begun = search.begun(FINALISTS)
    if begun is not None:
        stages.append((FINALISTS, begun.done()))
    return [_trial(stage, it) for stage, done in stages for it in done]


def _changed(search: Search, values: Mapping[str, Any]) -> JsonObject:
    """The values that differ from those of the default recipe, as it was used."""
    return {key: value for key, value in values.items() if value != default_value(search, key)}


def _trial(stage: str, done: Done) -> JsonObject:
    result = done.result
    is_finalist = stage == FINALISTS
    return {
        "stage": stage,
        "number": done.number + 1,
        "values": done.values[VALUES] if is_finalist else done.values,
        **({"seed": done.values[SEED]} if is_finalist else {}),
        "state": result.state,
        "value": None if result.value is None else finite(result.value),
        "seconds": result.seconds,
        "train_seconds": result.train_seconds,
        "steps": result.steps,
        "history": result.history,
        "reason": result.reason,
    }


def _described(finalist: Finalist, found: Found) -> JsonObject:
    difference, error = found.choice.behind.get(finalist.name, (0.0, 0.0))
    return {
        "name": finalist.name,
        "values": dict(finalist.values),
        "by_seed": {str(seed): value for seed, value in finalist.by_seed.items()},
        "mean": finalist.mean,
        "behind": difference,
        "standard_error": error,
        "train_seconds": round(finalist.train_seconds, 3),
    }


def _optimism(search: Search, found: Found) -> float | None:
    """How much the best of all trials on all rows is too good on average."""
    places = [(DEFAULT, found.default), *((FINE, it) for it in found.fine if it.result.is_complete)]
    schema = search.shared.data.label_schema
    rows = [
        read_statistics(search.folder.trial(stage, it.number), search.shared.task, schema)
        for stage, it in places
    ]
    known = [it for it in rows if it is not None]
    found_luck = optimism(known, seed=search.recipe.seed)
    return None if found_luck is None else finite(found_luck)


def importance(search: Search, found: Found) -> dict[str, float]:
    """The share of the metric's variation among the trials that each key explains (fANOVA); empty for few trials.

    The stage with more complete trials counts. Hutter, Hoos and Leyton-Brown (2014).
    """
    import optuna

    best: dict[str, float] = {}
    stages = sorted(((COARSE, found.coarse), (FINE, found.fine)), key=lambda it: -_complete(it[1]))
    name, done = stages[0]
    stage = search.begun(name)
    if stage is None or _complete(done) < _FEWEST_FOR_IMPORTANCE or not _varies(done):
        return best
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=search.recipe.seed % 2**32)
    shares = optuna.importance.get_param_importances(stage.study(), evaluator=evaluator)
    return {key: round(float(share), 4) for key, share in shares.items()}


def _complete(done: Sequence[Done]) -> int:
    return sum(it.result.is_complete for it in done)


def _varies(done: Sequence[Done]) -> bool:
    return len({it.result.value for it in done if it.result.is_complete}) > 1


def in_words(result: JsonObject) -> list[str]:
    """What people should know of a search, in sentences.

    Args:
        result: content of tune.json.
    """
    metric = METRICS.get(result["metric"])
    counts = ", ".join(f"{n} {state.replace('_', ' ')}" for state, n in sorted(result["counts"].items()))
    said = [f"{len(result['trials'])} trials: {counts}"]
    best = result["best"]
    if len(result["finalists"]) == 1:
        said.append(
            "no other recipe came to its end on all rows, so the default one was trained: give more time"
        )
    elif best["is_default"]:
        said.append("no recipe was better than the default one beyond noise; the default recipe was trained")
    else:
        said.append(f"chosen: {result['choice']['reason']}")
        said.append(
            "changed: " + ", ".join(f"{key}={yaml_value(value)}" for key, value in best["values"].items())
        )
    score = f"its {metric.label} on the validation rows is {metric.shown(best['validation'])}"
    luck = None if result["optimism"] is None else metric.shown(abs(result["optimism"]))
    if luck not in (None, metric.shown(0.0)):
        score += f", of which {luck} is probably luck: it is the best of many"
    said.append(score)
    if result["soup"]:
        said.append(result["soup"]["reason"])
    if result["importance"]:
        top = list(result["importance"].items())[:3]
        said.append("what mattered most: " + ", ".join(f"{key} ({share:.0%})" for key, share in top))
    if result["against_default"] is not None:
        said.append(f"on the test rows, {result['against_default']['text']}")
    return said
