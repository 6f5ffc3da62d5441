"""Promotions and roll-backs under load, each after a promotion that is killed in the middle.

    python benchmarks/promotions.py --rounds 20     writes results/promotions-DATE.json and promotions.md

Two probes on banking77 are a registry's champion in turn, while clients ask without a pause, four texts in a
request. In each round, a process that promotes is killed with SIGKILL at a random moment, and the pointer must
name a complete run; then the other run is promoted, and rolled back. Each answer is compared with that of the
run that its header names: another label, or a score that is more than 1e-3 off, is a mistake. Before and after,
the same texts are asked on an idle server, and the answers must be identical. Needs the data sets' folder
(`../shared` beside the checkout).
"""

from __future__ import annotations

import csv
import http.client
import json
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from datetime import date
from pathlib import Path
from typing import Any

from serving import forget_proxies, parser_of, tunesmith_server

HERE = Path(__file__).parent
RESULTS = HERE / "results"
Record = dict[str, Any]

_N_TEXTS, _PER_REQUEST = 400, 4
_WAIT_S = 300.0

_PROMOTE = """
import sys
from tunesmith.run.champion import Registry
registry = Registry(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
registry.promote(sys.argv[2], by="a benchmark", reason=sys.argv[3])
"""


def prepare(home: Path, data: Path) -> tuple[Path, Path]:
    """Two probes on halves of banking77, whose answers differ."""
    with (data / "banking77" / "train.csv").open(encoding="utf-8", newline="") as handle:
        header, *rows = csv.reader(handle)
    found = []
    for i, name in enumerate(("old", "new")):
        run, file = home / name, home / f"{name}.csv"
        if not (run / "metrics.json").is_file():
            with file.open("w", encoding="utf-8", newline="") as handle:
                csv.writer(handle).writerows([header, *rows[i::2]])
            command = [
                sys.executable,
                "-m",
                "tunesmith",
                "train",
                str(file),
                "-o",
                str(run),
                "--method",
                "probe",
            ]
            subprocess.run(command, check=True)
        found.append(run)
    return found[0], found[1]


def some_texts(data: Path) -> list[str]:
    """Test questions of banking77."""
    with (data / "banking77" / "test.csv").open(encoding="utf-8", newline="") as handle:
        texts = [row["text"] for row in csv.DictReader(handle)]
    return random.Random(0).sample(texts, _N_TEXTS)


class Clients:
    """Threads that ask without a pause, and compare each answer with that of the run that its header names.

    Args:
        port: of the server.
        texts: what is asked.
        right: answer to each text, by the name of the run.
        n: number of threads.
    """

    def __init__(self, port: int, texts: list[str], right: dict[str, list[Record]], n: int) -> None:
        self.port, self.texts, self.right = port, texts, right
        self.seconds: list[float] = []
        self.n_by_run: dict[str, int] = {}
        self.failed: list[str] = []
        self.mistaken: list[Record] = []
        self.worst_score = 0.0
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._threads = [threading.Thread(target=self._ask, args=(i,)) for i in range(n)]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, seed: int) -> None:
        draw, connection = random.Random(seed), http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        while not self._stop.is_set():
            chosen = draw.sample(range(len(self.texts)), _PER_REQUEST)
            began = time.perf_counter()
            try:
                run, answers = answers_of(connection, [self.texts[i] for i in chosen])
            except (OSError, http.client.HTTPException, RuntimeError) as error:
                self.failed.append(repr(error))
                connection.close()
                continue
            with self._lock:
                self.seconds.append(time.perf_counter() - began)
                self.n_by_run[run] = self.n_by_run.get(run, 0) + 1
                self._compare(run, chosen, answers)

    def _compare(self, run: str, chosen: list[int], answers: list[Record]) -> None:
        for i, answer in zip(chosen, answers, strict=True):
            expected = self.right[run][i]
            off = abs(answer["score"] - expected["score"])
            if answer["label"] != expected["label"] or off > 1e-3:
                self.mistaken.append({"run": run, "text": i, "answer": answer, "expected": expected})
            self.worst_score = max(self.worst_score, off)

    def wait_for(self, run: str) -> float:
        """Seconds until a run answers."""
        began, before = time.perf_counter(), self.n_by_run.get(run, 0)
        while self.n_by_run.get(run, 0) == before:
            if time.perf_counter() - began > _WAIT_S:
                raise RuntimeError(f"`{run}` does not answer: {self.failed[-3:]}")
            time.sleep(0.01)
        return time.perf_counter() - began


def answers_of(connection: http.client.HTTPConnection, texts: list[str]) -> tuple[str, list[Record]]:
    """The run of a request, and its answers."""
    body = json.dumps({"inputs": texts})
    connection.request("POST", "/answer", body, {"content-type": "application/json"})
    said = connection.getresponse()
    content = said.read()
    if said.status != 200:
        raise RuntimeError(f"{said.status}: {content.decode()}")
    return str(said.headers["x-tunesmith-run"]), json.loads(content)["answers"]


