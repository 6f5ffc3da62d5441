"""A cascade beside the run alone: who answers, how often wrongly, and requests/s.

    python benchmarks/cascade.py --seconds 10 --rounds 3

The run is a whole fine-tuning of MiniLM on banking77 (`--home`; trained where it is not there), and the texts are
the test set of banking77, each a request of its own. All servers are measured in turn, in rounds, with the client
on the same cores. Writes `results/cascade-DATE.json` and `cascade.md`. Needs the data sets' folder (`../shared`
beside the checkout).
"""

from __future__ import annotations

import csv
import json
import os
import statistics
import subprocess
import sys
import urllib.request
from datetime import date
from pathlib import Path
from typing import Any

from serving import RESULTS, Record, ask, forget_proxies, parser_of, say, tunesmith_server

HERE = Path(__file__).parent
ERRORS = (0.02, 0.03, 0.05)
CLIENTS = 8


def prepare(run: Path, data: Path) -> None:
    """The run, where it is not there."""
    if (run / "metrics.json").is_file():
        return
    train, test = (str(data / "banking77" / f"{split}.csv") for split in ("train", "test"))
    command = [sys.executable, "-m", "tunesmith", "train", train, "--test", test]
    subprocess.run([*command, "-o", str(run), "train.num_train_epochs=2", "data.check=off"], check=True)


def rows_of_test(data: Path) -> tuple[list[str], list[str]]:
    """Texts and labels of the test set."""
    with (data / "banking77" / "test.csv").open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    label = next(name for name in rows[0] if name != "text")
    return [row["text"] for row in rows], [row[label] for row in rows]


def answers(port: int, texts: list[str]) -> list[Record]:
    """The answer to each text."""
    found: list[Record] = []
    for begin in range(0, len(texts), 256):
        body = json.dumps({"inputs": texts[begin : begin + 256]}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/answer", body, {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=120) as said:
            found.extend(json.load(said)["answers"])
    return found


def quality(found: list[Record], labels: list[str]) -> Record:
    """Who answered, and how often rightly."""
    right = [answer["label"] == label for answer, label in zip(found, labels, strict=True)]
    first = [is_right for answer, is_right in zip(found, right, strict=True) if "stage" in answer]
    return {
        "rows": len(found), "first_share": len(first) / len(found),
        "first_error": 1 - sum(first) / len(first) if first else 0.0, "accuracy": sum(right) / len(right),
    }  # fmt: skip


def measure(run: Path, data: Path, seconds: float, rounds: int) -> Record:
    """Every server: what it answers, and how fast."""
    texts, labels = rows_of_test(data)
    bodies = [{"inputs": [text]} for text in texts]
    servers: dict[str, tuple[str, ...]] = {"the run alone": ()}
    servers |= {f"cascade, at most {error:.0%} wrong": ("--cascade", str(error)) for error in ERRORS}
    found: dict[str, Any] = {name: {"load": []} for name in servers}
    alone: list[Record] = []
    for number in range(rounds):
        for name, options in servers.items():
            with tunesmith_server(str(run), "--log", "off", *options) as (port, _pid):
                if not number:
                    given = answers(port, texts)
                    alone = given if not options else alone
                    found[name] |= {**quality(given, labels), "as_predict": same(given, alone)}
                found[name]["load"].append(ask(port, "/predict", bodies, CLIENTS, seconds))
                say(f"{name}: {found[name]}")
    return found


def same(found: list[Record], alone: list[Record]) -> bool:
    """Whether every answer of the full model is the one that it gives without a cascade."""
    pairs = [(one, other) for one, other in zip(found, alone, strict=True) if "stage" not in one]
    return all(
        one["label"] == other["label"] and abs(one["score"] - other["score"]) < 1e-4 for one, other in pairs
    )


def page(record: Record) -> str:
    """The page of a measurement."""
    lines = [
        "# A cascade", "",
        "Made by `python benchmarks/cascade.py`: a fine-tuned MiniLM on banking77, its test set as requests, "
        f"{CLIENTS} clients on the cores of the server.", "",
        "| server | answered by the first stage | wrong among these | accuracy of all | requests/s | p99, ms |",
        "| --- | --- | --- | --- | --- | --- |",
    ]  # fmt: skip
    for name, it in record["servers"].items():
        rate = statistics.median(one["requests_per_s"] for one in it["load"])
        p99 = statistics.median(one["p99_ms"] for one in it["load"])
        wrong = f"{it['first_error']:.1%}" if it["first_share"] else "–"
        lines.append(
            f"| {name} | {it['first_share']:.1%} | {wrong} | {it['accuracy']:.4f} | {rate:.0f} | {p99:.1f} |"
        )
    is_same = all(it.get("as_predict", True) for it in record["servers"].values())
    machine = record["machine"]
    lines += [
        "",
        f"Where the run answered, {'all' if is_same else 'NOT all'} of its answers were those without a cascade.",
        "",
        f"{record['date']}, {machine['processor']}, {record['cores_used']} of {machine['cores']} cores; "
        f"load average before: {record['load_before']:.1f}. Rates are medians over {record['rounds']} rounds.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = parser_of(__doc__, "cascade")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    forget_proxies()
    from tunesmith.environment import machine, versions

    run = asked.home / "bank"
    prepare(run, asked.data)
    before = os.getloadavg()[0]
    servers = measure(run, asked.data, asked.seconds, asked.rounds)
    record = {"date": date.today().isoformat(), "machine": machine(), "versions": versions(),
              "load_before": before, "cores_used": len(os.sched_getaffinity(0)),
              "rounds": asked.rounds, "servers": servers}  # fmt: skip
    file = RESULTS / f"cascade-{record['date']}.json"
    file.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    (HERE / "cascade.md").write_text(page(record), encoding="utf-8")
    say(f"written: {file}")


if __name__ == "__main__":
    main()
