"""Searches for hyperparameters: ours, random full trainings, and Optuna's defaults.

    python benchmarks/search.py table  --set trec --trials 32     trains and stores trials (resumes)
    python benchmarks/search.py replay --set trec                 replays every method on them
    python benchmarks/search.py contest --set tweet_emotion --minutes 20 --seeds 0 1 2
    python benchmarks/search.py memory                             peak memory after 3 and after 30 trials

Writes dated records into benchmarks/results/. `contest` needs a quiet machine: all methods have the same time.
Needs the data sets' folder (`../shared` beside the checkout); nothing of it is kept.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from _replay import Stored, replay

from tunesmith import pipeline, tuning
from tunesmith.api import build_recipe
from tunesmith.data.examples import fingerprint
from tunesmith.data.preparing import all_sources
from tunesmith.environment import machine
from tunesmith.events import Events
from tunesmith.progress import Lines
from tunesmith.recipe import Recipe
from tunesmith.run import read_json
from tunesmith.training.loop import never
from tunesmith.tuning.folder import SearchFolder
from tunesmith.tuning.opening import ONE_PROCESS, open_search, prepare_search
from tunesmith.tuning.outcome import Result
from tunesmith.tuning.running import COARSE, FINE, Search, recipe_of
from tunesmith.tuning.search import first_trial, share_of_rows
from tunesmith.tuning.space import Space, default_space
from tunesmith.tuning.trial import Request, run_trial

HERE = Path(__file__).parent
RESULTS = HERE / "results"
SETS = {
    "trec": {"data": "trec/train.csv", "test": "trec/test.csv"},
    "tweet_emotion": {
        "data": "tweet_emotion/train.csv",
        "validation": "tweet_emotion/validation.csv",
        "test": "tweet_emotion/test.csv",
    },
}


def recipe_for(name: str, data: Path, folder: Path, seed: int = 42, **tune: Any) -> Recipe:
    """The default recipe of a data set."""
    files = {split: str(data / path) for split, path in SETS[name].items()}
    return build_recipe(
        None,
        **files,
        task="text-classification",
        output_dir=str(folder),
        overrides={
            "seed": seed,
            "data.check": "off",
            **{f"tune.{key}": value for key, value in tune.items()},
        },
    )


def opened(recipe: Recipe) -> tuple[Search, Space]:
    """A search whose first trial is done, and its default space."""
    folder = SearchFolder(recipe.output_dir)
    began = time.monotonic()
    found = fingerprint(all_sources(recipe.data))
    request = prepare_search(recipe, found, ONE_PROCESS, Events())
    search = open_search(folder, request, ONE_PROCESS, (Lines(),), lambda: time.monotonic() - began)
    default = first_trial(search)
    assert default is not None
    return search, default_space(
        search.shared.task, Recipe.model_validate(search.used), n_layers=default.result.layers
    )


def drawn(space: Space, rng: np.random.Generator) -> dict[str, Any]:
    """Values drawn at random from a space."""
    values = {}
    for it in space:
        if it.choices:
            values[it.key] = it.choices[rng.integers(len(it.choices))]
        elif it.log:
            number = float(np.exp(rng.uniform(np.log(it.low), np.log(it.high))))
            values[it.key] = it.value(round(number) if it.is_integer else number)
        else:
            values[it.key] = it.value(
                int(rng.integers(it.low, it.high + 1)) if it.is_integer else rng.uniform(it.low, it.high)
            )
    return values


def curve(result: Result, metric: str) -> list[list[float]]:
    """Seconds and best metric so far at every validation; the last point has the time of the whole trial."""
    best, points = -np.inf, []
    for it in result.history:
        best = max(best, it[metric])
        points.append([result.train_seconds * it["step"] / max(result.steps, 1), best])
    if not points:
        return [[result.seconds, 0.0]]
    points[-1][0] = result.seconds
    return points


def table(asked: argparse.Namespace) -> None:
    """Trains every trial of the store on all rows and on a part of them; those that are there stay."""
    folder = asked.runs / f"table-{asked.set}"
    search, space = opened(recipe_for(asked.set, asked.data, folder))
    rng, metric = np.random.default_rng(0), search.shared.metric[0]
    share, stored = share_of_rows(len(search.shared.data.splits["train"])), []
    for number in range(asked.trials):
        values, curves = drawn(space, rng), {}
        for stage, part in ((COARSE, share), (FINE, 1.0)):
            request = Request(
                recipe_of(search, stage, values), folder / "trials" / f"{stage}-{number:04}", part
            )
            curves[stage] = curve(run_trial(search.shared, request), metric)
        stored.append({"values": values, "whole": curves[FINE], "part": curves[COARSE]})
        print(number, values, stored[-1]["whole"][-1], flush=True)
    record = {"set": asked.set, "metric": metric, "share": share, "machine": machine(), "trials": stored}
    write(f"search-table-{asked.set}", record)


def stored_trials(name: str) -> list[Stored]:
    record = json.loads(newest(f"search-table-{name}").read_text())
    return [Stored(*(tuple(map(tuple, it[key])) for key in ("whole", "part"))) for it in record["trials"]]


def replayed(asked: argparse.Namespace) -> None:
    """Every method on the store."""
    found = replay(stored_trials(asked.set), orders=1000)
    for name, figures in found.items():
        print(f"{name:26} {figures}")
    write(f"search-replay-{asked.set}", {"set": asked.set, "methods": found})


def contest(asked: argparse.Namespace) -> None:
    """The methods with the same time: the test score of the recipe that each chooses."""
    file = RESULTS / f"search-contest-{asked.set}-{date.today().isoformat()}.json"
    record = json.loads(file.read_text()) if file.is_file() else {"set": asked.set, "entries": []}
    for seed in asked.seeds:
        for method in asked.methods:
            folder = asked.runs / f"contest-{asked.set}-{method}-{seed}"
            began = time.monotonic()
            found = CONTESTANTS[method](recipe_for(asked.set, asked.data, folder, seed), asked.minutes * 60)
            entry = {"method": method, "seed": seed, "minutes": asked.minutes, **found}
            entry["seconds"] = round(time.monotonic() - began, 1)
            record["entries"].append(entry)
            write(f"search-contest-{asked.set}", {**record, "machine": machine()})
            print(entry, flush=True)


def ours(recipe: Recipe, seconds: float) -> dict[str, Any]:
    """`tunesmith tune`."""
    asked = recipe.replace(tune={"time": f"{seconds}s"})
    folder = tuning.tune(asked, listeners=[Lines()])
    found = read_json(folder.result_file)
    return {
        "trials": found["counts"],
        "validation": found["best"]["validation"],
        "test": found["best"]["primary"]["value"],
        "default_is_best": found["best"]["is_default"],
        "against_default": found["against_default"],
    }


def random_search(recipe: Recipe, seconds: float) -> dict[str, Any]:
    """Random full trainings; the best on the validation rows is trained again, and scored on the test rows."""
    return _simple(recipe, seconds, learns=False)


def optuna_default(recipe: Recipe, seconds: float) -> dict[str, Any]:
    """Optuna's defaults: TPE, and the median pruner at every validation."""
    return _simple(recipe, seconds, learns=True)


