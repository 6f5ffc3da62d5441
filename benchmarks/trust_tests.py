"""How often the paired tests reject when two models are equally good: `python benchmarks/trust_tests.py`.

McNemar's test exactly, for every number of rows that differ, and by 10,000 simulations; the permutation test by
simulations of models that are equally good by construction, some of which err in different ways. About four
minutes on one core; `--sets 200` is a quick look. Writes `benchmarks/trust-tests.md` and
`benchmarks/results/trust-tests-DATE.json`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse, stats

from tunesmith.evaluation.clusters import add_up
from tunesmith.evaluation.significance import mcnemar, permutation
from tunesmith.metrics import classification, language_modelling, overlap, regression

HERE = Path(__file__).parent
LEVEL = 0.05
DISCORDANT = (5, 10, 16, 20, 30, 50, 53, 60, 75, 100, 200, 500)
SIZES = (30, 50, 100, 400)
FLIPS = 499

Pair = tuple[Any, Any]
Draw = Callable[[np.random.Generator, int], Pair]
Formula = Callable[[Any], Any]


@cache
def exact_p(fewer: int, n: int) -> float:
    """The exact two-sided p-value of the sign test."""
    return min(1.0, 2 * float(stats.binom.cdf(fewer, n, 0.5)))


@cache
def mid_p(fewer: int, n: int) -> float:
    """The mid-p value of the sign test."""
    if 2 * fewer == n:
        return 1.0
    return exact_p(fewer, n) - float(stats.binom.pmf(fewer, n, 0.5))


@cache
def our_p(fewer: int, n: int) -> float:
    """The p-value that is used."""
    return mcnemar(fewer, n - fewer).p


TESTS = {"exact": exact_p, "mid-p": mid_p, "used": our_p}


def exact_level(p_of: Callable[[int, int], float], n: int) -> float:
    """The probability that a test rejects, for n rows that differ."""
    fewer = [k for k in range(n // 2 + 1) if p_of(k, n) <= LEVEL]
    return 2 * float(stats.binom.cdf(max(fewer), n, 0.5)) if fewer else 0.0


def simulated_level(p_of: Callable[[int, int], float], drawn: np.ndarray, n: np.ndarray) -> float:
    """The share of simulated data sets that a test rejects."""
    fewer = np.minimum(drawn, n - drawn)
    return float(
        np.mean([count > 0 and p_of(int(k), int(count)) <= LEVEL for k, count in zip(fewer, n, strict=True)])
    )


def measure_mcnemar(sets: int) -> list[dict[str, Any]]:
    """Levels with a fixed number of rows that differ, and with one that varies as in a test set of 1,000 rows."""
    rng, rows = np.random.default_rng(0), []
    for n in DISCORDANT:
        fixed = np.full(sets, n)
        varying = rng.binomial(1000, n / 1000, sets)
        drawn = {
            "fixed": (rng.binomial(n, 0.5, sets), fixed),
            "varying": (rng.binomial(varying, 0.5), varying),
        }
        rows.append({
            "discordant": n,
            **{f"{name}, exactly": exact_level(p_of, n) for name, p_of in TESTS.items()},
            **{
                f"{name}, {kind}": simulated_level(p_of, *drawn[kind])
                for name, p_of in TESTS.items()
                for kind in drawn
            },
        })  # fmt: skip
    return rows


def extremes() -> dict[str, dict[str, float]]:
    """The greatest level for 1 to 1,000 rows that differ, and the smallest from 50 on."""
    found = {}
    for name, p_of in TESTS.items():
        levels = np.array([exact_level(p_of, n) for n in range(1, 1001)])
        found[name] = {"greatest": float(levels.max()), "smallest from 50": float(levels[49:].min())}
    return found


def alike_labels(rng: np.random.Generator, n: int) -> Pair:
    """Two models that err alike on five labels, of which two are rare."""
    share = np.array([0.5, 0.3, 0.1, 0.07, 0.03])
    gold, is_easy = rng.choice(5, n, p=share), rng.random(n) < 0.75
    answers = [np.where(is_easy | (rng.random(n) > 0.35), gold, rng.choice(5, n, p=share)) for _ in range(2)]
    return tuple(classification.statistics(gold, answer, 5) for answer in answers)  # type: ignore[return-value]


def opposite_labels(rng: np.random.Generator, n: int) -> Pair:
    """One model errs only on the first of two labels, the other only on the second."""
    gold, misses = rng.integers(0, 2, n), rng.random((2, n)) < 0.3
    answers = [np.where((gold == label) & misses[label], 1 - gold, gold) for label in (0, 1)]
    return tuple(classification.statistics(gold, answer, 2) for answer in answers)  # type: ignore[return-value]


def unlike_entities(rng: np.random.Generator, n: int) -> Pair:
    """One model misses half of the entities, the other invents as many as make up for it: F1 of 2/3 both."""
    true = rng.poisson(1.5, n)
    few, many = rng.binomial(true, 0.5), rng.binomial(true, 0.9)
    invented = many + rng.poisson(1.2, n)
    return np.stack([true, few, few], 1).astype(float), np.stack([true, invented, many], 1).astype(float)


def unlike_numbers(rng: np.random.Generator, n: int) -> Pair:
    """Predicted numbers on two scales, with errors of two shapes and one correlation."""
    x = rng.normal(size=n)
    errors = rng.normal(size=n), rng.exponential(1, n) - 1
    return regression.statistics(x, x + 0.8 * errors[0]), regression.statistics(x, 3 * (x + 0.8 * errors[1]))


def unlike_losses(rng: np.random.Generator, n: int) -> Pair:
    """Losses a token of texts of 5 to 200 tokens, with errors of two shapes and one mean."""
    tokens, loss = rng.integers(5, 200, n).astype(float), rng.gamma(4, 0.5, n)
    return (
        language_modelling.statistics(tokens * (loss + rng.normal(0, 0.1, n)), tokens),
        language_modelling.statistics(tokens * (loss + rng.exponential(0.6, n) - 0.6), tokens),
    )


WORDS = [
    "the",
    "cat",
    "sat",
    "on",
    "a",
    "mat",
    "while",
    "dogs",
    "ran",
    "over",
    "green",
    "hills",
    "and",
    "birds",
]


@cache
def pool_of_texts() -> Pair:
    """Texts in which either model replaces words at random."""
    rng = np.random.default_rng(0)
    true = [list(rng.choice(WORDS, rng.integers(4, 12))) for _ in range(5_000)]
    written = [
        [" ".join(w if rng.random() > 0.3 else rng.choice(WORDS) for w in text) for text in true]
        for _ in range(2)
    ]
    golds = [[" ".join(text)] for text in true]
    return tuple(overlap.statistics(texts, golds, ("chrf",)) for texts in written)  # type: ignore[return-value]


def alike_texts(rng: np.random.Generator, n: int) -> Pair:
    """Some of the texts, each with the models in a random order."""
    rows, is_swapped = rng.integers(0, 5_000, n), (rng.random(n) < 0.5)[:, None]
    first, second = (one[rows] for one in pool_of_texts())
    return np.where(is_swapped, second, first), np.where(is_swapped, first, second)


def grouped_answers(rng: np.random.Generator, n: int) -> Pair:
    """Right and wrong answers in groups of 1 to 8 rows, which a model mostly has right or wrong together."""
    sizes = rng.integers(1, 9, n)
    members = np.repeat(np.arange(n), sizes)
    found = []
    for _ in range(2):
        right = np.where(
            rng.random(len(members)) < 0.8, rng.random(n)[members] < 0.7, rng.random(len(members)) < 0.7
        )
        found.append(add_up(np.stack([np.ones(len(members)), right], 1).astype(float), members))
    return tuple(found)  # type: ignore[return-value]


def entity_f1(sums: Any) -> Any:
    """F1 from sums [..., (true, predicted, right)]."""
    return 2 * sums[..., 2] / np.maximum(sums[..., 0] + sums[..., 1], 1)


def part(values: Any, name: str) -> Any:
    """One metric of a formula."""
    return np.asarray(values[name])


CELLS: dict[str, tuple[Draw, Formula]] = {
    "macro F1, rare labels, alike": (alike_labels, lambda s: part(classification.formula(s), "f1_macro")),
    "macro F1, opposite errors": (opposite_labels, lambda s: part(classification.formula(s), "f1_macro")),
    "entity F1, one misses, one invents": (unlike_entities, entity_f1),
    "Pearson, two scales and shapes": (unlike_numbers, lambda s: part(regression.formula(s), "pearson")),
    "loss, two shapes": (unlike_losses, lambda s: part(language_modelling.formula(s), "loss")),
    "chrF, alike": (alike_texts, lambda s: part(overlap.formula(s, ("chrf",)), "chrf")),
    "accuracy in groups": (grouped_answers, lambda s: s[..., 1] / np.maximum(s[..., 0], 1)),
}  # fmt: skip


def measure_permutation(sets: int) -> list[dict[str, Any]]:
    """The level of the permutation test in each situation, by the number of rows or groups."""
    rows = []
    for name, (draw, formula) in CELLS.items():
        found: dict[str, Any] = {"situation": name}
        for n in SIZES:
            rng = np.random.default_rng(n)
            p_values = [
                permutation(*_dense(draw(rng, n)), formula, number, FLIPS).p for number in range(sets)
            ]
            found[str(n)] = float(np.mean(np.array(p_values) <= LEVEL))
            print(name, n, found[str(n)], flush=True)
        rows.append(found)
    return rows


def _dense(pair: Pair) -> Pair:
    return tuple(one.toarray() if sparse.issparse(one) else one for one in pair)  # type: ignore[return-value]


def percent(value: float) -> str:
    """A level for the tables."""
    return f"{100 * value:.1f} %"


def page(result: dict[str, Any]) -> str:
    """The page with both tables."""
    keys = [f"{name}, {kind}" for kind in ("fixed", "varying") for name in TESTS]
    keys.insert(3, "used, exactly")
    titles = [key.replace(", fixed", "").replace(", varying", ", number varies") for key in keys]
    sets, noise = result["sets_permutation"], np.sqrt(LEVEL * (1 - LEVEL) / result["sets_permutation"])
    return PAGE.format(
        date=result["date"],
        sets=f"{result['sets']:,}",
        mcnemar=table(
            ["rows that differ", *titles],
            [[str(row["discordant"]), *(percent(row[key]) for key in keys)] for row in result["mcnemar"]],
        ),
        extremes=table(
            ["test", "greatest level", "smallest level from 50 rows on"],
            [
                [name, percent(found["greatest"]), f"{100 * found['smallest from 50']:.2f} %"]
                for name, found in result["extremes"].items()
            ],
        ),
        permutation_sets=f"{sets:,}",
        flips=FLIPS,
        noise=f"{200 * noise:.1f}",
        permutation=table(
            ["situation", *map(str, SIZES)],
            [[row["situation"], *(percent(row[str(n)]) for n in SIZES)] for row in result["permutation"]],
        ),
    )


def table(header: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown, numbers to the right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


PAGE = """# Levels of the paired tests

