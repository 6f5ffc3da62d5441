"""Whether the promise of at most x % errors is kept: `python benchmarks/trust_abstention.py RUN…`.

On simulated answers, whose true share of errors is known, and on the validation and test rows of finished runs,
split again at random. Of a run, only the logits are computed, once (`--keep FOLDER` keeps them). Prediction sets
are measured on the same rows. Writes `benchmarks/trust-abstention.md` and
`benchmarks/results/trust-abstention-DATE.json`. About five minutes, and the forward passes of the runs.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

from tunesmith.evaluation.abstaining import JudgedAnswers, keep_promise
from tunesmith.inference import prediction_sets
from tunesmith.tasks import TASKS

HERE = Path(__file__).parent
PROMISES = (0.02, 0.05, 0.1)
SPLITS = 200
SHARE = 1 / 3
"""Of all rows, that set the threshold: the rest must show the share of errors."""

Draw = Callable[[int, np.random.Generator], tuple[np.ndarray, np.ndarray]]
"""Confidences, and the probability that each answer is right."""


def calibrated(centre: float) -> Draw:
    """The confidence is the probability that the answer is right."""

    def draw(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        right = 1 / (1 + np.exp(-np.abs(rng.normal(centre, 2.2, n))))
        return right, right

    return draw


def overconfident(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """One answer in a hundred is wrong at any confidence, and confidences are too high."""
    right = 1 / (1 + np.exp(-np.abs(rng.normal(3.5, 2.0, n))))
    return 1 / (1 + (1 / right - 1) ** 2), 0.99 * right


def uninformative(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The confidence says nothing."""
    return rng.random(n), np.full(n, 0.96)


