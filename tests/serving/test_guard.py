"""What is refused before a model is asked: in this process, without workers."""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest

from tunesmith.errors import RecipeError
from tunesmith.serving.app import make_app
from tunesmith.serving.asks import Admission, Ask
from tunesmith.serving.deployment import Deployment
from tunesmith.serving.guard import is_loopback
from tunesmith.serving.keys import Keys, add_key
from tunesmith.serving.refused import Refused
from tunesmith.serving.server import refuse_open_door
from tunesmith.serving.service import Service
from tunesmith.serving.settings import Settings

RUN = {"name": "a", "version": "a", "promotion": None, "deployment": 1, "task": "text-classification",
       "generates": False, "embeds": False, "streams": False, "cascade": None}  # fmt: skip


class Canned:
    """In place of the workers: each text is answered after a while."""

    n_ready = 1

    def __init__(self, wait_s=0.0):
        self.wait_s, self.withdrawn = wait_s, []

    def submit(self, ask):
        answers = [{"label": text, "score": 1.0, "tokens": 7} for text in ask.message["rows"]]
        said = {"answers": answers, "queued_s": 0.0, "worked_s": 0.0}
        asyncio.get_running_loop().call_later(self.wait_s, ask.answer, said)

    def withdraw(self, ask):
        self.withdrawn.append(ask.number)


def asking(requests, *, settings=None, keys=None, team=None, prepare=None):
    """The responses to requests (method, path, keywords), one after the other, and the service."""

    async def run():
        service = Service(settings or Settings(), [], keys, "0")
        service.deployments.answering["a"] = RUN
        service.deployments._all[1] = Deployment(1, team or Canned())
        if prepare is not None:
            prepare(service)
        sweeper = asyncio.get_running_loop().create_task(service._sweep())
        transport = httpx.ASGITransport(make_app(service))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            found = [await client.request(method, path, **how) for method, path, how in requests]
        sweeper.cancel()
        return found, service

    return asyncio.run(run())


ASK = ("POST", "/answer", {"json": {"inputs": "x"}})


def test_without_keys_everybody_on_this_machine_may_ask():
    (said,), _ = asking([ASK])
    assert said.status_code == 200
    assert said.json()["answers"] == [{"label": "x", "score": 1.0, "tokens": 7}]


def test_with_keys_only_their_owners(tmp_path):
    key = add_key(tmp_path / "keys", "alice")
    with_key = [{"authorization": f"Bearer {key}"}, {"x-api-key": key}, {"authorization": f"bearer {key}"}]
    without = [
        {},
        {"authorization": "Bearer nope"},
        {"authorization": f"Basic {key}"},
        {"x-api-key": key[:-1]},
    ]
    requests = [(*ASK[:2], {**ASK[2], "headers": headers}) for headers in (*with_key, *without)]
    open_paths = ["/livez", "/readyz", "/health", "/v2/health/live", "/", "/page/page.js", "/page/page.css"]
    locked = ["/metrics", "/info", "/runs", "/openapi.json", "/v1/models", "/v2", "/nope"]
    requests += [("GET", path, {}) for path in (*open_paths, *locked)] + [
        ("POST", "/", {"json": {"inputs": "x"}})
    ]
    found, _ = asking(requests, keys=Keys(tmp_path / "keys"))
    statuses = [said.status_code for said in found]
    n = len(with_key)
    assert statuses[:n] == [200] * n
    assert statuses[n : n + len(without)] == [401] * len(without)
    rest = statuses[n + len(without) :]
    assert rest == [200] * len(open_paths) + [401] * (len(locked) + 1)
    assert found[n].headers["www-authenticate"] == "Bearer"


def test_limits_of_a_key(tmp_path):
    key = add_key(tmp_path / "keys", "alice")
    file = tmp_path / "keys"
    file.write_text(file.read_text().strip() + " requests_per_minute=3 tokens_per_minute=1000\n")
    headers = {"authorization": f"Bearer {key}"}
    found, _ = asking([(*ASK[:2], {**ASK[2], "headers": headers})] * 5, keys=Keys(file))
    assert [said.status_code for said in found] == [200, 200, 200, 429, 429]
    assert int(found[3].headers["retry-after"]) >= 1
    file.write_text(
        file.read_text().replace("requests_per_minute=3 tokens_per_minute=1000", "tokens_per_minute=10")
    )
    found, _ = asking([(*ASK[:2], {**ASK[2], "headers": headers})] * 4, keys=Keys(file))
    assert [said.status_code for said in found] == [200, 200, 429, 429]


