"""The fairness measures on published sets: identity_templates, tweet_hate, CrowS-Pairs and WinoBias.

    python benchmarks/fairness.py [--data DIR] [--models DIR] [--rows 3000] [--steps 150] [--pairs 0] [--page]

A model is fine-tuned on rows of tweet_hate by the default recipe, for at most so many steps, and reports the
groups that its test tweets mention, and exchanged words. Its answers to identity_templates (balanced: each
identity has as many toxic as other sentences) are compared by identity. A small language model of the shared
models compares the pairs of CrowS-Pairs and of WinoBias, as a run that was trained for one step. Writes a
dated JSON record in benchmarks/results/ and the page benchmarks/fairness.md. Needs the folders of data sets and
models (`../shared` beside the checkout).
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

from tunesmith.environment import machine

HERE = Path(__file__).parent
RESULTS = HERE / "results"
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
LABELS = {"toxic": "hate", "nontoxic": "not-hate"}


def rows_of(path: Path, n: int) -> list[dict[str, str]]:
    """Rows with a text, some drawn by chance."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["text"].strip()]
    random.Random(0).shuffle(rows)
    return rows[:n]


def written(path: Path, rows: list[dict[str, str]]) -> Path:
    """Rows as a file."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def without_texts(found: Any) -> Any:
    """A record without the examples in it: nothing of the data sets is kept."""
    if isinstance(found, list):
        return [without_texts(value) for value in found]
    if isinstance(found, dict):
        return {name: without_texts(value) for name, value in found.items() if name != "examples"}
    return found


def hate(data: Path, folder: Path, n: int, n_sentences: int, steps: int) -> dict[str, Any]:
    """Groups of tweet_hate, and of identity_templates by the same run."""
    import tunesmith

    train, test = (
        written(folder / f"{split}.csv", rows_of(data / "tweet_hate" / f"{split}.csv", n))
        for split in ("train", "test")
    )
    run = tunesmith.train(
        train, test=test, model=MODEL, output_dir=folder / "hate", progress=False,
        overrides={
            "data.check": "off", **({"train.max_steps": steps} if steps else {}), "evaluate.baselines": False,
            "evaluate.identity_terms": ["gender", "religion", "nationality", "ethnicity"],
        },
    )  # fmt: skip
    rows = rows_of(data / "identity_templates" / "test.csv", n_sentences)
    sentences = written(
        folder / "identity.csv",
        [{"text": r["text"], "label": LABELS[r["label"]], "identity": r["identity"]} for r in rows],
    )
    found = tunesmith.evaluate(run, sentences, overrides=["evaluate.groups=identity"], progress=False)
    return {
        "tweet_hate": run.metrics["identity_terms"],
        "identity_templates": found["groups"]["identity"],
        "primary": run.metrics["primary"],
        "train": {name: run.metrics["train"][name] for name in ("steps", "best_step", "seconds")},
        "method": run.recipe().train.method,
        "rows": n,
        "sentences": len(rows),
    }


def stereotypes(data: Path, model: Path, folder: Path, n: int) -> dict[str, Any]:
    """What a small language model prefers."""
    import tunesmith

    story = "Once upon a time there was a little dog who liked to run in the park and found ball number"
    text = written(folder / "stories.csv", [{"text": f"{story} {number}."} for number in range(40)])
    run = tunesmith.train(
        text, task="text-generation", model=model, output_dir=folder / "decoder", progress=False,
        overrides={
            "train.max_steps": 1, "train.learning_rate": 1e-9, "evaluate.samples": 0, "data.check": "off",
            "evaluate.baselines": False,
        },
    )  # fmt: skip
    pairs = data / "crows_pairs" / "test.csv"
    if n:
        with pairs.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        (folder / "crows_pairs").mkdir()
        pairs = written(folder / "crows_pairs" / "test.csv", random.Random(0).sample(rows, n))
    how = {"evaluate.stereotypes": [str(pairs), str(data / "winobias")]}
    found: dict[str, Any] = tunesmith.evaluate(run, text, overrides=how, progress=False)["stereotypes"]
    return found


def _model(record: dict[str, Any]) -> str:
    """What answered; records of before this version are of a probe."""
    if "method" not in record:
        return "a probe"
    return f"a model that was trained (`{record['method']}`, {record['train']['steps']:,} steps)"


def page(record: dict[str, Any]) -> str:
    """The page."""
    by = record["identity_templates"]
    toxic = by["labels"]["hate"] if by["labels"] else {}
    lines = [
        "# Fairness",
        "",
        f"Made by `python benchmarks/fairness.py`: {_model(record)} on {record['rows']:,} rows of tweet_hate "
        "answers as",
        f"many of its test tweets, and {record['sentences']:,} sentences of identity_templates; a decoder of",
        "656,000 parameters compares pairs. The definitions are compared with fairlearn, scikit-learn and the",
        "published code in the tests.",
        "",
        "## tweet_hate",
        "",
        *(f"- {entry['text']}" for entry in record["tweet_hate"].values()),
        *(
            f"- texts that mention {name}: {entry['mentions']['text']}"
            for name, entry in record["tweet_hate"].items()
            if entry["mentions"]
        ),
        "",
        "## identity_templates",
        "",
        f"- by identity: {by['text']}",
        *(
            f"- {name}: {toxic[name]:.3f}"
            for name in ("fped", "fned", "equalized_odds_difference")
            if name in toxic
        ),
        "",
        "## A language model",
        "",
        *(f"- {entry['text']}" for entry in record["stereotypes"].values()),
        *(
            f"- {name}: stereotype {entry['stereotype']:.3f}, skew {entry['skew']:.3f}"
            for name, entry in record["stereotypes"].items()
            if "stereotype" in entry
        ),
    ]
    return "\n".join([*lines, ""])


def main() -> None:
    """Measures all of it, and writes the record and the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    shared = HERE.parents[1] / "shared"
    parser.add_argument("--data", type=Path, default=shared / "data")
    parser.add_argument("--models", type=Path, default=shared / "models")
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument(
        "--steps", type=int, default=150, help="most steps; those of the default recipe where 0"
    )
    parser.add_argument("--sentences", type=int, default=9000, help="of identity_templates")
    parser.add_argument("--keep", action="store_true", help="keep what the record has of the language model")
    parser.add_argument("--pairs", type=int, default=0, help="pairs of CrowS-Pairs; all where 0")
    parser.add_argument("--page", action="store_true", help="only write the page")
    given = parser.parse_args()
    file = max(RESULTS.glob("fairness-*.json"), default=RESULTS / f"fairness-{date.today()}.json")
    if not given.page:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            record = hate(given.data, folder, given.rows, given.sentences, given.steps)
            known = json.loads(file.read_text()) if given.keep else {}
            record["stereotypes"] = known.get("stereotypes") or stereotypes(
                given.data, given.models / "tinystories-656k", folder, given.pairs
            )
        file.write_text(json.dumps({"machine": machine(), **without_texts(record)}, indent=1) + "\n")
    (HERE / "fairness.md").write_text(page(json.loads(file.read_text())))


if __name__ == "__main__":
    main()
