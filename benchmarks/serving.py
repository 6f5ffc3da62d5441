"""The server under load, beside what people write today, and beside `tunesmith predict`.

    python benchmarks/serving.py prepare                 trains the run and exports it (some minutes)
    python benchmarks/serving.py load --seconds 15       requests/s and p99 for each server and number of clients
    python benchmarks/serving.py ratio --seconds 15      texts/s as a share of `predict`, in float32 and int8
    python benchmarks/serving.py overload                ten times more clients than the queue has room for
    python benchmarks/serving.py soak --minutes 30       memory over time under load
    python benchmarks/serving.py page                    writes benchmarks/serving.md from the latest results

Alone on the machine. `load` interleaves the servers in rounds, and each has the whole machine in its turn; the client
shares the cores with it. Needs the data sets' folder (`../shared` beside the checkout).
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

HERE = Path(__file__).parent
RESULTS = HERE / "results"
CLIENTS = (1, 2, 4, 8, 16, 32, 64)
_WARM_S = 3.0
Record = dict[str, Any]


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
    return {"servers": found, "gains": at_equal_p99(found)}


def at_equal_p99(found: dict[str, list[Record]]) -> Record:
    """Of each peer: its best rate, and ours among the measurements whose p99 is not above its p99 there."""
    gains = {}
    ours = best_by_clients(found["tunesmith"])
    for name, records in found.items():
        if name.startswith("tunesmith"):
            continue
        peer = max(best_by_clients(records), key=lambda one: one["requests_per_s"])
        fitting = [one for one in ours if one["p99_ms"] <= peer["p99_ms"]]
        best = max(fitting, key=lambda one: one["requests_per_s"], default=None)
        rate = best["requests_per_s"] if best else 0.0
        gains[name] = {"peer": peer, "ours": best, "ratio": round(rate / peer["requests_per_s"], 2)}
    return gains


def best_by_clients(records: list[Record]) -> list[Record]:
    """The median of the rounds for each number of clients."""
    found = []
    for clients in sorted({one["connections"] for one in records}):
        same = [one for one in records if one["connections"] == clients and one["p99_ms"] is not None]
        if same:
            medians = {
                key: statistics.median(one[key] for one in same)
                for key in ("requests_per_s", "p50_ms", "p99_ms")
            }
            found.append({"connections": clients, **medians})
    return found


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
    """Texts per second over HTTP, as a share of `predict` on the same texts, with 32 texts a request and with one."""
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
                    served[size].append(ask(port, "/predict", bodies[size], clients, seconds))
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
    """Ten times more clients than the queue has room for: what is accepted is right and in time, the rest gets 429."""
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


# ---- the page ----


def latest(name: str) -> Record | None:
    """The newest record of a measurement."""
    files = sorted(RESULTS.glob(f"serving-{name}-*.json"))
    found: Record | None = json.loads(files[-1].read_text(encoding="utf-8")) if files else None
    return found


def page() -> str:
    """benchmarks/serving.md."""
    parts = [
        "# Serving\n\nMade by `python benchmarks/serving.py`. The run is MiniLM on banking77. The client shares the cores "
        "with\nthe servers, and every server has them to itself in its turn.\n"
    ]
    if found := latest("load"):
        rows = [
            f"| {name} | {one['connections']} | {one['requests_per_s']:.0f} | {one['p50_ms']:.1f} | {one['p99_ms']:.1f} |"
            for name, records in found["servers"].items()
            for one in best_by_clients(records)
        ]
        gains = [
            f"At the p99 of {name} ({gain['peer']['p99_ms']:.0f} ms, where it answers most), tunesmith answers "
            f"{gain['ratio']:.1f} times as many requests."
            for name, gain in found["gains"].items()
        ]
        parts.append(_about(found) + "## Mixed lengths, one text a request\n\n| server | clients | requests/s | p50, ms | "
                     "p99, ms |\n|---|---|---|---|---|\n" + "\n".join(rows) + "\n\n" + "\n".join(gains) + "\n")  # fmt: skip
    if found := latest("ratio"):
        rows = [
            f"| {engine} | {size} | {one['texts_per_s']:.0f} | {one['ratio']:.2f} | {one['p99_ms']:.1f} |"
            for engine in ("torch", "onnx-int8")
            for size, one in found[engine].items()
            if isinstance(one, dict)
        ]
        parts.append(_about(found) + "## Short texts, as a share of `predict`\n\n| engine | texts | texts/s | share of "
                     "`predict` | p99, ms |\n|---|---|---|---|---|\n" + "\n".join(rows) + "\n")  # fmt: skip
    if found := latest("overload"):
        rows = [
            f"| {name} | {found[name]['connections']} | {found[name]['requests_per_s']:.0f} | {found[name]['p99_ms']:.0f} "
            f"| {found[name]['statuses'].get('429', 0):,} | {found[name]['wrong']} | {found[name]['lost']} |"
            for name in ("calm", "crowd", "after")
        ]
        parts.append(_about(found) + f"## Overload, with room for {found['queue']} texts\n\n| | clients | answers/s | p99, ms"
                     " | refused (429) | wrong | lost |\n|---|---|---|---|---|---|---|\n" + "\n".join(rows) + "\n")  # fmt: skip
    if found := latest("soak"):
        front, worker = found["growth_mib_of_front_and_worker"][:2]
        parts.append(_about(found) + f"## {found['minutes']:.0f} minutes under load\n\nFrom the second third to the last, the "
                     f"front grew by {front} MiB and the worker by {worker} MiB.\n")  # fmt: skip
    return "\n".join(parts)


def _about(found: Record) -> str:
    return f"<!-- {found['date']}, {found['machine'].get('cpu', found['machine'])} -->\n\n"


def say(text: str) -> None:
    """One line of what is going on."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["prepare", "load", "ratio", "overload", "soak", "page"])
    parser.add_argument("--home", type=Path, default=Path(tempfile.gettempdir()) / "tunesmith-serving")
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data")
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=30.0)
    asked = parser.parse_args()
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        del os.environ[name]
    if asked.what == "page":
        (HERE / "serving.md").write_text(page(), encoding="utf-8")
        return
    prepare(asked.home, asked.data)
    if asked.what == "prepare":
        return
    from tunesmith.environment import machine, versions

    measured = {
        "load": lambda: load(asked.home, asked.data, asked.seconds, asked.rounds),
        "ratio": lambda: ratio(asked.home, asked.data, asked.seconds, asked.rounds),
        "overload": lambda: overload(asked.home, asked.data, asked.seconds),
        "soak": lambda: soak(asked.home, asked.data, asked.minutes),
    }[asked.what]()
    record = {"date": date.today().isoformat(), "machine": machine(), "versions": versions(), **measured}
    file = RESULTS / f"serving-{asked.what}-{record['date']}.json"
    file.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    say(f"written: {file}")


if __name__ == "__main__":
    main()