def test_a_slow_body_is_not_waited_for():
    async def drops():
        yield b'{"inputs":'
        await asyncio.sleep(3)
        yield b'"x"}'

    settings = Settings(body_timeout_s=0.2)
    began = time.monotonic()
    (said,), _ = asking([("POST", "/answer", {"content": drops()})], settings=settings)
    assert said.status_code == 408
    assert time.monotonic() - began < 2


def test_bodies_that_are_being_sent_count_together():
    def crowd(service):
        service.n_bytes_read = 1000

    settings = Settings(max_queue_bytes=1010, max_body_bytes=900)
    small, large = ("POST", "/answer", {"content": b"{}"}), ("POST", "/answer", {"content": b"x" * 500})
    found, service = asking([small, large, small], settings=settings, prepare=crowd)
    assert [said.status_code for said in found] == [422, 429, 422]
    assert service.n_bytes_read == 1000


def test_a_deadline_is_kept_and_the_worker_is_told():
    team = Canned(wait_s=5)
    (said,), service = asking([ASK], settings=Settings(timeout_s=0.2), team=team)
    assert said.status_code == 504
    assert team.withdrawn == [1]
    assert (service.admission.n_inputs, service.admission.n_bytes) == (0, 0)


def test_it_says_that_it_is_not_ready():
    def drain(service):
        service.is_draining = True

    found, _ = asking(
        [("GET", path, {}) for path in ("/readyz", "/livez", "/v2/health/ready")], prepare=drain
    )
    assert [said.status_code for said in found] == [503, 200, 503]
    assert found[0].headers["connection"] == "close"


def test_an_error_of_our_own_tells_nothing(caplog):
    class Broken(Canned):
        def submit(self, ask):
            raise ZeroDivisionError("/secret/path")

    (said,), service = asking([ASK], team=Broken())
    assert said.status_code == 500
    assert "secret" not in said.text
    assert "ZeroDivisionError" in caplog.text
    assert service.admission.n_inputs == 0


def ask_of(run, n, n_bytes=10, wait_s=60.0):
    loop = asyncio.new_event_loop()
    try:
        message = {"run": run, "rows": ["x"] * n}
        return Ask(1, message, n_bytes, time.monotonic() + wait_s, loop.create_future(), None)
    finally:
        loop.close()


def test_room_is_counted_in_inputs_bytes_and_time():
    admission = Admission(Settings(max_queue=10, max_queue_bytes=100))
    admission.enter(ask_of("a", 50), 1)  # alone, a request is always taken
    first = ask_of("a", 50)
    admission.leave(first)
    admission.enter(ask_of("a", 6), 1)
    with pytest.raises(Refused) as refused:
        admission.enter(ask_of("a", 5), 1)
    assert refused.value.headers == {"retry-after": "1"}
    with pytest.raises(Refused):
        admission.enter(ask_of("a", 1, n_bytes=95), 1)
    admission.measured({"run": "a", "items": 10, "seconds": 20.0})
    assert admission.wait_s("a", 1) == pytest.approx(12)
    with pytest.raises(Refused) as refused:
        admission.enter(ask_of("a", 1, wait_s=5), 1)
    assert refused.value.headers == {"retry-after": "12"}
    admission.enter(ask_of("b", 1, wait_s=5), 1)  # another run is free


def test_loopback():
    assert all(map(is_loopback, ["127.0.0.1", "localhost", "::1", "127.8.8.8"]))
    assert not any(map(is_loopback, ["0.0.0.0", "::", "10.0.0.1", "example.com", ""]))


def test_an_open_door_is_refused(tmp_path):
    with pytest.raises(RecipeError, match="anybody"):
        refuse_open_door(Settings(host="0.0.0.0"))
    refuse_open_door(Settings(host="0.0.0.0", api_keys=tmp_path))
    with pytest.raises(RecipeError, match="belong together"):
        refuse_open_door(Settings(tls_cert=tmp_path))
