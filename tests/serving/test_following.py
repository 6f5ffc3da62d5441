"""A server follows the champion of a registry, and has challengers: no request fails or gets mixed answers."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

import httpx
import pytest
from safetensors.numpy import load_file, save_file

from tunesmith.errors import RunError
from tunesmith.monitoring.prediction_log import read_differences
from tunesmith.run import Run
from tunesmith.run.champion import Registry
from tunesmith.serving.opening import open_canary, open_runs

TEXTS = ["the cat", "a red dog is here", "old small blue " * 8, "green", "was otter near"]
BROKEN = "goat zzfail near"


def turned_round(run):
    """Makes a run answer the opposite."""
    weights = load_file(run / "model" / "model.safetensors")
    for name in weights:
        if name.startswith("classifier."):
            weights[name] = -weights[name]
    save_file(weights, run / "model" / "model.safetensors", metadata={"format": "pt"})
    return run


def with_a_broken_word(run):
    """Makes a run fail on texts with one word, whose vector is not there."""
    file = run / "model" / "tokenizer.json"
    tokenizer = json.loads(file.read_text())
    tokenizer["model"]["vocab"]["zzfail"] = 10**6
    file.write_text(json.dumps(tokenizer))
    return run


@pytest.fixture(scope="module")
def three(runs, tmp_path_factory):
    """A champion, one that answers the opposite, and one that fails on a word."""
    folder = tmp_path_factory.mktemp("three")
    found = {name: folder / name for name in ("a", "b", "c")}
    for run in found.values():
        shutil.copytree(runs["text-classification"], run)
    Run(turned_round(found["b"])).finish()
    Run(with_a_broken_word(found["c"])).finish()
    return found


@pytest.fixture(scope="module")
def expected(three):
    from tunesmith import load

    answers = {name: load(three[name])(TEXTS) for name in ("a", "b")}
    assert all(a["label"] != b["label"] for a, b in zip(answers["a"], answers["b"], strict=True))
    return answers


@pytest.fixture(scope="module")
def registry(three, tmp_path_factory):
    """One whose first champion is `a`."""
    found = Registry(tmp_path_factory.mktemp("following") / "reviews")
    found.promote(three["a"], by="a test", reason="the first")
    return found


@pytest.fixture(scope="module")
def served(registry, three, serving):
    """A server that follows it; its shadow answers the opposite, and its canary fails on a word."""
    options = ("--shadow", three["b"], "--canary", three["c"], "--canary-share", 0.5)
    with serving(registry.folder, *options) as found:
        yield found


class Clients:
    """Ask without a pause, and compare every answer with that of the run that the header names.

    Args:
        served: server to ask.
        expected: right answers by the name of the run.
    """

    def __init__(self, served, expected, n=2):
        self.served, self.expected = served, expected
        self.n_by_run: dict[str, int] = {}
        self.problems: list[object] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(n)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _ask(self):
        with self.served.client() as client:
            while not self._stop.is_set():
                try:
                    self._check(client.post("/answer", json={"inputs": TEXTS}))
                    time.sleep(0.02)
                except httpx.HTTPError as error:
                    self.problems.append(error)

    def _check(self, said):
        if said.status_code != 200:
            self.problems.append(said.text)
            return
        run, answers = said.headers["x-tunesmith-run"], said.json()["answers"]
        self.n_by_run[run] = self.n_by_run.get(run, 0) + 1
        for answer, right in zip(answers, self.expected[run], strict=True):
            if answer["label"] != right["label"] or abs(answer["score"] - right["score"]) > 1e-3:
                self.problems.append((run, answer, right))

    def wait_for(self, run, most_s=150):
        """Until some requests more were answered by a run."""
        before, until = self.n_by_run.get(run, 0), time.monotonic() + most_s
        while self.n_by_run.get(run, 0) < before + 5:
            assert time.monotonic() < until, (run, self.n_by_run, self.served.errors)
            assert not self.problems, self.problems[:3]
            time.sleep(0.02)


KILLED = """
import os, signal, sys
from pathlib import Path
from tunesmith.run.champion import Registry
really = Path.replace
def replace(path, target):
    if Path(target).name == "champion.json":
        os.kill(os.getpid(), signal.SIGKILL)
    return really(path, target)
