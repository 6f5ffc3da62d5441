"""A load generator that costs little: connections that are kept, one request at a time on each, in one process.

    python _serving_client.py SPEC.json

Reads a specification and prints one JSON object: requests per second, quantiles of the time of a request,
statuses, and wrong answers. A request is written once, before the clock runs. It does what `wrk` does, and checks
answers.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any


class Connection(asyncio.Protocol):
    """One client: sends the next request when the answer to the last one is whole."""

    def __init__(self, load: Load, first: int) -> None:
        self.load, self.next = load, first
        self.data = bytearray()
        self.began = 0.0
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.send()

    def send(self) -> None:
        if self.load.is_over or self.transport.is_closing():
            self.transport.close()
            return
        self.sent = self.next % len(self.load.requests)
        self.next += self.load.connections
        self.began = time.perf_counter()
        self.transport.write(self.load.requests[self.sent])

    def data_received(self, data: bytes) -> None:
        self.data += data
        head = self.data.find(b"\r\n\r\n")
        if head < 0:
            return
        length = _content_length(self.data[:head])
        if len(self.data) < head + 4 + length:
            return
        status = int(self.data[9:12])
        body = bytes(self.data[head + 4 : head + 4 + length])
        del self.data[: head + 4 + length]
        self.load.answered(self.sent, status, time.perf_counter() - self.began, body)
        pause = self.load.pause_after_refusal_s if status == 429 else 0.0
        if pause:
            asyncio.get_running_loop().call_later(pause, self.send)
        else:
            self.send()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.load.is_over:
            self.load.lost += 1
        self.load.open -= 1


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.split(b":")[1])
    raise ValueError("an answer without a length")


class Load:
    """What is asked, and what came back."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec, self.connections = spec, spec["connections"]
        self.pause_after_refusal_s = spec.get("pause_after_refusal_s", 0.0)
        self.requests = [_request(spec, body) for body in spec["bodies"]]
        self.expected = spec.get("expected")
        self.times: list[float] = []
        self.statuses: Counter[int] = Counter()
        self.wrong = self.lost = self.open = 0
        self.is_over = self.is_warm = False

    def answered(self, number: int, status: int, seconds: float, body: bytes) -> None:
        if not self.is_warm:
            return
        self.statuses[status] += 1
        if status == 200:
            self.times.append(seconds)
            if self.expected is not None and not _is_right(json.loads(body), self.expected[number]):
                self.wrong += 1

    async def run(self) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        for number in range(self.connections):
            self.open += 1
            await loop.create_connection(
                lambda number=number: Connection(self, number), self.spec["host"], self.spec["port"]
            )
        await asyncio.sleep(self.spec["warm_s"])
        self.is_warm, began = True, time.perf_counter()
        await asyncio.sleep(self.spec["seconds"])
        seconds, self.is_over = time.perf_counter() - began, True
        while self.open and time.perf_counter() - began < seconds + 60:
            await asyncio.sleep(0.05)
        return self.result(seconds)

    def result(self, seconds: float) -> dict[str, Any]:
        times = sorted(self.times)

        def quantile(share: float) -> float | None:
            return round(1000 * times[min(int(share * len(times)), len(times) - 1)], 3) if times else None

        return {
            "connections": self.connections,
            "requests_per_s": round(len(times) / seconds, 2),
            "p50_ms": quantile(0.5),
            "p90_ms": quantile(0.9),
            "p99_ms": quantile(0.99),
            "max_ms": quantile(1.0),
            "statuses": {str(status): n for status, n in sorted(self.statuses.items())},
            "wrong": self.wrong,
            "lost": self.lost,
        }


def _request(spec: dict[str, Any], body: Any) -> bytes:
    data = json.dumps(body).encode()
    return (
        f"POST {spec['path']} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(data)}\r\n\r\n"
    ).encode() + data


def _is_right(found: Any, expected: list[dict[str, Any]]) -> bool:
    """Whether `/answer` said what `predict` says, but for the last digits of numbers."""
    answers = found["answers"]
    return len(answers) == len(expected) and all(
        one["label"] == other["label"] and abs(one["score"] - other["score"]) < 1e-3
        for one, other in zip(answers, expected, strict=True)
    )


if __name__ == "__main__":
    loads = Load(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    with asyncio.Runner() as runner:
        print(json.dumps(runner.run(loads.run())))
