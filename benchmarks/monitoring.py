"""False alarms, power, and accuracy without labels of `monitor`: `python benchmarks/monitoring.py DATA SCRATCH`.

DATA is the folder of amazon_domains: reviews of books, DVDs, electronics and kitchen goods, and tweets about
airlines. Each text is embedded once with the frozen default encoder; SCRATCH keeps the vectors. A head is fitted
on 600 reviews of a domain and calibrated on 100, with the functions of `--method probe`; 500 are held out.

Parts, each of which can be run alone with `--only`:

    months     200 months of 30 windows of 500 rows, all drawn from the reference distribution: how many alarm
    power      windows of which 25 % or 10 % come from another domain: how many alarm
    replay     a domain, then another one: after how many windows there is an alarm
    accuracy   the estimated accuracy on another domain, against the real one
    peers      what Evidently's default text drift says of windows of `power`: texts in SCRATCH, read by
               `benchmarks/_monitoring_peer.py` in an environment of its own

Writes `benchmarks/monitoring.md` and `benchmarks/results/monitoring-DATE.json`.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections.abc import Iterator, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np

from tunesmith.encoded import Encoded, Ragged
from tunesmith.inference.scope import Scope
from tunesmith.metrics import METRICS
from tunesmith.monitoring.observed import Observed
from tunesmith.monitoring.reading import with_texts
from tunesmith.monitoring.reference import Reference
from tunesmith.monitoring.statistics import Compared, NotMeasurable, estimated_accuracy
from tunesmith.monitoring.statistics.estimated_accuracy import estimates
from tunesmith.monitoring.texts import Vocabulary
from tunesmith.monitoring.watching import HORIZON, guarantee, statistics, watch
from tunesmith.tasks import TASKS, EvalPredictions, point_scores
from tunesmith.training.calibration import Question, choose_scaling
from tunesmith.training.probe import fit_probe, probe_answers

HERE = Path(__file__).parent
DOMAINS = ("books", "dvd", "electronics", "kitchen")
OTHERS = (*DOMAINS, "airline")
N_TRAIN, N_VALIDATION, WINDOW = 600, 100, 500
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
TASK, SCHEMA = TASKS.get("text-classification"), {"labels": ["0", "1"]}
estimated_accuracy._RESAMPLES = 1  # its interval is not read here, and takes half of the time
PARTS = ("months", "power", "replay", "accuracy", "peers")


# ---- rows ----


class Domain:
    """The rows of a domain in a random order, with their vectors.

    Args:
        data: folder of amazon_domains.
        scratch: folder of the vectors.
        name: of the domain.
    """

    def __init__(self, data: Path, scratch: Path, name: str) -> None:
        csv.field_size_limit(10**9)
        with (data / f"{name}.csv").open(newline="", encoding="utf-8") as handle:
            rows = list(csv.DictReader(handle))
        order = np.random.default_rng(13).permutation(len(rows))
        self.texts = [rows[i]["text"] for i in order]
        self.labels = np.array([int(rows[i]["label"]) for i in order])
        file = scratch / f"{name}.npy"
        if not file.is_file():
            from tunesmith.inference.embedding import open_embedder

            np.save(file, open_embedder(MODEL)(self.texts))
        self.vectors = np.load(file)


def encoded(labels: np.ndarray) -> Encoded:
    """Sequences of which only the labels are read."""
    return Encoded.of({"input_ids": [[0]] * len(labels)}, {"labels": labels})


class Model:
    """A head as a probe fits it, and its reference.

    Args:
        domains: rows of all domains.
        name: the domain that it is trained on.
    """

    def __init__(self, domains: dict[str, Domain], name: str) -> None:
        own = domains[name]
        train = slice(0, N_TRAIN)
        validation = slice(N_TRAIN, N_TRAIN + N_VALIDATION)
        shown = EvalPredictions({}, encoded(own.labels[validation]))
        self.head = fit_probe(
            TASK, SCHEMA, (own.vectors[train], encoded(own.labels[train])), (own.vectors[validation], shown)
        )
        answered = probe_answers(self.head, own.vectors[validation], shown)
        question = Question(TASK.calibration, answered, SCHEMA, None, 42, True, _scores)
        self.scaling = choose_scaling(question, "auto").scaling
        self.vocabulary = Vocabulary.of(own.texts[train])
        self.scope = Scope.fit(own.vectors[train], own.vectors[validation])
        self.rows = {other: self._observed(domain) for other, domain in domains.items()}
        self.held_out = self.rows[name].take(np.arange(N_TRAIN + N_VALIDATION, len(own.labels)))

    def _observed(self, domain: Domain) -> Observed:
        logits = self.scaling(self.head.logits(domain.vectors).astype(np.float64))
        probabilities = np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))
        answers = probabilities.argmax(1)
        numbers = {
            "score": probabilities.max(1),
            "correct": (answers == domain.labels).astype(np.float64),
            "gold": domain.labels.astype(np.float64),
            "tokens": np.array([float(len(text.split())) for text in domain.texts]),
            "out_of_scope": (self.scope.scores(domain.vectors) > 1).astype(np.float64),
        }
        rows = Observed(
            len(answers), numbers, domain.vectors, answers=Ragged.of([[a] for a in answers]),
            names=[str(i) for i in range(len(answers))],
        )  # fmt: skip
        return with_texts(rows, domain.texts, self.vocabulary)

    def reference(self, rows: Observed) -> Reference:
        """The reference with some rows."""
        return Reference(rows, ("0", "1"), self.vocabulary, TASK.name, "test")


def _scores(rows: EvalPredictions) -> dict[str, float]:
    found = point_scores(TASK, rows, SCHEMA)
    return {name: v if METRICS.get(name).greater_is_better else -v for name, v in found.items()}


def unlabelled(rows: Observed) -> Observed:
    """Rows as they come: nobody has said what is right."""
    known = {name: values for name, values in rows.numbers.items() if name not in ("correct", "gold")}
    return Observed(
        rows.n, known, rows.vectors, rows.words, rows.answers, rows.languages, rows.texts, rows.names
    )


def drawn(rows: Observed, n: int, rng: np.random.Generator) -> Observed:
    """Rows drawn with replacement: independent rows of the distribution that these rows are."""
    return rows.take(rng.integers(len(rows), size=n))


# ---- parts ----


def tested(reference: Reference, window: Observed, level: float) -> dict[str, float]:
    """The p-value of every statistic that can alarm."""
    compared = Compared(reference, window, (), level, 42)
    found = {}
    for name, statistic in statistics().items():
        try:
            p = statistic.measure(compared).p if statistic.tested else None
        except NotMeasurable:
            continue
        if p is not None:
            found[name] = p
    return found


def months(models: dict[str, Model], how: argparse.Namespace) -> dict[str, Any]:
    """Months without drift; reference and windows are drawn from the same rows."""
    model, level = models["books"], guarantee().level
    pool = unlabelled(model.held_out)
    labelled = model.held_out
    alarmed: list[dict[str, Any]] = []
    counts: dict[str, int] = {}
    n_tested: dict[str, int] = {}
    began = time.time()
    for month in range(how.first, how.months):
        rng = np.random.default_rng([1, month])
        reference = model.reference(drawn(labelled, WINDOW, rng))
        alarms = []
        for number in range(HORIZON):
            for name, p in tested(reference, drawn(pool, WINDOW, rng), level).items():
                n_tested[name] = n_tested.get(name, 0) + 1
                if p <= level:
                    alarms.append((number + 1, name))
                    counts[name] = counts.get(name, 0) + 1
        if alarms:
            alarmed.append({"month": month, "alarms": alarms})
        line = {"month": month, "alarms": alarms, "tested": n_tested}
        with (how.scratch / f"months-{how.first}.jsonl").open("a") as handle:
            handle.write(json.dumps(line) + "\n")
        print(f"month {month + 1}: {len(alarmed)} with an alarm, {time.time() - began:.0f} s", flush=True)
    return {
        "months": how.months, "with_an_alarm": len(alarmed), "alarms": counts, "tested": n_tested, "level": level,
        "which": alarmed, "seconds": time.time() - began,
    }  # fmt: skip


def power(models: dict[str, Model], how: argparse.Namespace) -> dict[str, Any]:
    """Windows of which a part comes from another domain."""
    model, level = models["books"], guarantee().level
    found: dict[str, Any] = {}
    for other in OTHERS[1:]:
        for share in (0.25, 0.1):
            windows = list(contaminated(model, other, share, how.windows))
            hits: dict[str, int] = {}
            n_alarmed = 0
            for reference, window in windows:
                names = [name for name, p in tested(reference, window, level).items() if p <= level]
                n_alarmed += bool(names)
                for name in names:
                    hits[name] = hits.get(name, 0) + 1
            found[f"{other} {share:.0%}"] = {"windows": len(windows), "alarms": n_alarmed, "by": hits}
            print("power", other, share, n_alarmed, len(windows), hits, flush=True)
    return found


def contaminated(model: Model, other: str, share: float, n: int) -> Iterator[tuple[Reference, Observed]]:
    """References and windows, drawn independently from the held-out reviews of books and another domain."""
    strange = unlabelled(model.rows[other])
    for number in range(n):
        rng = np.random.default_rng([2, number, OTHERS.index(other)])
        reference = model.reference(drawn(model.held_out, WINDOW, rng))
        n_strange = round(share * WINDOW)
        parts = [drawn(unlabelled(model.held_out), WINDOW - n_strange, rng), drawn(strange, n_strange, rng)]
        yield reference, Observed.join(parts)


def replay(models: dict[str, Model], how: argparse.Namespace) -> dict[str, Any]:
    """One window of the own domain, then two of another; the reference has the other half of the held-out rows."""
    found: dict[str, Any] = {}
    half = (1200 - N_TRAIN - N_VALIDATION) // 2
    for one, other in permutations(DOMAINS, 2):
        model = models[one]
        order = np.random.default_rng(7).permutation(len(model.held_out))
        reference = model.reference(model.held_out.take(order[:half]))
        windows = [model.held_out.take(order[half : 2 * half])]
        windows += [model.rows[other].take(np.arange(a, a + half)) for a in (0, half)]
        result = watch(reference, [unlabelled(window) for window in windows])
        numbers = sorted({alarm["window"] for alarm in result["alarms"]})
        by = sorted({alarm["statistic"] for alarm in result["alarms"]})
        found[f"{one} to {other}"] = {"rows": half, "alarms_in": numbers, "by": by}
        print("replay", one, other, numbers, by, flush=True)
    return found


def accuracy(models: dict[str, Model], how: argparse.Namespace) -> dict[str, Any]:
    """The accuracy on 500 rows of another domain, estimated by the scores."""
    found: dict[str, Any] = {}
    for one, other in permutations(DOMAINS, 2):
        own, rows = models[one].held_out, models[one].rows[other].take(np.arange(WINDOW))
        real = float(rows.number("correct").mean())
        guesses = estimates(own.number("score"), own.number("correct"), rows.number("score"))
        found[f"{one} to {other}"] = {"real": real, "own": float(own.number("correct").mean()), **guesses}
    names = (
        "estimate",
        "average_confidence",
        "difference_of_confidences",
        "average_thresholded_confidence",
        "own",
    )
    errors = {name: float(np.mean([abs(it[name] - it["real"]) for it in found.values()])) for name in names}
    print("accuracy", errors, flush=True)
    return {"pairs": found, "mean_absolute_error": errors}


def main() -> None:
    """Runs the parts, and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("scratch", type=Path)
    parser.add_argument("--months", type=int, default=200)
    parser.add_argument(
        "--first", type=int, default=0, help="the first month, where several processes share them"
    )
    parser.add_argument("--windows", type=int, default=100)
    parser.add_argument("--only", nargs="*", default=PARTS, choices=PARTS)
    how = parser.parse_args()
    domains = {name: Domain(how.data, how.scratch, name) for name in OTHERS}
    models = {
        name: Model(domains, name)
        for name in (DOMAINS if {"replay", "accuracy"} & {*how.only} else ["books"])
    }
    known: Sequence[str] = [part for part in PARTS if part in how.only and part in globals()]
    for part in known:
        result = globals()[part](models, how)
        (how.scratch / f"{part}.json").write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