Path.replace = replace
Registry(sys.argv[1]).promote(sys.argv[2], by="killed", reason="in the middle")
"""


def counted(client, name):
    """The counters of a name, by what their labels say besides the run."""
    found = re.findall(rf"^{name}{{(.+)}} (\S+)$", client.get("/metrics").text, re.MULTILINE)
    return {"".join(re.findall(r'(?:kind|rule)="(.+?)"', labels)): float(value) for labels, value in found}


def wait_until(holds, most_s=120):
    until = time.monotonic() + most_s
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_shadow_is_silent_and_a_canary_that_fails_is_rolled_back(served, registry, three, expected):
    with served.client() as client:
        answered = [client.post("/answer", json={"inputs": TEXTS}) for _ in range(24)]
        by = [said.headers["x-tunesmith-run"] for said in answered]
        assert set(by) == {"a", "c"}
        for said in answered:  # the canary has the weights of the champion
            labels = [one["label"] for one in said.json()["answers"]]
            assert labels == [one["label"] for one in expected["a"]]
        n_others = by.count("a") * len(TEXTS)
        wait_until(lambda: counted(client, "tunesmith_shadow_answers_total") == {"other": n_others})
        for _ in range(24):
            said = client.post("/answer", json={"inputs": BROKEN})
            assert said.status_code == 200
            assert said.headers["x-tunesmith-run"] == "a"
        assert counted(client, "tunesmith_canary_stops_total") == {"errors": 1.0}
        assert counted(client, "tunesmith_canary_share") == {"": 0.0}
        after = {client.post("/answer", json={"inputs": "cat"}).headers["x-tunesmith-run"] for _ in range(12)}
        assert after == {"a"}
        wait_until(lambda: len(served.workers()) == 2)
    ids = {one.headers["x-tunesmith-log-id"] for one in answered if one.headers["x-tunesmith-run"] == "a"}
    place = f"{registry.folder}-log"
    wait_until(lambda: len([one for one in read_differences(place) if one["answer"][:-2] in ids]) == n_others)
    told = list(read_differences(place))
    assert {one["run"] for one in told} == {"b"}
    opposite = {answer["label"] for answer in expected["b"]}
    assert {one["label"] for one in told if one["answer"][:-2] in ids} == opposite
    assert sum("is rolled back for its errors" in line for line in served.errors) == 1
    (champion,) = open_runs([registry.folder])
    with pytest.raises(RunError, match=r"c` was rolled back on .* for its errors"):
        open_canary(three["c"], champion, "auto")
    assert open_canary(three["b"], champion, "auto")["version"] == "b"


@pytest.mark.slow
def test_under_load_a_promotion_and_its_roll_back_lose_and_mix_nothing(served, registry, three, expected):
    with served.client() as client:
        idle = client.post("/answer", json={"inputs": TEXTS})
        assert idle.json()["run"] == idle.headers["x-tunesmith-run"] == "a"
        assert idle.headers["x-tunesmith-promotion"] == "1"
        with Clients(served, expected) as clients:
            clients.wait_for("a")
            killed = subprocess.run([sys.executable, "-c", KILLED, registry.folder, three["b"]], check=False)
            assert killed.returncode == -signal.SIGKILL
            assert registry.champion() == three["a"]
            registry.promote(three["b"], by="a test", reason="the opposite")
            clients.wait_for("b")
            registry.rollback(by="a test", reason="that was wrong")
            clients.wait_for("a")
        assert not clients.problems, clients.problems[:3]
        again = client.post("/predict", json={"inputs": TEXTS, "model": "reviews"})
        assert again.headers["x-tunesmith-promotion"] == "3"
        again = client.post("/answer", json={"inputs": TEXTS})
        assert again.json()["answers"] == idle.json()["answers"]
        assert counted(client, "tunesmith_promotion") == {"": 3.0}
        assert counted(client, "tunesmith_switches_total") == {"": 2.0}
        wait_until(lambda: len(served.workers()) == 1)  # the old ones end, and the shadow that was promoted
