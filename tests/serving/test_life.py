"""A server under load: too many requests, a killed worker, its end. Nothing is lost or answered wrong."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time

import httpx
import pytest

from tunesmith.serving.keys import add_key

TEXTS = ["the cat", "a red dog is here", "old small blue " * 8, "green"]


class Load:
    """Clients that ask without a pause until they are told to stop.

    Args:
        served: server to ask.
        n: number of clients.
        expected: right answer to each text.
    """

    def __init__(self, served, n, expected, inputs=1):
        self.served, self.expected, self.inputs = served, expected, inputs
        self.statuses: list[int] = []
        self.wrong: list[object] = []
        self.lost: list[str] = []
        self.slowest = 0.0
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(i,)) for i in range(n)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(120)
        assert not any(thread.is_alive() for thread in self._threads), "a request hangs"

    def _ask(self, number):
        with self.served.client() as client:
            while not self._stop.is_set():
                text = TEXTS[number % len(TEXTS)]
                began = time.monotonic()
                try:
                    said = client.post("/answer", json={"inputs": [text] * self.inputs})
                except httpx.ConnectError:
                    if self.served.process.poll() is None and not self._stop.is_set():
                        time.sleep(0.02)  # it listens no more, and nothing was accepted
                        continue
                    return
                except httpx.HTTPError as error:
                    self.lost.append(repr(error))
                    return
                self.statuses.append(said.status_code)
                if said.status_code == 200:
                    self.slowest = max(self.slowest, time.monotonic() - began)
                    for answer in said.json()["answers"]:
                        answer.pop("tokens")
                        score = pytest.approx(self.expected[text]["score"], abs=2e-5)
                        if answer != {**self.expected[text], "score": score}:
                            self.wrong.append(answer)
                elif said.status_code == 429:
                    assert int(said.headers["retry-after"]) >= 1
                    time.sleep(0.01)

    def wait_for(self, n):
        began = time.monotonic()
        while len(self.statuses) < n:
            assert time.monotonic() - began < 120, (len(self.statuses), self.lost)
            time.sleep(0.01)


@pytest.fixture(scope="module")
def expected(predictors):
    return {text: predictors("text-classification")(text) for text in TEXTS}


@pytest.fixture(scope="module")
def served(runs, serving, tmp_path_factory):
    """One with all its locks: keys, and TLS where there is a program that makes a certificate."""
    folder = tmp_path_factory.mktemp("locks")
    options = ["--max-queue", 24, "--timeout", 120, "--max-connections", 60, "--api-keys", folder / "keys"]
    key = add_key(folder / "keys", "alice")
    if shutil.which("openssl"):
        options += ["--tls-cert", folder / "cert.pem", "--tls-key", folder / "key.pem"]
        command = (
            f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -out {folder}/cert.pem"
        )
        subprocess.run(
            [*command.split(), "-keyout", str(folder / "key.pem")], check=True, capture_output=True
        )
    with serving(runs["text-classification"], *options) as found:
        found.headers = {"authorization": f"Bearer {key}"}
        yield found


def test_the_door_is_locked(served):
    assert served.url.startswith("https" if shutil.which("openssl") else "http")
    with served.client() as client:
        assert client.get("/runs").status_code == 200
        assert client.get("/runs", headers={"authorization": "Bearer other"}).status_code == 401
        assert client.get("/livez", headers={"authorization": ""}).status_code == 200


def test_beyond_its_limit_it_refuses_and_forgets_nothing(served, expected):
    with Load(served, 12, expected, inputs=8) as load:
        load.wait_for(150)
    assert set(load.statuses) == {200, 429}
    assert not load.lost
    assert not load.wrong


def test_a_killed_worker_loses_nothing(served, expected):
    (worker,) = served.workers()
    with Load(served, 4, expected) as load:
        load.wait_for(20)
        os.kill(worker, signal.SIGKILL)
        load.wait_for(len(load.statuses) + 40)
    assert not load.lost
    assert not load.wrong
    assert set(load.statuses) == {200}
    assert served.workers() != [worker]
    with served.client() as client:
        assert "tunesmith_worker_restarts_total 1.0" in client.get("/metrics").text


def test_connections_beyond_the_limit_are_refused(served):
    sockets = []
    try:
        for _ in range(90):
            one = socket.create_connection(("127.0.0.1", served.port), timeout=5)
            sockets.append(_with_tls(one) if served.url.startswith("https") else one)
        time.sleep(0.3)
        for one in sockets:
            one.settimeout(0.01)
        closed = sum(_is_closed(one) for one in sockets)
        assert 25 <= closed <= 40
    finally:
        for one in sockets:
            one.close()
    time.sleep(0.2)
    with served.client() as client:
        assert client.get("/livez").status_code == 200


def _with_tls(one):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        return context.wrap_socket(one)
    except OSError:  # it hung up
        return one


def _is_closed(one):
    try:
        return one.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


@pytest.mark.slow
def test_after_a_signal_it_answers_what_it_took_and_ends_with_0(served, expected):
    with Load(served, 6, expected) as load:
        load.wait_for(30)
        served.process.send_signal(signal.SIGTERM)
        code = served.process.wait(30)
    assert code == 0
    assert not load.lost
    assert not load.wrong
    assert set(load.statuses) == {200}
    assert not [line for line in served.errors if "Traceback" in line]
