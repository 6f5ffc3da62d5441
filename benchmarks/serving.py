"""The server under load, beside what people write today, and beside `tunesmith predict`.

    python benchmarks/serving.py prepare                 trains the run and exports it (some minutes)
    python benchmarks/serving.py load --seconds 15       requests/s and p99 for each server and number of clients
    python benchmarks/serving.py ratio --seconds 15      texts/s as a share of `predict`, in float32 and int8
    python benchmarks/serving.py overload                ten times more clients than the queue has room for
    python benchmarks/serving.py labels                  answers over HTTP, as shares that are those of `predict`
    python benchmarks/serving.py soak --minutes 30       memory over time under load
    python benchmarks/serving.py page                    writes benchmarks/serving.md from the latest results

Alone on the machine. `load` interleaves the servers in rounds, and each has the whole machine in its turn; the
client shares the cores with it. Needs the data sets' folder (`../shared` beside the checkout).
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

from _serving_page import Record, at_equal_p99, page

HERE = Path(__file__).parent
RESULTS = HERE / "results"
CLIENTS = (1, 2, 4, 8, 16, 32, 64)
_WARM_S = 3.0


# ---- what is served, and what is asked ----


def prepare(home: Path, data: Path) -> None:
    """A whole fine-tuning of MiniLM on banking77, and its export to int8."""
    run = home / "bank"
    command = [sys.executable, "-m", "tunesmith"]
    if not (run / "metrics.json").is_file():
        subprocess.run(
            [*command, "train", str(data / "banking77" / "train.csv"), "-o", str(run), "--method", "probe"],
            check=True,
        )
    for export in ("onnx-int8",):
        if not home.joinpath(f"bank-{export}").is_dir():
            subprocess.run([*command, "export", str(run), "--to", export], check=True)


def short_texts(data: Path, n: int = 512) -> list[str]:
    """Questions of banking77, about 14 tokens each."""
    with (data / "banking77" / "test.csv").open(encoding="utf-8", newline="") as handle:
        texts = [row["text"] for row in csv.DictReader(handle)]
    return random.Random(0).sample(texts, n)


def mixed_texts(data: Path, n: int = 512) -> list[str]:
    """Texts of mixed lengths: one to sixteen questions of banking77 in a row, short ones more often."""
    texts, rng = short_texts(data, 2048), random.Random(1)
    return [" ".join(rng.sample(texts, rng.choice((1, 1, 1, 1, 2, 2, 4, 8, 16)))) for _ in range(n)]


# ---- servers and clients ----


@contextmanager
def tunesmith_server(*arguments: str) -> Iterator[tuple[int, int]]:
    """Port and process id."""
    command = [sys.executable, "-m", "tunesmith", "serve", *arguments, "--port", "0", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline() if process.stdout else ""
        yield int(json.loads(line)["url"].rpartition(":")[2]), process.pid
    finally:
        _stop(process)


@contextmanager
def peer_server(name: str, model: Path) -> Iterator[tuple[int, int]]:
    """Port and process id of a server of `_serving_peers`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, str(HERE / "_serving_peers.py"), name, str(model), str(port)])
    try:
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            if process.poll() is not None:
                raise RuntimeError(f"{name} did not start")
            time.sleep(0.2)
        yield port, process.pid
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[Any]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def ask(port: int, path: str, bodies: list[Any], connections: int, seconds: float, **more: Any) -> Record:
    """What `_serving_client` measures, in a process of its own."""
    spec = {"host": "127.0.0.1", "port": port, "path": path, "bodies": bodies, "connections": connections,
            "seconds": seconds, "warm_s": _WARM_S, **more}  # fmt: skip
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
        json.dump(spec, file)
        file.flush()
        command = [sys.executable, str(HERE / "_serving_client.py"), file.name]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: Record = json.loads(done.stdout)
    return found


# ---- measurements ----


def load(home: Path, data: Path, seconds: float, rounds: int) -> Record:
    """Requests per second and quantiles of each server, for each number of clients; mixed lengths."""
    texts = mixed_texts(data)
    run = home / "bank"
    servers: dict[str, Any] = {
        "tunesmith": lambda: tunesmith_server(str(run)),
        "tunesmith int8": lambda: tunesmith_server(str(run), "--engine", "onnx-int8"),
        "FastAPI and transformers.pipeline": lambda: peer_server("fastapi", run / "model"),
    }
    if importlib.util.find_spec("litserve"):
        servers["LitServe"] = lambda: peer_server("litserve", run / "model")
    found: dict[str, list[Record]] = {name: [] for name in servers}
    for _ in range(rounds):
        for name, start in servers.items():
            with start() as (port, _pid):
                path = "/predict"
                bodies = [{"inputs": [text]} for text in texts]
                for clients in CLIENTS:
                    found[name].append(ask(port, path, bodies, clients, seconds))
                    say(f"{name}, {clients} clients: {found[name][-1]}")
    return {
        "servers": found,
        "gains": {ours: at_equal_p99(found, ours) for ours in found if ours.startswith("tunesmith")},
    }


