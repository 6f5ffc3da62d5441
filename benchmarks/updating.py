"""Does `update` promote what is better, and nothing else? `python benchmarks/updating.py --data ../shared/data`.

Six parts, each by its name with `--only`; results of other parts stay:

    rule     simulated updates with pairs of real models whose true difference is known by construction
    cases    the same rule on new rows of other kinds
    domains  `tunesmith update` on a new domain: rows that help, shuffled labels, one that is hurt, no news
    log      texts of a new domain are served, people say what is right, and `update --log --watch` learns it
    months   twenty months of changing domains with labels for 5 % of the rows, against never and always updating
    intent   a new intent from 20 examples, from the champion and with replay

`rule`, `cases` and `months` take models of one kind: logistic regressions on vectors of the default model, which
are computed once and kept in `--scratch`. Writes `benchmarks/updating.md` and
`benchmarks/results/updating-DATE.json`.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import time
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from _update_from_log import log_page, update_from_log

HERE = Path(__file__).parent
DOMAINS = ("books", "dvd", "electronics", "kitchen")
POSITIVE = ("joy", "optimism")
_WORDS, _FEW_WORDS = 80, 40
Vectors = dict[str, tuple[Any, Any]]


def read_texts(data: Path) -> dict[str, list[tuple[str, int]]]:
    """The first words and the label of each row: reviews of four domains, and tweets as positive or negative."""
    found = {}
    for domain in DOMAINS:
        found[domain] = _rows(data / "amazon_domains" / f"{domain}.csv", lambda label: int(label))
    tweets = _rows(data / "tweet_emotion" / "train.csv", lambda label: int(label in POSITIVE))
    return {**found, "tweets": tweets[:2400]}


def _rows(path: Path, label: Any) -> list[tuple[str, int]]:
    with path.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    return [(" ".join(row["text"].split()[:_WORDS]) or ".", label(row["label"])) for row in rows]


def vectors(texts: dict[str, list[tuple[str, int]]], scratch: Path) -> Vectors:
    """Vectors of the default model, and the labels, by domain."""
    file = scratch / "features.npz"
    if not file.is_file():
        from tunesmith.inference.embedding import open_embedder

        embed = open_embedder("sentence-transformers/all-MiniLM-L6-v2")
        arrays = {}
        for domain, rows in texts.items():
            arrays[domain] = embed([text for text, _ in rows])
            arrays[f"{domain}_y"] = np.array([label for _, label in rows])
        np.savez(file, **arrays)
    with np.load(file) as kept:
        return {domain: (kept[domain], kept[f"{domain}_y"]) for domain in texts}


def fitted(x: Any, y: Any) -> Any:
    """A logistic regression on standardised vectors."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300)).fit(x, y)


def answered(right: Any, labels: Any) -> Any:
    """Rows of a classifier, of which some are right."""
    from tunesmith.evaluation.answered_rows import AnsweredRows
    from tunesmith.metrics import classification
    from tunesmith.tasks import TASKS

    statistics = classification.statistics(labels, np.where(right, labels, 1 - labels), 2)
    nothing = np.zeros(len(right), dtype=np.uint64)
    task = TASKS.get("text-classification")
    return AnsweredRows(task, {"labels": ["0", "1"]}, statistics, nothing, nothing.astype(bool))


# ---- rule ----


def simulate_rule(known: Vectors, n: int, margins: tuple[float, ...]) -> list[dict[str, Any]]:
    """How often the rule promotes, by the true difference of both models."""
    pool = _pool(known)
    scenarios = (
        ("as good on all rows", 0.0, 0.0, 0.0),
        ("2 points worse on all rows", -0.02, -0.02, 0.0),
        ("5 points better on new rows, 2 worse on old", 0.05, -0.02, 0.0),
        ("5 points better on new rows, 4 worse on old", 0.05, -0.04, 0.0),
        ("5 points better on new rows, as good on old", 0.05, 0.0, 0.0),
        ("8 points better on new rows, as good on old", 0.08, 0.0, 0.0),
        ("8 points better, one of 4 domains 12 points worse", 0.08, 0.0, -0.12),
    )
    found = []
    for margin in margins:
        for name, on_new, on_old, on_slice in scenarios:
            rng = np.random.default_rng(7)
            each = [_simulated(pool, rng, on_new, on_old, on_slice, margin) for _ in range(n)]
            failed = [condition for one in each for condition in one.failed]
            found.append({
                "scenario": name, "margin": margin, "updates": n, "promoted": sum(it.promote for it in each),
                "most_in_a_hundred": max(sum(it.promote for it in each[i : i + 100]) for i in range(0, n, 100)),
                "refused_by": {c: failed.count(c) for c in ("new_rows", "old_rows", "slices")},
            })  # fmt: skip
            print(found[-1], flush=True)
    return found


