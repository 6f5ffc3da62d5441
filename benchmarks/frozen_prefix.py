"""What keeping the frozen layers' outputs is worth: the same recipe with and without, in turn.

    python benchmarks/frozen_prefix.py [--data DIR] [--set banking77] [--frozen 5] [--rounds 2]

Every training is a process of its own, with a cold cache; the stages are timed by the run itself. Writes a dated
JSON record into benchmarks/results/ and prints the table of docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from datetime import date
from pathlib import Path
from typing import Any

from _children import environment
from _page import spread

from tunesmith.environment import machine, versions

HERE = Path(__file__).parent
RESULTS = HERE / "results"
STAGES = {
    "probe": "probe, with the states",
    "train": "loop and its looks",
    "evaluate": "scoring the saved model",
}


def trained(data: Path, run: Path, frozen: int, cached: bool) -> dict[str, Any]:
    """Seconds by stage, in all, and the primary metric.

    Args:
        data: folder of train and test rows.
        run: the folder to write.
        frozen: layers.
        cached: whether their outputs are kept.
    """
    command = [
        sys.executable,
        "-m",
        "tunesmith",
        "train",
        "--data",
        str(data),
        "--output-dir",
        str(run),
        "--json",
    ]
    options = [
        f"train.freeze_layers={frozen}",
        f"train.cache_frozen_layers={str(cached).lower()}",
        "train.num_train_epochs=3",
        "evaluate.baselines=false",
    ]
    subprocess.run(
        [*command, *options],
        env=environment(run.with_name(f"{run.name}-cache")),
        check=True,
        capture_output=True,
    )
    stages = json.loads((run / "manifest.json").read_text())["stages_s"]
    metrics = json.loads((run / "metrics.json").read_text())
    return {**stages, "all": sum(stages.values()), "metric": metrics["primary"]["value"]}


def table(seconds: dict[bool, dict[str, list[float]]]) -> str:
    """Medians, lowest and highest, and the ratio of the medians."""
    lines = ["| | without | with | ratio |", "|---|---|---|---|"]
    for name, title in {**STAGES, "all": "all stages"}.items():
        without, kept = (spread(seconds[cached][name]) for cached in (False, True))
        ratio = without["median"] / kept["median"]
        lines.append(f"| {title} | {_shown(without)} | {_shown(kept)} | {ratio:.1f} |")
    return "\n".join(lines)


def _shown(seconds: dict[str, float]) -> str:
    return f"{seconds['median']:.1f} s ({seconds['low']:.1f} to {seconds['high']:.1f})"


def main() -> None:
    """Measures, writes the record and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data")
    parser.add_argument("--set", default="banking77")
    parser.add_argument("--frozen", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    folder = arguments.data / arguments.set
    if not folder.is_dir():
        print(f"skipped: {folder} is absent")
        return
    runs = []
    seconds: dict[bool, dict[str, list[float]]] = {False: defaultdict(list), True: defaultdict(list)}
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(arguments.rounds):
            for cached in (False, True):
                found = trained(folder, Path(scratch) / f"{number}-{cached}", arguments.frozen, cached)
                runs.append({"cached": cached, **found})
                print(json.dumps(runs[-1]), file=sys.stderr, flush=True)
                for name in (*STAGES, "all"):
                    seconds[cached][name].append(found[name])
    today = date.today().isoformat()
    record = {"date": today, "machine": machine(), "versions": versions(), "set": arguments.set,
              "frozen": arguments.frozen, "runs": runs}  # fmt: skip
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"frozen-prefix-{today}.json").write_text(json.dumps(record, indent=2) + "\n")
    print(table(seconds))


if __name__ == "__main__":
    main()