def killed_promotion(registry: Path, run: Path, after_s: float) -> tuple[bool, bool]:
    """Starts a promotion and kills it; whether it was killed before its end, and whether the pointer had moved."""
    from tunesmith.run.champion import Registry

    before = Registry(registry).current().number
    command = [sys.executable, "-c", _PROMOTE, str(registry), str(run), "killed"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdout.readline()
    process.stdin.write("go\n")
    process.stdin.flush()
    time.sleep(after_s)
    process.kill()
    code = process.wait()
    held = Registry(registry).current()
    held.checked_run()  # raises where the pointer names anything but a complete run
    assert [one.number for one in Registry(registry).history()] == list(range(1, held.number + 1))
    return code == -signal.SIGKILL, held.number != before


def measure(home: Path, data: Path, rounds: int, n_clients: int) -> Record:
    """The rounds, and what the clients saw."""
    from tunesmith import load
    from tunesmith.run.champion import Registry

    old, new = prepare(home, data)
    texts = some_texts(data)
    right = {run.name: load(run)(texts) for run in (old, new)}
    folder = Path(tempfile.mkdtemp(dir=home)) / "registry"
    registry, draw = Registry(folder), random.Random(0)
    registry.promote(old, by="a benchmark", reason="the first")
    began = time.perf_counter()
    registry.promote(new, by="a benchmark", reason="how long it takes")
    takes_s = time.perf_counter() - began
    registry.rollback(by="a benchmark", reason="back")
    told: list[Record] = []
    with tunesmith_server(str(folder), "--log", "off") as (port, _pid):
        idle = answers_of(http.client.HTTPConnection("127.0.0.1", port), texts)
        with Clients(port, texts, right, n_clients) as clients:
            clients.wait_for("old")
            for number in range(rounds):
                was_killed, has_moved = killed_promotion(folder, new, draw.uniform(0, 1.5 * takes_s))
                if not has_moved:
                    registry.promote(new, by="a benchmark", reason=f"round {number}")
                forth = clients.wait_for("new")
                registry.rollback(by="a benchmark", reason=f"round {number}")
                back = clients.wait_for("old")
                told.append({"killed": was_killed, "moved": has_moved, "forth_s": forth, "back_s": back})
                say(f"{told[-1]}, {len(clients.seconds)} requests, {len(clients.failed)} failed")
        again = answers_of(http.client.HTTPConnection("127.0.0.1", port), texts)
    ordered, pairs = sorted(clients.seconds), list(zip(right["old"], right["new"], strict=True))
    return {
        "rounds": told, "clients": n_clients, "requests": clients.n_by_run, "failed": clients.failed,
        "mistaken": clients.mistaken, "worst_score_off": clients.worst_score,
        "p50_ms": round(1000 * statistics.median(ordered), 1),
        "p99_ms": round(1000 * ordered[int(0.99 * len(ordered))], 1), "slowest_ms": round(1000 * ordered[-1], 1),
        "identical_when_idle": idle == again,
        "labels_that_differ_between_the_runs": sum(a["label"] != b["label"] for a, b in pairs) / len(texts),
        "scores_that_differ_by_more_than_1e-3": sum(
            abs(a["score"] - b["score"]) > 1e-3 for a, b in pairs) / len(texts),
    }  # fmt: skip


def page(found: Record) -> str:
    """The page of a result."""
    rounds = found["rounds"]
    killed = [one for one in rounds if one["killed"]]
    back = sorted(one["back_s"] for one in rounds)
    rows = [
        ("promotions and roll-backs", f"{len(rounds)} and {len(rounds)}"),
        ("promotions killed in the middle", f"{len(killed)}, {sum(one['moved'] for one in killed)} after the "
         "pointer had moved; each time it named a complete run"),
        ("requests", f"{sum(found['requests'].values()):,}, by {found['clients']} clients, four texts each"),
        ("failed requests", f"{len(found['failed'])}"),
        ("answers that are not those of the run in the header", f"{len(found['mistaken'])}"),
        ("largest distance of a score, under load", f"{found['worst_score_off']:.1e}"),
        ("answers after it all, on an idle server", "identical" if found["identical_when_idle"] else "different"),
        ("from a roll-back to the first old answer",
         f"median {statistics.median(back):.1f} s, at most {back[-1]:.1f} s"),
        ("time of a request", f"median {found['p50_ms']} ms, p99 {found['p99_ms']} ms, slowest "
         f"{found['slowest_ms']} ms"),
    ]  # fmt: skip
    table = "\n".join(f"| {what} | {value} |" for what, value in rows)
    return (
        "# Promotions under load\n\n"
        "`python benchmarks/promotions.py` writes this page. Two probes on banking77 are a registry's champion\n"
        "in turn, while clients ask without a pause. In each round, a promotion is killed with SIGKILL at a\n"
        "random moment; then the other run is promoted, and rolled back. "
        f"The two runs differ in {100 * found['labels_that_differ_between_the_runs']:.1f} %\n"
        f"of the labels, and in {100 * found['scores_that_differ_by_more_than_1e-3']:.1f} % of the scores by more "
        "than 1e-3, so a mixed answer would be seen.\n\n"
        f"{found['date']}, {found['machine']['processor']}, {found['machine']['cores']} cores"
        f"{found['note']}.\n\n| | |\n|---|---|\n{table}\n"
    )


def say(text: str) -> None:
    """One line of what is going on."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    parser = parser_of(__doc__, "promotions")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--note", default="", help="What the reader must know of the machine.")
    asked = parser.parse_args()
    forget_proxies()
    asked.home.mkdir(parents=True, exist_ok=True)
    from tunesmith.environment import machine, versions

    measured = measure(asked.home, asked.data, asked.rounds, asked.clients)
    note = f"; {asked.note}" if asked.note else ""
    record = {"date": date.today().isoformat(), "machine": machine(), "versions": versions(), "note": note,
              **measured}  # fmt: skip
    file = RESULTS / f"promotions-{record['date']}.json"
    file.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    (HERE / "promotions.md").write_text(page(record), encoding="utf-8")
    say(f"written: {file}")


if __name__ == "__main__":
    main()
