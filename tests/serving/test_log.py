"""What a server keeps of its answers."""

import os
import signal
import time

import pytest

from tunesmith.monitoring.prediction_log import FLUSH_S, read_log

TEXT = "the cat is red, write to ann@example.org"


def kept_by(place, answer):
    """The line of an answer, once it is written."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        found = [row for row in read_log(place) if row["id"] == answer]
        if found:
            return found[0]
        time.sleep(FLUSH_S)
    raise AssertionError(answer)


@pytest.fixture(scope="module")
def place(runs):
    return f"{runs['text-classification']}-log"


def test_an_answer_gets_its_feedback_and_is_forgotten(client, place):
    asked = client.post("/answer", json={"inputs": [TEXT, "old new"]})
    number = asked.headers["x-tunesmith-log-id"]
    row = kept_by(place, f"{number}-0")
    assert row["label"] == asked.json()["answers"][0]["label"]
    assert row["text"] is None
    said = client.post("/feedback", json={"id": number, "input": 1, "label": "colour"})
    assert said.json() == {"id": number, "input": 1}
    assert kept_by(place, f"{number}-1")["feedback"]["label"] == "colour"
    assert client.delete(f"/log/{number}").json() == {"deleted": 2}
    assert not [row for row in read_log(place) if row["id"].startswith(number)]


def test_a_request_id_of_the_client_may_come_twice(client, place):
    numbers = set()
    for _ in range(2):
        asked = client.post("/answer", json={"inputs": TEXT}, headers={"x-request-id": "mine"})
        numbers.add(asked.headers["x-tunesmith-log-id"])
    assert len(numbers) == 2
    for number in numbers:
        kept_by(place, f"{number}-0")


@pytest.mark.parametrize(
    "body", [{"id": "unknown", "label": "x"}, {"id": "unknown", "input": 7, "label": None}]
)
def test_an_unknown_answer(client, body):
    assert client.post("/feedback", json=body).status_code == 404
    assert client.delete("/log/unknown").status_code == 404


def test_entities_are_kept_without_their_words(client, place):
    asked = client.post("/models/token-classification", json={"inputs": "the cat is red"})
    row = kept_by(place, f"{asked.headers['x-tunesmith-log-id']}-0")
    assert all("word" not in entity for entity in row["answer"]["entities"])


def test_a_killed_server_has_kept_what_it_answered(serving, runs, tmp_path):
    how = ("--log", "text", "--log-to", tmp_path / "log")
    with serving(runs["text-classification"], *how) as served, served.client() as client:
        asked = [client.post("/answer", json={"inputs": TEXT}) for _ in range(20)]
        time.sleep(4 * FLUSH_S)
        os.kill(served.process.pid, signal.SIGKILL)
        served.process.wait()
    numbers = [it.headers["x-tunesmith-log-id"] for it in asked]
    rows = {row["id"]: row for row in read_log(tmp_path / "log")}
    assert {f"{number}-0" for number in numbers} == set(rows)
    assert rows[f"{numbers[0]}-0"]["text"] == "the cat is red, write to [EMAIL]"