def _pool(known: Vectors) -> dict[str, Any]:
    """Rows with the answers of two real models of the same kind, each trained on other rows."""
    rng = np.random.default_rng(0)
    x, y = (np.concatenate([known[domain][i] for domain in known]) for i in (0, 1))
    domains = np.repeat(np.arange(len(known)), [len(known[domain][1]) for domain in known])
    order = rng.permutation(len(y))
    one, other, rest = order[:1500], order[1500:3000], order[3000:]
    right = [fitted(x[rows], y[rows]).predict(x[rest]) == y[rest] for rows in (one, other)]
    lengths = np.linalg.norm(x[rest], axis=1)
    return {"right": np.array(right), "labels": y[rest], "domains": domains[rest], "lengths": lengths}


def _simulated(
    pool: dict[str, Any], rng: Any, on_new: float, on_old: float, on_slice: float, margin: float
) -> Any:
    """The decision on 480 new and 960 old rows; which model gave an answer is drawn, so both are equally good."""
    from tunesmith.evaluation.candidate_slices import Slice
    from tunesmith.evaluation.promotion import Rule, decide

    rows = rng.choice(len(pool["labels"]), 1440, replace=False)
    champion, challenger = (pool["right"][i][rows].copy() for i in (0, 1))
    swap = rng.random(len(rows)) < 0.5
    champion[swap], challenger[swap] = challenger[swap], champion[swap]
    is_new, domains = np.arange(len(rows)) < 480, pool["domains"][rows]
    for mask, gain in ((is_new, on_new), (~is_new, on_old), (domains == 1, on_slice)):
        challenger = _changed(challenger, mask, gain, rng)
    edges = np.quantile(pool["lengths"][rows], (0.1, 0.25, 0.5, 0.75, 0.9))
    named = [("domain", domains == i) for i in range(4)]
    named += [("length", pool["lengths"][rows] > edge) for edge in edges]
    named += [("label", (pool["labels"][rows] == i) & ~is_new) for i in (0, 1)]
    slices = [Slice("column", name, mask) for name, mask in named]
    labels = pool["labels"][rows]
    return decide(
        answered(champion, labels), answered(challenger, labels), is_new, slices, Rule(margin=margin)
    )


def _changed(right: Any, mask: Any, gain: float, rng: Any) -> Any:
    """Answers that are right with a probability that is greater by the gain."""
    share = right[mask].mean()
    chance = gain / (1 - share) if gain > 0 else -gain / share
    flips = mask & (right == (gain < 0)) & (rng.random(len(right)) < chance)
    return right ^ flips


# ---- months ----


def simulate_months(known: Vectors, seeds: int) -> dict[str, Any]:
    """Twenty months of 500 rows, the domain changing each month, with labels for 25 rows of each."""
    each = [_months(known, seed) for seed in range(seeds)]
    policies = list(each[0])
    means = {
        policy: {key: round(float(np.mean([one[policy][key] for one in each])), 4) for key in each[0][policy]}
        for policy in policies
    }
    return {"seeds": seeds, "policies": means}