_PREDICT = """
import json, sys, time
import tunesmith
texts = json.load(open(sys.argv[2]))
predictor = tunesmith.load(sys.argv[1])
predictor(texts)
began = time.perf_counter()
n = 0
while time.perf_counter() - began < float(sys.argv[3]):
    predictor(texts)
    n += len(texts)
print(json.dumps(n / (time.perf_counter() - began)))
"""


def predict_rate(folder: Path, texts: list[str], seconds: float) -> float:
    """Texts per second of `predict` on a list, in a process of its own."""
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
        json.dump(texts, file)
        file.flush()
        command = [sys.executable, "-c", _PREDICT, str(folder), file.name, str(seconds)]
        return float(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))


def ratio(home: Path, data: Path, seconds: float, rounds: int) -> Record:
    """Texts per second over HTTP, as a share of `predict` on the same texts; 32 texts a request, and one."""
    texts = short_texts(data)
    bodies = {1: [{"inputs": [text]} for text in texts],
              32: [{"inputs": texts[i : i + 32]} for i in range(0, len(texts), 32)]}  # fmt: skip
    found: Record = {}
    for engine, folder in (("torch", home / "bank"), ("onnx-int8", home / "bank-onnx-int8")):
        rates, served = [], {1: [], 32: []}
        for _ in range(rounds):
            rates.append(predict_rate(folder, texts, seconds))
            with tunesmith_server(str(home / "bank"), "--engine", engine) as (port, _pid):
                for size, clients in ((1, 8), (32, 4)):
                    served[size].append(ask(port, "/answer", bodies[size], clients, seconds))
            say(f"{engine}: predict {rates[-1]:.0f} texts/s; {served}")
        base = statistics.median(rates)
        found[engine] = {"predict_texts_per_s": round(base, 1)}
        for size, records in served.items():
            rate = statistics.median(one["requests_per_s"] for one in records) * size
            found[engine][f"{size} a request"] = {
                "texts_per_s": round(rate, 1), "ratio": round(rate / base, 3),
                "p99_ms": statistics.median(one["p99_ms"] for one in records), "records": records,
            }  # fmt: skip
    return found