def wavy(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """More confident answers are not always better ones."""
    confidence = rng.random(n)
    return confidence, 0.955 + 0.035 * np.sin(12 * confidence)


def coarse(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Only ten confidences occur."""
    right = 1 / (1 + np.exp(-np.abs(rng.normal(4, 2.2, n))))
    return np.floor(right * 20) / 20, right


SIMULATIONS: dict[str, Draw] = {
    "calibrated, 95 % right": calibrated(4.5),
    "calibrated, 89 % right": calibrated(3.0),
    "overconfident, noisy labels": overconfident,
    "confidence says nothing, 96 % right": uninformative,
    "errors come and go with confidence": wavy,
    "ten confidences": coarse,
}


def simulate(draw: Draw, n: int, promise: float, sets: int) -> dict[str, float]:
    """How often the true share of errors was above the promise, and the mean coverage."""
    confidence, right = draw(1_000_000, np.random.default_rng(0))
    order = np.argsort(-confidence, kind="stable")
    confidence, errors = confidence[order], np.cumsum(1 - right[order]) / np.arange(1, len(order) + 1)
    broken, coverage = [], []
    for seed in range(1, sets + 1):
        rng = np.random.default_rng(seed)
        seen, chance = draw(n, rng)
        threshold = keep_promise(JudgedAnswers(seen, rng.random(n) < chance), promise).threshold
        given = 0 if threshold is None else int(np.searchsorted(-confidence, -threshold, side="right"))
        broken.append(given > 0 and errors[given - 1] > promise)
        coverage.append(given / len(confidence))
    return {"kept": 1 - float(np.mean(broken)), "coverage": float(np.mean(coverage))}


def simulate_choice(n: int, promise: float, sets: int, steps: int = 8) -> dict[str, float]:
    """The same where the best of several equally good models is chosen on the rows that set the threshold."""

    def draw(rows: int, models: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Whether the label is the first of two [rows], by chance; and what each model says [models, rows]."""
        true = rng.normal(0, 4.5, rows)
        said = true + rng.normal(0, 0.7, (models, rows))
        return true, rng.random(rows) < 1 / (1 + np.exp(-true)), said

    true, _, said = draw(1_000_000, 1, np.random.default_rng(0))
    order = np.argsort(-np.abs(said[0]), kind="stable")
    wrong = 1 / (1 + np.exp(np.where(said[0] > 0, true, -true)))[order]
    confidence = 1 / (1 + np.exp(-np.abs(said[0][order])))
    errors = np.cumsum(wrong) / np.arange(1, len(order) + 1)
    broken, coverage = [], []
    for seed in range(1, sets + 1):
        _, label, said = draw(n, steps, np.random.default_rng(seed))
        right = (said > 0) == label
        best = int(right.mean(1).argmax())
        answers = JudgedAnswers(1 / (1 + np.exp(-np.abs(said[best]))), right[best])
        threshold = keep_promise(answers, promise).threshold
        given = 0 if threshold is None else int(np.searchsorted(-confidence, -threshold, side="right"))
        broken.append(given > 0 and errors[given - 1] > promise)
        coverage.append(given / len(confidence))
    return {"kept": 1 - float(np.mean(broken)), "coverage": float(np.mean(coverage))}


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def with_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature with the least log loss."""

    def loss(log_temperature: float) -> float:
        scores = softmax(logits / np.exp(log_temperature))[np.arange(len(labels)), labels]
        return float(-np.log(np.maximum(scores, 1e-30)).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-3, 4), method="bounded").x))


def real(logits: np.ndarray, labels: np.ndarray, n_validation: int) -> dict[str, Any]:
    """The promises over random splits: temperature and threshold from one part, errors on the other."""
    n = len(labels)
    size = int(n * SHARE)
    found: dict[str, Any] = {
        "rows": n,
        "calibration": size,
        "accuracy": float((logits.argmax(1) == labels).mean()),
    }
    results: dict[float, list[tuple[float, float, float]]] = {promise: [] for promise in PROMISES}
    for seed in range(SPLITS):
        order = np.random.default_rng(seed).permutation(n)
        fit, rest = order[:size], order[size:]
        scores = softmax(logits / with_temperature(logits[fit], labels[fit]))
        confidence, right = scores.max(1).astype(np.float32), scores.argmax(1) == labels
        for promise in PROMISES:
            threshold = keep_promise(
                JudgedAnswers(confidence[fit].astype(np.float64), right[fit]), promise
            ).threshold
            given = confidence >= (np.inf if threshold is None else threshold)
            results[promise].append(
                (given[rest].mean(), _error(right, given, rest), _error(right, given, order))
            )
    own = np.split(np.arange(n), [n_validation])
    for promise, rows in results.items():
        coverage, error, whole = np.array(rows).T
        found[f"{promise:g}"] = {
            "kept": float((error <= promise).mean()),
            "kept_in_all_rows": float((whole <= promise).mean()),
            "coverage": float(coverage.mean()),
            "coverage_low": float(np.quantile(coverage, 0.05)),
            "coverage_high": float(np.quantile(coverage, 0.95)),
            "all_abstained": float((coverage == 0).mean()),
            "own": own_split(logits, labels, *own, promise),
            "error": float(error[coverage > 0].mean()) if (coverage > 0).any() else None,
        }
    return found


def own_split(
    logits: np.ndarray, labels: np.ndarray, fit: np.ndarray, rest: np.ndarray, promise: float
) -> dict[str, float]:
    """Coverage and errors on the test rows, with temperature and threshold from the run's own validation rows."""
    scores = softmax(logits / with_temperature(logits[fit], labels[fit]))
    confidence, right = scores.max(1), scores.argmax(1) == labels
    threshold = keep_promise(JudgedAnswers(confidence[fit], right[fit]), promise).threshold
    given = confidence >= (np.inf if threshold is None else threshold)
    return {"coverage": float(given[rest].mean()), "error": _error(right, given, rest)}


def _error(right: np.ndarray, given: np.ndarray, rows: np.ndarray) -> float:
    chosen = rows[given[rows]]
    return float((~right[chosen]).mean()) if len(chosen) else 0.0


def measure_sets(logits: np.ndarray, labels: np.ndarray, coverage: float) -> dict[str, Any]:
    """Coverage and size of three kinds of sets, over random splits."""
    sets = TASKS.get("text-classification").sets
    assert sets is not None
    n = len(labels)
    size = int(n * SHARE)
    found: dict[str, list[tuple[float, float]]] = {"least ambiguous": [], "APS": [], "RAPS": []}
    for seed in range(50):
        order = np.random.default_rng(seed).permutation(n)
        fit, rest = order[:size], order[size:]
        scores = softmax(logits / with_temperature(logits[fit], labels[fit]))
        most = prediction_sets.limit(prediction_sets.strangeness(sets, scores[fit], labels[fit]), coverage)
        held = prediction_sets.holds(sets, scores[rest], most)
        found["least ambiguous"].append(_set_figures(held, labels[rest]))
        for name, penalty in (("APS", 0.0), ("RAPS", 0.05)):
            mass = _adaptive(scores, penalty)
            limit = prediction_sets.limit(mass[fit, labels[fit]], coverage)
            inside = mass[rest] <= limit
            inside[np.arange(len(rest)), scores[rest].argmax(1)] = True
            found[name].append(_set_figures(inside, labels[rest]))
    return {
        name: dict(zip(("coverage", "size"), np.mean(rows, 0).tolist(), strict=True))
        for name, rows in found.items()
    }


def _adaptive(scores: np.ndarray, penalty: float) -> np.ndarray:
    """The mass down to each label, with a penalty for each label after the second; not randomised."""
    order = np.argsort(-scores, axis=1)
    mass = np.cumsum(np.take_along_axis(scores, order, 1), 1) + penalty * np.maximum(
        np.arange(scores.shape[1]) - 1, 0
    )
    found = np.empty_like(mass)
    np.put_along_axis(found, order, mass, 1)
    return found


def _set_figures(held: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    return float(held[np.arange(len(held)), labels].mean()), float(held.sum(1).mean())


def logits_of(run: Path, keep: Path | None) -> tuple[np.ndarray, np.ndarray, int]:
    """Logits and labels of the validation rows and the test rows, and the number of validation rows."""
    file = None if keep is None else keep / f"{run.name}.npz"
    if file is not None and file.is_file():
        known = np.load(file)
        return known["logits"], known["labels"], int(known["validation"])
    from tunesmith.data.preparing import prepare
    from tunesmith.inference.predictor import Predictor
    from tunesmith.run import Run

    predictor = Predictor.from_run(run)
    splits = prepare(predictor.task, Run.open(run).recipe()).splits
    parts = [predictor.score(splits[name]) for name in ("validation", "test")]
    logits = np.concatenate([part.outputs for part in parts])
    labels = np.concatenate([part.encoded.dense["labels"] for part in parts])
    if file is not None:
        np.savez(file, logits=logits, labels=labels, validation=len(parts[0].outputs))
    return logits, labels, len(parts[0].outputs)


def percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def table(header: str, rows: list[list[str]]) -> Iterator[str]:
    names = header.split(" | ")
    yield f"| {header} |"
    yield "|---|" + "--:|" * (len(names) - 1)
    yield from (f"| {' | '.join(row)} |" for row in rows)


def page(found: dict[str, Any]) -> Iterator[str]:
    yield """# Promises, kept and broken

`python benchmarks/trust_abstention.py RUN…` writes this page. A promise is that of all answers that are given, at
most so many are wrong; it may be broken in one of twenty data sets ([how it works](../docs/trust.md)).

## Simulated answers
"""
    yield f"{found['sets']:,} data sets each. The true share of errors beyond the threshold is known.\n"
    yield "In the last six rows, the same answers have chosen the best of eight equally good models before, as a"
    yield "training chooses its best step. The tests are stricter for this; without it, 93.7 % were the least.\n"
    yield from table("answers | rows | promise | kept | mean coverage", [
        [row["name"], f"{row['rows']:,}", *(percent(row[key]) for key in ("promise", "kept", "coverage"))]
        for row in found["simulated"]
    ])  # fmt: skip
    yield f"""
## Real answers

Validation and test rows of each run together, split at random {SPLITS} times. Temperature and threshold come
from the first part, a third of the rows; coverage and errors from the rest. "Kept" is the share of splits in
which no more answers on the rest were wrong. The rest is a sample, too, so it can have more errors by chance;
"kept, all rows" counts the errors on all rows. "Own split" is what a run's report shows: the threshold from its
validation rows, coverage and errors on its test rows.
"""
    yield from table(
        "run | accuracy | rows for the threshold | promise | kept | kept, all rows | mean coverage | "
        "5th to 95th percentile | errors | everything abstained | coverage, own split | errors, own split",
        [_row(name, run, promise) for name, run in found["real"].items() for promise in PROMISES],
    )
    yield """
## Prediction sets

The same rows, 50 splits, a coverage of 95 %. Ours are the least ambiguous sets (Sadinle et al. 2019). The adaptive
ones are not randomised here (APS: Romano et al. 2020; RAPS: Angelopoulos et al. 2021, penalty 0.05 from the third
label).
"""
    yield from table("run | sets | coverage | mean labels", [
        [name, kind, percent(row["coverage"]), f"{row['size']:.2f}"]
        for name, kinds in found["prediction_sets"].items()
        for kind, row in kinds.items()
    ])  # fmt: skip


def _row(name: str, run: dict[str, Any], promise: float) -> list[str]:
    row = run[f"{promise:g}"]
    return [
        name,
        percent(run["accuracy"]),
        f"{run['calibration']:,}",
        percent(promise),
        percent(row["kept"]),
        percent(row["kept_in_all_rows"]),
        percent(row["coverage"]),
        f"{percent(row['coverage_low'])} to {percent(row['coverage_high'])}",
        "–" if row["error"] is None else percent(row["error"]),
        percent(row["all_abstained"]),
        percent(row["own"]["coverage"]),
        percent(row["own"]["error"]) if row["own"]["coverage"] else "–",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="*", type=Path)
    parser.add_argument("--sets", type=int, default=1000)
    parser.add_argument("--keep", type=Path)
    asked = parser.parse_args()
    simulated = [
        {"name": name, "rows": n, "promise": promise, **simulate(draw, n, promise, asked.sets)}
        for name, draw in SIMULATIONS.items()
        for n in (400, 1000)
        for promise in PROMISES
    ]
    simulated += [
        {
            "name": "the best of eight models",
            "rows": n,
            "promise": promise,
            **simulate_choice(n, promise, asked.sets),
        }
        for n in (400, 1000)
        for promise in PROMISES
    ]
    rows = {run.name: logits_of(run, asked.keep) for run in asked.runs}
    found = {
        "sets": asked.sets,
        "simulated": simulated,
        "real": {name: real(*known) for name, known in rows.items()},
        "prediction_sets": {name: measure_sets(*known[:2], 0.95) for name, known in rows.items()},
    }
    (HERE / "results" / f"trust-abstention-{date.today()}.json").write_text(
        json.dumps(found, indent=1) + "\n"
    )
    (HERE / "trust-abstention.md").write_text("\n".join(page(found)) + "\n")


if __name__ == "__main__":
    main()
