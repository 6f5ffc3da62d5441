"""Words of a field as tokens: named diseases found with and without them, and after a fill-mask run.

    python benchmarks/added_words.py [--data DIR] [--steps 300] [--mask-steps 300] [--seeds 2] [--page]

Four ways to the same number of steps on ncbi_disease with all-MiniLM-L6-v2: the model as it is; with
`train.add_tokens: auto`; after a fill-mask run on the training texts; after such a run with added words.
The scores are F1 of the test rows. Adds to a JSON record in benchmarks/results/ and writes the page
benchmarks/added-words.md. Needs the data sets' folder (`../shared` beside the checkout); nothing of it is kept.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
from datetime import date
from pathlib import Path
from statistics import mean
from typing import Any

from tunesmith.environment import machine

HERE = Path(__file__).parent
RESULTS = HERE / "results"
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
ARMS = {
    "as it is": (False, False),
    "added words": (True, False),
    "fill-mask before": (False, True),
    "fill-mask with added words before": (True, True),
}
"""Whether words are added, and whether a fill-mask run comes before."""


def sentences(path: Path) -> list[str]:
    """The texts of a file of words and tags."""
    blocks = path.read_text(encoding="utf-8").split("\n\n")
    texts = [" ".join(line.split("\t")[0] for line in block.splitlines() if line) for block in blocks]
    return [text for text in texts if text.strip()]


def masked(data: Path, folder: Path, seed: int, steps: int, *, words: bool) -> str:
    """The folder of a fill-mask run on the training texts."""
    import tunesmith

    files = {}
    for split in ("train", "validation"):
        files[split] = folder / f"{split}.csv"
        with files[split].open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([["text"], *([text] for text in sentences(data / f"{split}.conll"))])
    run = tunesmith.train(
        str(files["train"]), validation=str(files["validation"]), task="fill-mask", model=MODEL,
        output_dir=str(folder / "masked"), progress=False,
        overrides={**_short(seed, steps), **({"train.add_tokens": "auto"} if words else {})},
    )  # fmt: skip
    return str(run.path)


def _short(seed: int, steps: int) -> dict[str, Any]:
    return {
        "seed": seed, "train.max_steps": steps, "train.eval_steps": steps, "data.check": "off",
        "evaluate.baselines": False,
    }  # fmt: skip


def measured(data: Path, arm: str, seed: int, steps: int, mask_steps: int) -> dict[str, Any]:
    """F1 of one arm, and how many words its model has got."""
    import tunesmith

    words, first = ARMS[arm]
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        model = masked(data, home, seed, mask_steps, words=words) if first else MODEL
        run = tunesmith.train(
            str(data / "train.conll"), validation=str(data / "validation.conll"), test=str(data / "test.conll"),
            task="token-classification", model=model, output_dir=str(home / "run"), progress=False,
            overrides={
                **_short(seed, steps), "train.head_start": False,
                **({"train.add_tokens": "auto"} if words and not first else {}),
            },
        )  # fmt: skip
        source = home / ("masked" if first else "run") / "manifest.json"
        added = len(json.loads(source.read_text(encoding="utf-8"))["model"].get("added_words", []))
        primary = run.metrics["primary"]
    return {"f1": primary["value"], "low": primary["low"], "high": primary["high"], "words": added}


def page(record: dict[str, Any]) -> str:
    """The page with the table."""
    lines = [
        "# Words of a field as tokens", "",
        "Made by `python benchmarks/added_words.py`: ncbi_disease, all-MiniLM-L6-v2, F1 of the test rows.",
        f"The number of steps is limited: {record['steps']} for all, and {record['mask_steps']} of fill-mask,",
        "where there is such a run. In brackets, the 95 % interval of each seed, by the test rows.", "",
        "| model | seeds | words | F1 | F1 of each seed |", "|---|---|---|---|---|",
    ]  # fmt: skip
    for arm in ARMS:
        found = [it for it in record["records"].values() if it["arm"] == arm]
        if found:
            each = ", ".join(f"{it['f1']:.3f} ({it['low']:.3f} to {it['high']:.3f})" for it in found)
            f1 = mean(it["f1"] for it in found)
            lines.append(f"| {arm} | {len(found)} | {found[0]['words']} | {f1:.3f} | {each} |")
    return "\n".join([*lines, ""])


def main() -> None:
    """Measures what is not in the record yet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=str(HERE.parents[1] / "shared" / "data" / "ncbi_disease"))
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--mask-steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--page", action="store_true", help="only write the page")
    given = parser.parse_args()
    file = max(RESULTS.glob("added_words-*.json"), default=RESULTS / f"added_words-{date.today()}.json")
    record = json.loads(file.read_text()) if file.is_file() else {"records": {}}
    record = {"steps": given.steps, "mask_steps": given.mask_steps, **record}
    if (record["steps"], record["mask_steps"]) != (given.steps, given.mask_steps) and not given.page:
        parser.error(
            f"{file} is of {record['steps']} and {record['mask_steps']} steps: give these, or move it away"
        )
    for seed in range(0 if given.page else given.seeds):
        for arm in ARMS:
            if (key := f"{arm}, seed {seed}") not in record["records"]:
                found = measured(Path(given.data), arm, seed, given.steps, given.mask_steps)
                record["records"][key] = {"arm": arm, "seed": seed, **found}
                print(key, found, flush=True)
                file.write_text(json.dumps({"machine": machine(), **record}, indent=1) + "\n")
    (HERE / "added-words.md").write_text(page(record))


if __name__ == "__main__":
    main()