Measured on {date} by `python benchmarks/trust_tests.py`. Two models are equally good by construction; the tables
have the share of data sets in which a test at 5 % says that they differ. A test with a share far above 5 %
cannot be trusted; one with a share far below 5 % misses real differences.

## Right and wrong answers: McNemar's test

By the number of rows that only one of both models has right: {sets} simulations with just this number, the same
exactly from binomial probabilities, and simulations in which the number varies around it, as it does in test
sets of 1,000 rows. `used` is the mid-p value, but at least the exact p-value divided by 1.08.

{mcnemar}

Over every number from 1 to 1,000, computed exactly:

{extremes}

The exact test is too cautious for some numbers of rows, and mid-p is above 5.6 % for others.

## Other metrics, and rows in groups: the permutation test

{permutation_sets} simulated data sets a cell, {flips} permutations each, by the number of rows (of groups in the
last line). With this number of sets, a measured level is within {noise} points of the true one in 95 of 100
cells.

{permutation}

Where the models err in different ways, no test of a few rows is exact. The difference is reduced for that (see
`src/tunesmith/evaluation/significance.py`); with 30 rows and rare labels, the test is then too cautious.
"""


def main() -> None:
    """Measures both tests, and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=10_000)
    parser.add_argument("--permutation-sets", type=int, default=4_000)
    options = parser.parse_args()
    result = {
        "date": date.today().isoformat(),
        "sets": options.sets,
        "sets_permutation": options.permutation_sets,
        "mcnemar": measure_mcnemar(options.sets),
        "extremes": extremes(),
        "permutation": measure_permutation(options.permutation_sets),
    }
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / f"trust-tests-{result['date']}.json").write_text(json.dumps(result, indent=2) + "\n")
    (HERE / "trust-tests.md").write_text(page(result))


if __name__ == "__main__":
    main()
