"""Every shape on a real server: answers are those of `predict`, and errors are those of the shape."""

from __future__ import annotations

import json
import random
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tunesmith.testing.tiny_tasks import ODD_TEXTS

QUESTION = {"question": "where is the cat", "context": "the old cat is near a red dog " * 12}


def texts(n, seed=0):
    """Texts of very different lengths, some longer than the model reads."""
    rng = random.Random(seed)
    words = ["cat", "dog", "red", "blue", "the", "old", "is", "near", "a", "small"]
    return [" ".join(rng.choices(words, k=rng.choice([1, 3, 8, 20, 90]))) for _ in range(n)]


def close(one, other):
    """Equal but for the last digits of numbers, which depend on the texts that are computed together."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(close(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(close, one, other))
    return one == pytest.approx(other, abs=2e-5) if isinstance(one, float) else one == other


def bare(answer):
    return {
        key: value
        for key, value in answer.items()
        if key not in ("tokens", "tokens_read", "completion_tokens")
    }


INPUTS = {
    "text-classification": texts(40),
    "token-classification": [*texts(10), *ODD_TEXTS.values()],
    "question-answering": [QUESTION, {"question": "who", "context": "a red dog is here"}],
    "text-similarity": [{"text": "the cat", "text_pair": "a red dog"}, {"text": "a", "text_pair": "a"}],
    "fill-mask": ["the [MASK] is near", "a red <mask>"],
    "summarization": texts(5),
    "chat": ["the old cat", {"messages": [{"role": "user", "content": "a red dog"}]}],
}


@pytest.mark.parametrize("name", INPUTS)
def test_answers_are_those_of_predict(client, predictors, name):
    said = client.post("/answer", json={"run": name, "inputs": INPUTS[name], "top_k": 1})
    assert said.status_code == 200, said.text
    assert said.headers["x-tunesmith-run"] == said.json()["run"] == name
    answers = said.json()["answers"]
    expected = [predictors(name)(one) for one in INPUTS[name]]
    assert all(map(close, map(bare, answers), expected)), (answers, expected)


def test_many_clients_at_once_get_what_one_gets(client, predictors):
    asked = [texts(random.Random(i).choice([1, 2, 7]), seed=i) for i in range(60)]

    def ask(some):
        return client.post("/answer", json={"inputs": some, "top_k": None}).json()["answers"]

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(ask, asked))
    for some, found in zip(asked, answers, strict=True):
        expected = predictors("text-classification")(some, top_k=None)
        assert all(map(close, map(bare, found), expected))


def test_what_is_known_of_an_answer_comes_along(client, predictors):
    long = "the old cat " * 100
    answer, sure = client.post("/answer", json={"inputs": [long, "cat"], "coverage": 0.9}).json()["answers"]
    assert answer["truncated"] is True
    assert answer["tokens_read"] == predictors("text-classification").max_length < answer["tokens"] == 302
    assert "truncated" not in sure
    assert isinstance(sure["abstained"], bool)
    assert {entry["label"] for entry in sure["set"]} <= {"animal", "colour"}


class TestTextEmbeddingsInference:
    def test_predict(self, client, predictors):
        expected = predictors("text-classification")("the cat", top_k=None)["top"]
        one = client.post("/predict", json={"inputs": "the cat"}).json()
        assert close(one, expected)
        assert close(client.post("/predict", json={"inputs": [["the cat"]]}).json(), [expected])
        several = client.post("/predict", json={"inputs": ["the cat", "a red one"], "truncate": True}).json()
        assert close(several[0], expected)
        assert len(several) == 2

    def test_a_text_that_is_cut_is_said_or_refused(self, client):
        body = {"inputs": ["a", "the old cat " * 100]}
        said = client.post("/predict", json=body)
        assert said.headers["x-tunesmith-truncated"] == "1"
        refused = client.post("/predict", json={**body, "truncate": False})
        assert refused.status_code == 413
        assert refused.json()["error_type"] == "validation"

    def test_embed_and_similarity(self, client, predictors):
        model = "text-similarity"
        vectors = client.post("/embed", json={"inputs": ["the cat", "a dog"], "model": model}).json()
        expected = predictors(model).embed(["the cat", "a dog"], normalize=True).tolist()
        assert close(vectors, expected)
        inputs = {"source_sentence": "the cat", "sentences": ["a dog", "the cat"]}
        cosines = client.post("/similarity", json={"inputs": inputs, "model": model}).json()
        assert cosines == pytest.approx([sum(a * b for a, b in zip(*expected, strict=True)), 1.0], abs=1e-5)

    def test_tokenize(self, client, predictors):
        (tokens,) = client.post("/tokenize", json={"inputs": "the cat"}).json()
        ids = predictors("text-classification").tokenizer("the cat")["input_ids"]
        assert [token["id"] for token in tokens] == ids
        assert tokens[1] == {"id": ids[1], "text": "the", "special": False, "start": 0, "stop": 3}
        assert tokens[0]["special"]
        assert tokens[0]["start"] is None

    def test_info(self, client):
        info = client.get("/info").json()
        assert info["model_type"]["classifier"]["id2label"] == {"0": "animal", "1": "colour"}
        assert info["max_input_length"] == 64
        assert client.get("/info", params={"model": "nope"}).status_code == 404


class TestOpenInference:
    def test_health_and_models(self, client):
        for path in (
            "/v2",
            "/v2/health/live",
            "/v2/health/ready",
            "/v2/models/chat/ready",
            "/livez",
            "/readyz",
        ):
            assert client.get(path).status_code == 200, path
        found = client.get("/v2/models/question-answering").json()
        assert [one["name"] for one in found["inputs"]] == ["question", "context"]

    def test_infer(self, client, predictors):
        tensor = {"name": "text", "shape": [2, 1], "datatype": "BYTES", "data": [["the cat"], ["red"]]}
        said = client.post(
            "/v2/models/text-classification/infer", json={"id": "7", "inputs": [tensor]}
        ).json()
        assert said["id"] == "7"
        outputs = {one["name"]: one["data"] for one in said["outputs"]}
        expected = predictors("text-classification")(["the cat", "red"])
        assert outputs["label"] == [one["label"] for one in expected]
        assert outputs["score"] == pytest.approx([one["score"] for one in expected], abs=2e-5)
        assert [json.loads(one)["label"] for one in outputs["answer"]] == outputs["label"]

    def test_wrong_tensors_are_refused(self, client):
        path = "/v2/models/text-classification/infer"
        tensor = {"name": "text", "shape": [3], "datatype": "BYTES", "data": ["a"]}
        assert client.post(path, json={"inputs": [tensor]}).status_code == 422
        other = {**tensor, "shape": [1], "name": "label"}
        assert client.post(path, json={"inputs": [other]}).status_code == 422


WRONG = {
    "not JSON": ("/answer", b"{", 400),
    "no inputs": ("/answer", b"{}", 422),
    "unknown key": ("/answer", b'{"inputs": "a", "top": 1}', 422),
    "unknown run": ("/answer", b'{"inputs": "a", "run": "nope"}', 404),
    "empty text": ("/answer", b'{"inputs": ["a", ""]}', 422),
    "wrong columns": ("/answer", b'{"inputs": {"body": "a"}}', 422),
    "lone surrogate": ("/answer", rb'{"inputs": "\ud800"}', 400),
    "deep": ("/answer", b"[" * 50_000, 400),
    "too many inputs": ("/answer", json.dumps({"inputs": ["a"] * 101}).encode(), 413),
    "too large": ("/answer", b'{"inputs": "' + b"a" * 200_001, 413),
    "unknown route": ("/nope", b"{}", 404),
    "no mask": ("/models/fill-mask", b'{"inputs": "the cat"}', 422),
    "another task": ("/predict", b'{"inputs": "a", "model": "chat"}', 400),
    "no vectors": ("/embed", b'{"inputs": "a", "model": "token-classification"}', 400),
    "another pipeline": ("/pipeline/translation", b'{"inputs": "a"}', 400),
    "a parameter without effect": ("/", b'{"inputs": "a", "parameters": {"temperature": 1}}', 400),
    "a chat for a classifier": (
        "/v1/chat/completions", b'{"model": "text-classification", "messages": [{}]}', 400
    ),
    "a message without a role": ("/v1/chat/completions", b'{"model": "chat", "messages": [{}]}', 422),
    "several choices": ("/v1/completions", b'{"model": "chat", "prompt": "a", "n": 2}', 422),
    "settings of another kind of model": (
        "/v1/completions", b'{"model": "summarization", "prompt": "a", "max_tokens": 2}', 400
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_errors_have_a_status_and_tell_nothing_inside(client, kind):
    path, body, status = WRONG[kind]
    said = client.post(path, content=body)
    assert said.status_code == status, said.text
    error = said.json()["error"]
    assert isinstance(error, dict) == path.startswith("/v1/")
    assert not any(inside in said.text for inside in ("Traceback", ".py", "/tmp", "site-packages"))


def test_a_file_name_is_a_text(client, runs):
    name = str(next(runs["chat"].parent.glob("*.jsonl")))
    assert client.post("/answer", json={"inputs": name}).status_code == 200


def test_other_hosts_and_pages_are_refused(client):
    assert client.get("/livez", headers={"host": "evil.example"}).status_code == 421
    assert client.get("/livez", headers={"host": "localhost:1"}).status_code == 200
    cross = {"origin": "http://evil.example"}
    assert client.post("/predict", json={"inputs": "a"}, headers=cross).status_code == 403
    assert "access-control-allow-origin" not in client.get("/livez").headers


def test_a_request_keeps_its_id_and_its_deadline(client):
    said = client.post("/answer", json={"inputs": "a"}, headers={"x-request-id": "mine"})
    assert said.headers["x-request-id"] == said.json()["request"] == "mine"
    late = client.post("/answer", json={"inputs": "a"}, headers={"x-request-timeout": "1e-9"})
    assert late.status_code in (429, 504)
    assert client.post("/answer", json={"inputs": "a"}, headers={"x-request-timeout": "x"}).status_code == 422


def test_metrics_count(client):
    client.post("/predict", json={"inputs": "the cat"})
    text = client.get("/metrics").text
    for name in (
        "te_request_count_total",
        "te_queue_size",
        "te_batch_next_tokens",
        "tunesmith_padding_tokens_total",
    ):
        assert name in text


def test_a_client_that_leaves_is_not_computed_for(server, client):
    def cancelled():
        text = client.get("/metrics").text
        return float(text.split("\ntunesmith_cancelled_total ")[1].split()[0])

    before = cancelled()
    body = json.dumps({"run": "summarization", "inputs": texts(100)}).encode()
    head = f"POST /answer HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    peers = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(8)]
    for peer in peers:
        peer.sendall(head + body)
    time.sleep(0.05)
    for peer in peers:
        peer.close()
    began = time.monotonic()
    while cancelled() == before:
        assert time.monotonic() - began < 20
        time.sleep(0.05)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux")
def test_the_process_that_listens_has_no_torch(server):
    assert "libtorch" not in Path(f"/proc/{server.process.pid}/maps").read_text()
    (worker,) = server.workers()
    assert "libtorch" in Path(f"/proc/{worker}/maps").read_text()