def overload(home: Path, data: Path, seconds: float) -> Record:
    """Ten times more clients than the queue has room for; what is accepted must be right and in time."""
    import tunesmith

    texts, queue = short_texts(data), 64
    expected = [[one] for one in tunesmith.load(home / "bank")(texts)]
    bodies = [{"inputs": text} for text in texts]
    with tunesmith_server(str(home / "bank"), "--max-queue", str(queue)) as (port, _pid):
        calm = ask(port, "/answer", bodies, queue // 2, seconds, expected=expected)
        crowd = ask(
            port, "/answer", bodies, queue * 10, seconds, expected=expected, pause_after_refusal_s=0.05
        )
        after = ask(port, "/answer", bodies, queue // 2, seconds, expected=expected)
    return {"queue": queue, "calm": calm, "crowd": crowd, "after": after}


ENCODER_TASKS = (
    "text-classification", "multi-label-classification", "text-regression", "token-classification",
    "question-answering", "text-similarity", "fill-mask",
)  # fmt: skip
_ENGINES = {"http": "auto", "onnx": "onnx", "onnx-int8": "onnx-int8"}


def labels(home: Path) -> Record:
    """Shares of answers over HTTP that are those of `predict`, for a short training of every task of encoders."""
    import tunesmith

    support, found = HERE.parent / "examples" / "support", {}
    for task in ENCODER_TASKS:
        run = home / f"support-{task}"
        if not (run / "metrics.json").is_file():
            tunesmith.train(recipe=support / f"{task}.yaml", output_dir=run, overrides={"train.max_steps": 30},
                            progress=False, force=True)  # fmt: skip
        rows = _questions(run)
        expected = tunesmith.load(run)(rows)
        found[task] = {"rows": len(rows), **{way: _share(run, engine, rows, expected)
                                             for way, engine in _ENGINES.items()}}  # fmt: skip
        say(f"{task}: {found[task]}")
    return {"tasks": found}


def _questions(run: Path) -> list[Any]:
    """The inputs of the run's test rows."""
    import tunesmith

    predictor, lines = tunesmith.load(run), (run / "predictions" / "test.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in lines.splitlines()]
    if predictor.task.masking:
        return [
            {"text": row["text"].replace(row["text"].split()[0], "[MASK]", 1)}
            for row in rows
            if "text" in row
        ]
    return [{name: row[name] for name in predictor.task.shown if name in row} for row in rows]


def _share(run: Path, engine: str, rows: list[Any], expected: list[Record]) -> float | None:
    """The share of equal answers; None where the format does not hold the task."""
    import httpx

    import tunesmith

    if engine != "auto" and not run.with_name(f"{run.name}-{engine}").is_dir():
        try:
            limits = {"export.min_agreement": 0.0, "export.max_metric_drop": 1.0}
            tunesmith.export(run, engine, overrides=limits, progress=False)
        except tunesmith.UserError as error:
            say(f"{run.name}, {engine}: {error.rule}")
            return None
    with tunesmith_server(str(run), "--engine", engine) as (port, _pid):
        answers = [
            answer
            for start in range(0, len(rows), 100)
            for answer in httpx.post(
                f"http://127.0.0.1:{port}/answer", json={"inputs": rows[start : start + 100]}, timeout=300
            ).json()["answers"]
        ]
    same = sum(_key(one) == _key(other) for one, other in zip(answers, expected, strict=True))
    return same / len(rows)


def _key(answer: Record) -> object:
    """What must be equal: labels, spans and texts; numbers to two digits where they are the answer."""
    if "entities" in answer:
        return [(one["start"], one["end"], one["entity_group"]) for one in answer["entities"]]
    if "labels" in answer:
        return sorted(one["label"] for one in answer["labels"])
    if "answer" in answer:
        return answer["answer"], answer["start"]
    if answer.get("label", "score") != "score":
        return answer["label"]
    return answer.get("token") or round(answer["score"], 2)


def soak(home: Path, data: Path, minutes: float) -> Record:
    """Resident and proportional memory of the front and its worker over time, under a steady load."""
    import psutil

    bodies = [{"inputs": text} for text in mixed_texts(data)]
    memory: list[Record] = []
    with tunesmith_server(str(home / "bank")) as (port, pid):
        began = time.monotonic()
        while (time.monotonic() - began) / 60 < minutes:
            told = ask(port, "/answer", bodies, 8, 50.0)
            family = [psutil.Process(pid), *psutil.Process(pid).children()]
            mib = [round(one.memory_info().rss / 2**20, 1) for one in family]
            memory.append({"minute": round((time.monotonic() - began) / 60, 2), "rss_mib": mib, **told})
            say(f"{memory[-1]}")
    third = max(len(memory) // 3, 1)
    growth = [
        round(statistics.median(one["rss_mib"][i] for one in memory[-third:])
              - statistics.median(one["rss_mib"][i] for one in memory[third : 2 * third] or memory), 1)
        for i in range(len(memory[0]["rss_mib"]))
    ]  # fmt: skip
    return {"minutes": minutes, "growth_mib_of_front_and_worker": growth, "samples": memory}


def say(text: str) -> None:
    """One line of what is going on."""
    print(text, file=sys.stderr, flush=True)


def parser_of(about: str | None, name: str) -> argparse.ArgumentParser:
    """Options of a benchmark with servers: where its runs are kept, and where the data sets are."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, default=Path(tempfile.gettempdir()) / f"tunesmith-{name}")
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data")
    return parser


def forget_proxies() -> None:
    """Requests go to this machine, past any proxy."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        del os.environ[name]


def main() -> None:
    parser = parser_of(__doc__, "serving")
    parser.add_argument("what", choices=["prepare", "load", "ratio", "overload", "labels", "soak", "page"])
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=30.0)
    asked = parser.parse_args()
    forget_proxies()
    if asked.what == "page":
        (HERE / "serving.md").write_text(page(RESULTS), encoding="utf-8")
        return
    prepare(asked.home, asked.data)
    if asked.what == "prepare":
        return
    from tunesmith.environment import machine, versions

    measured = {
        "load": lambda: load(asked.home, asked.data, asked.seconds, asked.rounds),
        "ratio": lambda: ratio(asked.home, asked.data, asked.seconds, asked.rounds),
        "overload": lambda: overload(asked.home, asked.data, asked.seconds),
        "labels": lambda: labels(asked.home),
        "soak": lambda: soak(asked.home, asked.data, asked.minutes),
    }[asked.what]()
    record = {"date": date.today().isoformat(), "machine": machine(), "versions": versions(), **measured}
    file = RESULTS / f"serving-{asked.what}-{record['date']}.json"
    file.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    say(f"written: {file}")


if __name__ == "__main__":
    main()
