"""Speed of training and inference beside what people use: the same model, rows, epochs, batch, learning rate.

    python benchmarks/speed.py [--data DIR] [--rounds N] [--steps N] [--sets NAME ...] [--batch N ...]
                               [--only NAME ...] [--parts training inference] [--time-to-quality] [--list]

Every measurement is a stretch of training steps (or all texts of a test set) in a process of its own, and the
contenders take turns: a machine that slows down, slows all. `Trainer` is run as the tutorial has it, with
dynamic padding, and with every flag it has for speed, with eager attention and with SDPA; its `torch_compile`
only when named, since it compiles for a minute. Meant to run alone on a machine, 20 to 25 minutes on two cores.
Writes a dated JSON record into benchmarks/results/ and the page benchmarks/speed.md; what was not run keeps its
last record.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from _bench import Bench, about, say
from _inference import measure_inference
from _page import Record, merged, page
from _plan import ANSWERING, CONTENDERS, DATA, TO_QUALITY
from _quality import measure_quality
from _training import measure_training

HERE = Path(__file__).parent
MODEL = "sentence-transformers/all-MiniLM-L6-v2"


def last_records(results: Path) -> list[Record]:
    """The newest record of everything."""
    found: list[Record] = []
    for path in sorted(results.glob("speed-[0-9]*.json")):
        found = merged(found, json.loads(path.read_text(encoding="utf-8"))["records"])
    return found


def keep(output: Path, records: list[Record]) -> None:
    """Writes the record and the page."""
    results = output / "results"
    results.mkdir(parents=True, exist_ok=True)
    facts = about()
    every = merged(last_records(results), [{**record, "measured": facts["date"]} for record in records])
    kept = json.dumps({**facts, "records": every}, indent=1) + "\n"
    (results / f"speed-{facts['date']}.json").write_text(kept, encoding="utf-8")
    (output / "speed.md").write_text(page(every, facts), encoding="utf-8")
    print(page(every, facts))


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = sorted({c.name for c in (*CONTENDERS, *TO_QUALITY, *ANSWERING)})
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data")
    parser.add_argument("--rounds", type=int, default=3, help="repeats of everything but whole trainings")
    parser.add_argument("--steps", type=int, default=40, help="timed steps of a stretch, at most")
    parser.add_argument("--seconds", type=float, default=6.0, help="seconds of a stretch, at most")
    parser.add_argument("--rows", type=int, help="training rows; 4,096 for a stretch, else all")
    parser.add_argument("--texts", type=int, help="test rows; all")
    parser.add_argument("--sets", nargs="*", default=[], choices=list(DATA), metavar="NAME")
    parser.add_argument("--batch", nargs="*", type=int, default=[], metavar="N")
    parser.add_argument("--only", nargs="*", default=[], choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--parts", nargs="*", default=list(PARTS), choices=list(PARTS), metavar="PART")
    parser.add_argument(
        "--time-to-quality", action="store_true", help="whole trainings instead: minutes each"
    )
    parser.add_argument("--quality-rounds", type=int, default=1, help="repeats of whole trainings")
    parser.add_argument("--output", type=Path, default=HERE, help="folder of speed.md and results/")
    return parser.parse_args()


PARTS = {"training": measure_training, "inference": measure_inference}


def main() -> int:
    """Measures, writes record and page."""
    arguments = parse()
    if not arguments.data.is_dir():
        say(
            f"the benchmark needs the data sets {', '.join(DATA)}, and the folder {arguments.data} is absent.\n"
            "Give the folder that holds them with --data; each has train.csv and test.csv."
        )
        return 2
    from tunesmith.models.resolve import resolve_model

    os.environ["HF_HUB_OFFLINE"] = "1"
    parts = [measure_quality] if arguments.time_to_quality else [PARTS[name] for name in arguments.parts]
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(arguments.data, Path(scratch), resolve_model(MODEL).path, arguments)
        began = time.perf_counter()
        records = [record for part in parts for record in part(bench)]
        say(f"measured in {(time.perf_counter() - began) / 60:.1f} minutes")
    keep(arguments.output, records)
    for what, error in bench.failed.items():
        say(f"failed: {what}\n{error}")
    return 1 if bench.failed else 0


if __name__ == "__main__":
    sys.exit(main())
