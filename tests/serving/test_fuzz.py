"""Requests that nobody would write: every route answers them in time, and never with an error of its own."""

from __future__ import annotations

import http.client
import json
import random
import socket
import time

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings

SLOW_S = 20


@pytest.fixture(scope="module")
def schema(server):
    described = httpx.get(f"{server.url}/openapi.json", trust_env=False).json()
    return schemathesis.openapi.from_dict(described)


def test_what_the_description_allows_and_what_it_does_not(server, schema):
    """Schemathesis makes right and wrong bodies for every route."""
    schema.config.update(base_url=server.url)
    worst, asked = 0.0, 0
    session = requests.Session()
    session.trust_env = False
    for result in schema.get_all_operations():
        operation = result.ok()

        @schemathesis_given(operation)
        def ask(case):
            nonlocal worst, asked
            began = time.monotonic()
            said = case.call(base_url=server.url, session=session, timeout=SLOW_S)
            worst, asked = max(worst, time.monotonic() - began), asked + 1
            assert said.status_code < 500, (case.as_curl_command(), said.text)
            if said.status_code >= 400:
                assert "error" in said.json()

        ask()
    assert asked > 60
    assert worst < SLOW_S


def schemathesis_given(operation):
    def decorate(function):
        bounded = settings(
            max_examples=4, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        strategy = operation.as_strategy() | operation.as_strategy(
            generation_mode=schemathesis.GenerationMode.NEGATIVE
        )
        return bounded(given(case=strategy)(function))

    return decorate


BODIES = [
    b"", b"null", b"[]", b"0", b'""', b"\x00", b"\xff\xfe", b'{"inputs": NaN}', b'{"inputs": 1e999}', b"[" * 3000,
    b'{"inputs": null}', b'{"inputs": [[[]]]}', b'{"inputs": {"text": {"a": 1}}}', b'{"inputs": ["\\u0000"]}',
    b'{"inputs": {"text": ["a"], "words": [[0, 99]]}}',
    b'{"inputs": {"messages": [{"role": "user", "content": []}]}}',
    b'{"messages": [{"role": "assistant", "content": "a"}]}', b'{"messages": [{"role": "x"}], "model": "chat"}',
    b'{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x"}}]}]}',
    b'{"prompt": [], "model": "chat"}', b'{"prompt": "", "model": "chat"}',
    b'{"inputs": "' + b"a " * 40_000 + b'"}',
    b'{"prompt": "a", "model": "chat", "stop": [""]}', b'{"prompt": "a", "model": "chat", "temperature": 1e-9}',
    b'{"prompt": "a", "model": "chat", "max_tokens": 999999, "stream": true}',
    b'{"inputs": {"question": "a", "context": ""}}', b'{"inputs": {"source_sentence": "a", "sentences": []}}',
    b'{"inputs": [], "run": "chat"}', b'{"inputs": "\xed\xa0\x80"}', b'{"inputs": "a", "inputs": "b"}',
]  # fmt: skip


def test_raw_bodies(server, client):
    paths = client.get("/openapi.json").json()["paths"]
    posts = [path for path, methods in paths.items() if "post" in methods]
    names = ["chat", "fill-mask", "question-answering", "nope", "%00", "%2e%2e", "a b"]
    rng = random.Random(0)
    with server.client() as client:
        for body in BODIES:
            for path in rng.sample(posts, 5):
                filled = path.replace("{name}", rng.choice(names)).replace("{task}", rng.choice(names))
                said = client.post(filled, content=body)
                assert said.status_code < 500, (filled, body[:80], said.text)


_ANSWER = b"POST /answer HTTP/1.1\r\nhost: localhost\r\n"
NO_HTTP = [
    b"\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET " + b"a" * 70_000,
    _ANSWER + b"content-length: -1\r\n\r\n",
    _ANSWER + b"transfer-encoding: chunked\r\n\r\nzz\r\n",
    b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
]


def test_bytes_that_are_no_http(server):
    rng = random.Random(1)
    for data in [*NO_HTTP, *(rng.randbytes(200) for _ in range(10))]:
        with socket.create_connection(("127.0.0.1", server.port), timeout=SLOW_S) as peer:
            peer.sendall(data)
            peer.shutdown(socket.SHUT_WR)
            said = peer.recv(200)
            assert said == b"" or b" 4" in said[:13] or b"upgrade" in data, (data[:60], said)


def test_a_body_in_drops_is_refused_or_answered(server):
    """Chunks without a length count against the limit, too."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=SLOW_S)
    chunks = (b"a" * 50_000 for _ in range(8))
    try:
        connection.request("POST", "/answer", body=chunks, headers={"host": "localhost"}, encode_chunked=True)
        status = connection.getresponse().status
    except (BrokenPipeError, ConnectionResetError):
        status = 413  # it hung up while the rest was still on its way
    finally:
        connection.close()
    assert status == 413


def test_the_server_still_answers(client):
    said = client.post("/answer", content=json.dumps({"inputs": "the cat"}))
    assert said.status_code == 200
    assert "tunesmith_worker_restarts_total 0.0" in client.get("/metrics").text
