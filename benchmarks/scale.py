"""Scale of data: a million rows through `train` for one short stretch and through `predict`, beside ten thousand.

    python benchmarks/scale.py [--data DIR] [--rows 10000 1000000] [--formats csv jsonl parquet] [--scratch DIR]

Rows are texts of sst2, each made one of its own by two random words and a number; validation and test are small
files. Training makes 20 steps, so that what is timed is the way of the rows: read, check, compare with the other
splits, encode, plan. A model of a few thousand parameters (`tunesmith.testing.tiny`) keeps the arithmetic out of
the way. Every entry is a process of its own with a cold cache; its memory is read from /proc every 20 ms: `own`
is what the process holds for itself (RssAnon), `all` counts the pages of mapped files too, which the system takes
back when it needs them. Writes a dated JSON record into benchmarks/results/ and the table benchmarks/scale.md.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from tunesmith.environment import machine, versions

HERE = Path(__file__).parent
RESULTS = HERE / "results"
STEPS = 20
_SAMPLE_EVERY_S = 0.02
_LEAST_S = 1.0  # less is within what a start varies by
_MIB = 2**20
_HEAD = """# Scale of data

Made by `python benchmarks/scale.py`: rows of sst2, each varied, through `train` (20 steps, no probe, no
baselines, small validation and test files) and `predict --data FILE --output FILE`, with a model of
{parameters:,} parameters, from a cold cache. `own` is the peak of what the process holds for itself, `all` counts
pages of mapped files too. `rows/s` is over the time beyond what 200 rows take (imports,
loading, 20 steps), where that is more than a second.
"""


class Meter:
    """The memory of this process, read while it works; peaks by stage."""

    def __init__(self) -> None:
        self.name = "start"
        self.peaks: dict[str, list[int]] = {}
        self.begun: dict[str, int] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def stage(self, title: str) -> None:
        """A stage begins."""
        self.name = title.partition(" ")[0]
        self.begun[self.name] = memory()[0]

    def stop(self) -> dict[str, list[int]]:
        """[own, all] in bytes, by stage."""
        self._stopped.set()
        self._thread.join()
        return self.peaks

    def _sample(self) -> None:
        while not self._stopped.wait(_SAMPLE_EVERY_S):
            own, everything = memory()
            peak = self.peaks.setdefault(self.name, [0, 0])
            self.peaks[self.name] = [max(peak[0], own), max(peak[1], everything)]


def memory() -> tuple[int, int]:
    """Bytes in memory that are this process's own, and with those of mapped files."""
    fields = {}
    with open("/proc/self/status", encoding="utf-8") as handle:
        for line in handle:
            name, _, value = line.partition(":")
            fields[name] = value
    own, files, shared = (int(fields[n].split()[0]) * 1024 for n in ("RssAnon", "RssFile", "RssShmem"))
    return own, own + files + shared


def child_train(train: str, small: str, model: str, run: str) -> dict:
    """One training; seconds and peaks by stage."""
    import tunesmith
    from tunesmith.events import Event, Stage

    tunesmith.tune_process()  # as the command line does
    meter = Meter()

    def listener(event: Event) -> None:
        if isinstance(event, Stage):
            meter.stage(event.title)

    done = tunesmith.train(
        model=model,
        data=train,
        validation=small,
        test=small,
        output_dir=run,
        listeners=[listener],
        overrides={
            "train.max_steps": STEPS,
            "train.head_start": False,
            "train.learning_rate": 1e-3,
            "evaluate.baselines": False,
        },
    )
    return {"stages_s": done.manifest()["stages_s"], "peaks": meter.stop()}


def child_predict(run: str, data: str, output: str) -> dict:
    """One call of the verb; peaks."""
    from tunesmith.cli.main import build_app

    meter = Meter()
    meter.stage("predict")
    build_app()(["predict", run, "--data", data, "--output", output, "--force"], standalone_mode=False)
    return {"peaks": meter.stop()}


CHILDREN = {"train": child_train, "predict": child_predict}


def in_a_process(kind: str, arguments: list[str], folder: Path) -> dict:
    """What a child reports, with the time of its whole process."""
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        environment = {**os.environ, "TUNESMITH_CACHE": cache}
        report = Path(cache) / "report.json"
        began = time.perf_counter()
        command = [sys.executable, __file__, "--child", kind, str(report), *arguments]
        subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
        total_s = time.perf_counter() - began
        return {**json.loads(report.read_text(encoding="utf-8")), "total_s": round(total_s, 2)}


def rows_of(source: Path, n: int) -> Iterator[dict[str, str]]:
    """Texts of sst2, each one of its own: two random words and a number more; the same every time."""
    with source.open(encoding="utf-8", newline="") as handle:
        known = list(csv.DictReader(handle))
    words = [word for row in known for word in row["text"].split()]
    rng = random.Random(0)
    for number in range(n):
        row = known[rng.randrange(len(known))]
        yield {
            "text": f"{row['text']} {rng.choice(words)} {rng.choice(words)} {number}",
            "label": row["label"],
        }