def _months(known: Vectors, seed: int) -> dict[str, dict[str, float]]:
    rng = np.random.default_rng(seed)
    split = {domain: rng.permutation(len(known[domain][1])) for domain in known}
    labelled = {domain: list(rows[: len(rows) // 2]) for domain, rows in split.items()}
    traffic = {domain: rows[len(rows) // 2 :] for domain, rows in split.items()}
    start = [("books", row) for row in labelled["books"][:500]]
    labelled["books"] = labelled["books"][500:]
    amazon = ("dvd", "electronics", "kitchen", "books")
    months = ["tweets" if m % 2 else amazon[(m // 2) % 4] for m in range(20)]
    served, feedback = [], []
    for domain in months:
        served.append([(domain, row) for row in rng.choice(traffic[domain], 500)])
        feedback.append([(domain, labelled[domain].pop()) for _ in range(25) if labelled[domain]])
    truth = [(domain, row) for domain in known for row in traffic[domain][:500]]
    return {
        policy: _live(known, start, served, feedback, truth, policy)
        for policy in ("never", "always", "update", "update_at_risk")
    }


def _take(known: Vectors, rows: list[tuple[str, int]]) -> tuple[Any, Any]:
    return tuple(np.array([known[domain][i][row] for domain, row in rows]) for i in (0, 1))  # type: ignore[return-value]


def _right(known: Vectors, model: Any, rows: list[tuple[str, int]]) -> Any:
    x, y = _take(known, rows)
    return model.predict(x) == y


def _live(
    known: Vectors, start: Any, served: Any, feedback: Any, truth: Any, policy: str
) -> dict[str, float]:
    """One policy, month by month."""
    began = time.perf_counter()
    train, old_test, pending = list(start[:250]), list(start[250:]), []
    champion = fitted(*_take(known, train))
    right, updates, mistakes, missed = [], 0, 0, 0
    for rows, told in zip(served, feedback, strict=True):
        right.append(_right(known, champion, rows).mean())
        pending += told
        if policy == "never":
            continue
        held = pending[::3] if "update" in policy else []
        learned = [row for row in pending if row not in held] if held else list(pending)
        challenger = fitted(*_take(known, [*train, *learned]))
        better = _right(known, challenger, truth).mean() - _right(known, champion, truth).mean()
        if policy == "always" or _is_promoted(known, champion, challenger, old_test, held, policy):
            champion, train, old_test, pending = challenger, [*train, *learned], [*old_test, *held], []
            updates += 1
            mistakes += better < 0
        else:
            missed += better > 0.02
    return {
        "mean_accuracy": float(np.mean(right)),
        "last_five_months": float(np.mean(right[-5:])),
        "final_accuracy": float(_right(known, champion, truth).mean()),
        "updates": updates,
        "mistakes": mistakes,
        "missed": missed,
        "seconds": time.perf_counter() - began,
    }


def _is_promoted(known: Vectors, champion: Any, challenger: Any, old: Any, new: Any, policy: str) -> bool:
    from tunesmith.evaluation.promotion import Rule, decide

    rule = Rule(risk=0.5) if policy == "update_at_risk" else Rule()
    rows = [*new, *old]
    _, labels = _take(known, rows)
    both = [answered(_right(known, model, rows), labels) for model in (champion, challenger)]
    return bool(decide(*both, np.arange(len(rows)) < len(new), (), rule).promote)


# ---- cases ----


def simulate_cases(known: Vectors) -> list[dict[str, Any]]:
    """The rule on new rows of other kinds, for a model of kitchen and electronics."""

    def rows(domain: str, first: int, last: int) -> list[tuple[str, int]]:
        order = np.random.default_rng(3).permutation(len(known[domain][1]))
        return [(domain, int(row)) for row in order[first:last]]

    rng = np.random.default_rng(0)
    old = [tuple(row) for row in [*rows("kitchen", 0, 1200), *rows("electronics", 0, 800)]]
    old = [old[i] for i in rng.permutation(len(old))]
    fresh, dvd = rows("electronics", 800, 1200), rows("dvd", 0, 1200)
    cases = {
        "dvd, which is new": (dvd[:800], ""),
        "more electronics, which is not new": (fresh, ""),
        "dvd, and electronics with wrong labels": ([*dvd, *fresh * 3], "electronics"),
    }
    return [_case(known, name, old, new, wrong, rng) for name, (new, wrong) in cases.items()]


def _case(known: Vectors, name: str, old: Any, new: Any, wrong: str, rng: Any) -> dict[str, Any]:
    from tunesmith.evaluation.candidate_slices import Slice
    from tunesmith.evaluation.promotion import decide

    def labels(rows: Any) -> Any:
        return np.array([known[domain][1][row] ^ int(domain == wrong) for domain, row in rows])

    new = [new[i] for i in rng.permutation(len(new))]
    held, learned, test, train = new[: len(new) * 2 // 5], new[len(new) * 2 // 5 :], old[:800], old[800:]
    champion = fitted(*_take(known, train))
    told = np.concatenate([_take(known, train)[1], labels(learned)])
    challenger = fitted(_take(known, [*train, *learned])[0], told)
    x, truth = _take(known, [*held, *test])[0], np.concatenate([labels(held), _take(known, test)[1]])
    is_new = np.arange(len(truth)) < len(held)
    domains = np.array([domain for domain, _ in [*held, *test]])
    slices = [Slice("column", f"of {domain}", domains == domain) for domain in DOMAINS]
    slices += [Slice("column", f"of {it.name[3:]}, old", it.rows & ~is_new) for it in slices]
    both = [answered(model.predict(x) == truth, truth) for model in (champion, challenger)]
    found = decide(*both, is_new, slices)
    return {"rows": name, "promote": found.promote, "failed": found.failed, "reasons": found.reasons}


# ---- real updates ----


def write_csv(path: Path, rows: list[tuple[str, int, str]]) -> str:
    """A file with columns `text`, `label` and `domain`."""
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(("text", "label", "domain"))
        writer.writerows(rows)
    return str(path)


def update_domains(texts: dict[str, list[tuple[str, int]]], scratch: Path) -> list[dict[str, Any]]:
    """`tunesmith.update` of a model of kitchen and electronics with rows of other kinds."""
    import tunesmith

    rng = np.random.default_rng(1)
    rows = {
        domain: [(" ".join(text.split()[:_FEW_WORDS]), label, domain) for text, label in texts[domain][:n]]
        for domain, n in (("kitchen", 1000), ("electronics", 1200), ("dvd", 800))
    }
    fresh = rows["electronics"][:700]
    old = write_csv(scratch / "old.csv", [*rows["kitchen"], *rows["electronics"][700:]])
    run = scratch / "runs" / "champion"
    if not (run / "metrics.json").is_file():
        tunesmith.train(
            old, label="label", text="text", test=0.4, validation=0.1, method="probe", output_dir=str(run),
            max_length=128, progress=False,
            overrides={"evaluate.slices": ["domain"], "evaluate.baselines": False, "data.check": "off"},
        )  # fmt: skip
    labels = rng.permutation([label for _, label, _ in rows["dvd"]])
    wrong = [(text, 1 - label, domain) for text, label, domain in fresh]
    cases = {
        "dvd, which is new": rows["dvd"],
        "dvd, its labels shuffled": [
            (text, int(label), d) for (text, _, d), label in zip(rows["dvd"], labels, strict=True)
        ],
        "dvd, and electronics with wrong labels": [*rows["dvd"], *wrong],
        "more electronics, which is not new": fresh,
    }
    found = []
    for number, (name, some) in enumerate(cases.items()):
        began, busy = time.perf_counter(), time.process_time()
        made = tunesmith.update(
            run, write_csv(scratch / f"new-{number}.csv", some), holdout=0.4, progress=False,
            output_dir=scratch / "runs" / f"update-{number}",
        )  # fmt: skip
        found.append({
            "rows": name, "decision": made["decision"], "failed": made.get("failed"), "reasons": made["reasons"],
            "new": _figures(made, "new"), "old": _figures(made, "old"),
            "worse_slices": [it["name"] for it in made["tests"]["slices"] if it["outcome"] == "worse"],
            "seconds": round(time.perf_counter() - began, 1),
            "processor_s": round(time.process_time() - busy, 1),
        })  # fmt: skip
        print(json.dumps(found[-1]), flush=True)
    return found


def _figures(made: Any, kind: str) -> dict[str, Any]:
    tested = made["tests"][kind]
    return {key: tested[key] for key in ("rows", "champion", "challenger", "difference", "low", "high", "p")}


def update_intent(data: Path, scratch: Path, left_out: str, n_train: int) -> dict[str, Any]:
    """A new intent of snips from 20 examples, from the champion and with replay."""
    import tunesmith

    def lines(split: str) -> list[dict[str, str]]:
        with (data / "snips" / f"{split}.jsonl").open(encoding="utf-8") as handle:
            return [{"text": row["text"], "intent": row["intent"]} for row in map(json.loads, handle)]

    train, test = lines("train"), lines("test")
    known = [row for row in train if row["intent"] != left_out][:n_train]
    examples = [row for row in train if row["intent"] == left_out][:20]
    old_test = [row for row in test if row["intent"] != left_out]
    new_test = [row for row in test if row["intent"] == left_out]
    files = {}
    for name, rows in (("known", known), ("test", old_test), ("examples", examples)):
        files[name] = scratch / f"snips-{name}.jsonl"
        files[name].write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    run = scratch / "runs" / f"snips-{left_out}"
    if not (run / "metrics.json").is_file():
        tunesmith.train(
            str(files["known"]), label="intent", text="text", test=str(files["test"]), validation=0.1,
            method="full", output_dir=str(run), progress=False,
            overrides={"evaluate.baselines": False},
        )  # fmt: skip
    before = tunesmith.evaluate(run, str(files["test"]), progress=False)
    began, busy = time.perf_counter(), time.process_time()
    made = tunesmith.update(run, str(files["examples"]), start="champion", merge="replay", progress=False)
    seconds, busy = time.perf_counter() - began, time.process_time() - busy
    model = tunesmith.load(made["challenger"])
    given = [it["label"] for it in model([row["text"] for row in new_test])]
    old = [it["label"] for it in model([row["text"] for row in old_test])]
    was = before["primary"]
    return {
        "intent": left_out, "champion_rows": len(known), "seconds": round(seconds, 1),
        "processor_s": round(busy, 1), "decision": made["decision"], "reasons": made["reasons"],
        "rows": made["merge"]["rows"],
        "recall": float(np.mean([label == left_out for label in given])), "new_rows": len(new_test),
        "old_accuracy_before": was["value"], "old_rows_before": was["n"],
        "old_accuracy_after": float(np.mean([a == row["intent"] for a, row in zip(old, old_test, strict=True)])),
    }  # fmt: skip


PARTS = ("rule", "cases", "months", "domains", "log", "intent")


def main() -> None:
    """Measures what is asked for, and writes the results and the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data")
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--only", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument("--updates", type=int, default=1000, help="simulated updates of a scenario")
    parser.add_argument("--seeds", type=int, default=20, help="histories of twenty months")
    parser.add_argument("--intents", nargs="*", default=["GetWeather"])
    parser.add_argument("--intent-rows", type=int, default=1500, help="rows of the champion of intents")
    arguments = parser.parse_args()
    arguments.scratch.mkdir(parents=True, exist_ok=True)
    file = HERE / "results" / f"updating-{date.today().isoformat()}.json"
    result = json.loads(file.read_text()) if file.is_file() else {}
    texts = read_texts(arguments.data)
    for part in arguments.only:
        began = time.perf_counter()
        result[part] = _measured(part, texts, arguments)
        result.setdefault("part_seconds", {})[part] = round(time.perf_counter() - began, 1)
        file.write_text(json.dumps(result, indent=2) + "\n")
    (HERE / "updating.md").write_text(page(result))


def _measured(part: str, texts: dict[str, list[tuple[str, int]]], arguments: argparse.Namespace) -> Any:
    if part == "domains":
        return update_domains(texts, arguments.scratch)
    if part == "log":
        rows = [(" ".join(text.split()[:_FEW_WORDS]), label) for text, label in texts["dvd"][:800]]
        return update_from_log(arguments.scratch / "runs" / "champion", rows, arguments.scratch)
    if part == "intent":
        how = (arguments.data, arguments.scratch)
        return [update_intent(*how, intent, arguments.intent_rows) for intent in arguments.intents]
    known = vectors(texts, arguments.scratch)
    if part == "rule":
        return simulate_rule(known, arguments.updates, (0.02,))
    return simulate_cases(known) if part == "cases" else simulate_months(known, arguments.seeds)


# ---- the page ----


def page(result: dict[str, Any]) -> str:
    """The page from the results."""
    sections = {
        "rule": _rule_page,
        "cases": _cases_page,
        "domains": _domains_page,
        "log": log_page,
        "months": _months_page,
        "intent": _intent_page,
    }
    made = [show(result[part]) for part, show in sections.items() if part in result]
    return "\n".join(["# Updates: what is promoted, and what is not\n", _HEAD, *made])


_HEAD = f"""Made by `python benchmarks/updating.py` on {date.today().isoformat()}, on one core of a shared machine:
times are rough.
"""


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _rule_page(found: list[dict[str, Any]]) -> str:
    rows = [
        [it["scenario"], f"{100 * it['margin']:g} points", f"{it['updates']:,}",
         f"{it['promoted'] / it['updates']:.1%}", str(it["most_in_a_hundred"]),
         *(f"{n / it['updates']:.0%}" for n in it["refused_by"].values())]
        for it in found
    ]  # fmt: skip
    header = ["the challenger is, in truth", "margin", "updates", "promoted", "most in any hundred",
              "refused: new rows", "old rows", "a slice"]  # fmt: skip
    return f"""## The rule, where the truth is known

480 new and 960 old rows in each update, drawn from answers of two real models (logistic regressions on vectors of
the default model, four domains of reviews and tweets, trained on different rows). Which of both answers is the
challenger's is drawn for each row, so both are equally good; then answers are made right or wrong at random until
the difference is as stated. Eleven slices: domains, lengths, labels of old rows. The margin is that of the old
rows.

{_table(header, rows)}"""


def _cases_page(found: list[dict[str, Any]]) -> str:
    rows = [
        [it["rows"], "promoted" if it["promote"] else "refused", "; ".join(it["reasons"])] for it in found
    ]
    return f"""## New rows of other kinds, with the same kind of model

A model of kitchen and electronics; 40 % of the new rows are held out. The last case has 1,200 rows of electronics
with wrong labels, each of 400 rows three times.

{_table(["new rows", "decision", "why"], rows)}"""


def _domains_page(found: list[dict[str, Any]]) -> str:
    def figures(it: dict[str, Any]) -> str:
        return f"{it['champion']:.1%} → {it['challenger']:.1%} ({it['rows']} rows, p = {it['p']:.3f})"

    rows = [
        [it["rows"], f"**{it['decision']}**", figures(it["new"]), figures(it["old"]),
         "; ".join(it["worse_slices"]) or "–", f"{it['processor_s']:.0f} s" if it.get("processor_s") else "–"]
        for it in found
    ]  # fmt: skip
    header = ["new rows", "decision", "accuracy on new rows", "on old rows", "slices that get worse",
              "processor time"]  # fmt: skip
    reasons = "\n".join(f"- {it['rows']}: {'; '.join(it['reasons'])}" for it in found)
    return f"""## A new domain

A model of kitchen and electronics reviews (`train.method: probe`, the first {_FEW_WORDS} words), and
`tunesmith update` with 800 dvd reviews or 700 more of electronics; 40 % of the new rows are held out, and
`domain` is a slice.

{_table(header, rows)}
{reasons}
"""


def _months_page(found: dict[str, Any]) -> str:
    seeds = found["seeds"]
    names = {
        "never": "never update",
        "always": "retrain each month, promote always",
        "update": "`update` each month",
        "update_at_risk": "`update --risk 0.5` each month",
    }
    rows = [
        [names[policy], f"{it['mean_accuracy']:.1%}", f"{it['last_five_months']:.1%}",
         f"{it['final_accuracy']:.1%}", f"{it['updates']:.1f}", f"{it['mistakes']:.1f}",
         f"{it['missed']:.1f}", f"{it['seconds']:.1f} s"]
        for policy, it in found["policies"].items()
    ]  # fmt: skip
    header = ["policy", "accuracy of what was served", "of the last five months", "at the end, on all domains",
              "models promoted", "of them worse than before", "better ones missed", "time"]  # fmt: skip
    return f"""## Twenty months unattended

500 rows a month: each second month tweets, in between dvd, electronics, kitchen and books; labels for 25 of them.
The first model has 250 labelled rows of books, and 250 to compare on. Means over {seeds} histories.
A model is worse, or better by two points, in truth: on 2,500 rows of all domains that no decision saw.

{_table(header, rows)}"""


def _intent_page(found: list[dict[str, Any]]) -> str:
    rows = [
        [f"`{it['intent']}`", f"{it['champion_rows']:,}", f"**{it['decision']}**", f"{it['seconds']:.0f} s",
         f"{it['processor_s']:.0f} s", f"{it['recall']:.1%} of {it['new_rows']}",
         f"{it['old_accuracy_before']:.1%}", f"{it['old_accuracy_after']:.1%}"]
        for it in found
    ]  # fmt: skip
    header = ["left out", "rows of the champion", "decision", "time", "processor time",
              "recall of the new intent", "old accuracy before", "after"]  # fmt: skip
    reasons = "\n".join(f"- `{it['intent']}`: {'; '.join(it['reasons'])}" for it in found)
    return f"""## A new intent from 20 examples

snips without one intent, fine-tuned (`train.method: full`, the default model); then
`tunesmith update --from champion --merge replay` with 20 examples of it, of which 30 % are
held out. Recall on test rows that were never seen.

{_table(header, rows)}
{reasons}
"""


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main()