def _simple(recipe: Recipe, seconds: float, *, learns: bool) -> dict[str, Any]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    began = time.monotonic()
    search, space = opened(recipe)
    default = read_json(search.folder.trial("default", 0) / "trial.json")
    sampler = (
        optuna.samplers.TPESampler(seed=recipe.seed) if learns else optuna.samplers.RandomSampler(recipe.seed)
    )
    pruner = optuna.pruners.MedianPruner() if learns else optuna.pruners.NopPruner()
    study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
    best, values, n = default["value"], {}, 1
    until = time.time() + seconds - (time.monotonic() - began) - default["seconds"]
    while time.time() < until:
        trial = study.ask({it.key: it.distribution() for it in space})
        own = {it.key: it.value(trial.params[it.key]) for it in space}

        def should_prune(percent: int, value: float, trial: Any = trial) -> bool:
            trial.report(value, percent)
            return learns and trial.should_prune()

        folder = search.folder.trials / f"simple-{n:04}"
        request = Request(recipe_of(search, FINE, own), folder, deadline=until, should_prune=should_prune)
        result = run_trial(search.shared, request)
        n += 1
        if not result.is_complete:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            continue
        study.tell(trial, result.value)
        if result.value is not None and result.value > best:
            best, values = result.value, own
    final = recipe_of(search, FINE, values).model_copy(
        update={"output_dir": str(search.folder.path / "best")}
    )
    run = pipeline.train(final, listeners=[Lines()], should_stop=never)
    return {"trials": n, "validation": best, "test": run.metrics["primary"]["value"]}


CONTESTANTS = {"tune": ours, "random": random_search, "optuna": optuna_default}


def memory(asked: argparse.Namespace) -> None:
    """The peak memory of this process after 3 trials and after 30, with the embedded model."""
    with tempfile.TemporaryDirectory() as folder:
        recipe = recipe_for(asked.set, asked.data, Path(folder) / "tune")
        search, space = opened(recipe.replace(train={"max_steps": 10}))
        rng, peaks = np.random.default_rng(0), {}
        for number in range(1, 31):
            request = Request(
                recipe_of(search, FINE, drawn(space, rng)), search.folder.trials / f"memory-{number:04}"
            )
            run_trial(search.shared, request)
            peaks[number] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
            print(number, f"{peaks[number]:.3f} GB", flush=True)
    write("search-memory", {"after_3_gb": peaks[3], "after_30_gb": peaks[30], "ratio": peaks[30] / peaks[3]})


def write(name: str, record: dict[str, Any]) -> None:
    """A dated record in benchmarks/results."""
    path = RESULTS / f"{name}-{date.today().isoformat()}.json"
    path.write_text(json.dumps({"date": date.today().isoformat(), **record}, indent=1) + "\n")
    print(path)


def newest(name: str) -> Path:
    """The newest record of a name."""
    return sorted(RESULTS.glob(f"{name}-????-??-??.json"))[-1]


def main() -> None:
    """One of the commands above."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=("table", "replay", "contest", "memory"))
    parser.add_argument("--set", choices=SETS, default="trec")
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data")
    parser.add_argument("--runs", type=Path, default=Path("runs/search"))
    parser.add_argument("--trials", type=int, default=32)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--methods", nargs="*", choices=CONTESTANTS, default=list(CONTESTANTS))
    asked = parser.parse_args()
    {"table": table, "replay": replayed, "contest": contest, "memory": memory}[asked.command](asked)


if __name__ == "__main__":
    main()