def write(path: Path, rows: Iterator[dict[str, str]]) -> Path:
    """A file of its ending."""
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(list(rows)), path)
        return path
    with path.open("w", encoding="utf-8", newline="") as handle:
        if path.suffix == ".jsonl":
            handle.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        else:
            writer = csv.DictWriter(handle, ["text", "label"])
            writer.writeheader()
            writer.writerows(rows)
    return path


def measure(folder: Path, source: Path, sizes: list[int], endings: list[str]) -> list[dict]:
    """A record for every size and format, of both verbs."""
    from tunesmith.testing.tiny import write_tiny_model

    model = write_tiny_model(folder / "model")
    small = write(folder / "small.csv", rows_of(source, 500))
    records = []
    for n in sizes:
        for ending in endings:
            data = write(folder / f"rows-{n}.{ending}", rows_of(source, n))
            run = folder / f"run-{n}-{ending}"
            trained = in_a_process("train", [str(data), str(small), str(model), str(run)], folder)
            predicted = in_a_process("predict", [str(run), str(data), str(folder / "answers.jsonl")], folder)
            facts = {"rows": n, "format": ending, "bytes": data.stat().st_size}
            records += [{**facts, "verb": "train", **trained}, {**facts, "verb": "predict", **predicted}]
            print(json.dumps(records[-2:]), file=sys.stderr, flush=True)
            data.unlink()
    return records


def table(records: list[dict], empty: dict[str, float], facts: dict) -> str:
    """The page, from the records; `empty` is what a process takes for next to no rows, in seconds."""
    smallest = min(r["rows"] for r in records)
    first = {(r["verb"], r["format"]): peak(r) for r in records if r["rows"] == smallest}
    lines = [
        _HEAD.format(parameters=facts["parameters"]),
        f"{facts['machine']['processor']}, {facts['machine']['cores']} cores; "
        f"torch {facts['versions']['torch']}; {facts['date']}.",
        "",
        "| verb | rows | format | file | time | rows/s | reading | encoding | own | "
        f"more than for {smallest:,} | all |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in records:
        own, everything = peak(r)
        more = own - first[r["verb"], r["format"]][0]
        stages = r.get("stages_s", {})
        parts = [f"{stages[name]:.1f} s" if name in stages else "–" for name in ("prepare", "encode")]
        beyond_s = r["total_s"] - empty[r["verb"]]
        rate = f"{r['rows'] / beyond_s:,.0f}" if beyond_s > _LEAST_S else "–"
        lines.append(
            f"| {r['verb']} | {r['rows']:,} | {r['format']} | {r['bytes'] / _MIB:.1f} MiB | {r['total_s']:.1f} s "
            f"| {rate} | {parts[0]} | {parts[1]} | {own / _MIB:.0f} MiB | {more / _MIB:+.0f} MiB "
            f"| {everything / _MIB:.0f} MiB |"
        )
    return "\n".join(lines) + "\n"


def peak(record: dict) -> tuple[int, int]:
    """[own, all] over all stages, in bytes."""
    own, everything = zip(*record["peaks"].values(), strict=True)
    return max(own), max(everything)


def seconds_for_nothing(folder: Path, source: Path) -> dict[str, float]:
    """What each verb takes for next to no rows: imports, the model, 20 steps."""
    return {r["verb"]: r["total_s"] for r in measure(folder, source, [200], ["csv"])}


def main() -> None:
    """Measures, writes record and table."""
    if sys.argv[1:2] == ["--child"]:
        kind, report, *arguments = sys.argv[2:]
        Path(report).write_text(json.dumps(CHILDREN[kind](*arguments)), encoding="utf-8")
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data")
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 1_000_000])
    parser.add_argument("--formats", nargs="+", default=["csv", "jsonl", "parquet"])
    parser.add_argument("--scratch", type=Path, help="a folder on a disk with room; a temporary one without")
    arguments = parser.parse_args()
    source = arguments.data / "sst2" / "train.csv"
    if not source.is_file():
        print(f"skipped: {source} is absent")
        return
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
        folder = Path(scratch)
        empty = seconds_for_nothing(folder, source)
        records = measure(folder, source, arguments.rows, arguments.formats)
        parameters = (folder / "model" / "model.safetensors").stat().st_size // 4
    facts = {
        "date": date.today().isoformat(),
        "machine": machine(),
        "versions": versions(),
        "parameters": parameters,
    }
    RESULTS.mkdir(exist_ok=True)
    record = {**facts, "seconds_for_nothing": empty, "records": records}
    (RESULTS / f"scale-{facts['date']}.json").write_text(json.dumps(record, indent=2) + "\n")
    (HERE / "scale.md").write_text(table(records, empty, facts), encoding="utf-8")
    print(table(records, empty, facts))


if __name__ == "__main__":
    main()
