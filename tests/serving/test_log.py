"""What a server keeps of its answers."""

import os
import signal
import time
from dataclasses import replace

import pytest

from tunesmith import load
from tunesmith.evaluation.promotion import Rule
from tunesmith.lifecycle.updating import Asked, update
from tunesmith.monitoring.prediction_log import FLUSH_S, read_log
from tunesmith.run.champion import Registry
from tunesmith.testing.tiny_words import FILLERS

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


NOTHING = [f"the old {one} and {other}" for one in FILLERS for other in FILLERS if one != other][:90]
"""Texts of a label that the run does not know: no animal, no colour."""


@pytest.fixture(scope="module")
def text_log(serving, runs, tmp_path_factory):
    """The log of a server that was killed, with the ids of the answers; 60 of them have feedback."""
    place = tmp_path_factory.mktemp("texts") / "log"
    how = ("--log", "text", "--log-to", place)
    with serving(runs["text-classification"], *how) as served, served.client() as client:
        asked = [client.post("/answer", json={"inputs": TEXT}) for _ in range(20)]
        batch = client.post("/answer", json={"inputs": NOTHING}).headers["x-tunesmith-log-id"]
        for number in range(60):
            said = client.post("/feedback", json={"id": batch, "input": number, "label": "nothing"})
            assert said.status_code == 200
        time.sleep(4 * FLUSH_S)
        os.kill(served.process.pid, signal.SIGKILL)
        served.process.wait()
    return place, [it.headers["x-tunesmith-log-id"] for it in asked], batch


def test_a_killed_server_has_kept_what_it_answered(text_log):
    place, numbers, batch = text_log
    rows = {row["id"]: row for row in read_log(place)}
    theirs = {f"{number}-0" for number in numbers} | {f"{batch}-{i}" for i in range(len(NOTHING))}
    assert theirs == set(rows)
    assert rows[f"{numbers[0]}-0"]["text"] == "the cat is red, write to [EMAIL]"


def test_what_people_said_to_a_server_is_learned(text_log, runs, tmp_path, lean):
    """From requests and feedback to a champion that knows better, and the same request again is nothing new."""
    registry = tmp_path / "registry"
    asked = Asked(
        runs["text-classification"], log=str(text_log[0]), registry=registry, start="champion",
        rule=Rule(margin=0.5), output_dir=tmp_path / "update",
    )  # fmt: skip
    found = update(asked)
    assert (found["decision"], found["new_labels"]) == ("promoted", {"nothing": 60})
    assert found["new_rows"]["read"] == 60
    assert found["tests"]["new"]["challenger"] > found["tests"]["new"]["champion"] == 0
    assert str(Registry(registry).champion()) == found["challenger"]
    answers = load(found["challenger"])(NOTHING[60:])
    assert sum(it["label"] == "nothing" for it in answers) > 20
    again = update(replace(asked, run=str(registry), registry=None, output_dir=None))
    assert again["decision"] == "nothing_new"
