"""`tunesmith serve`: what it refuses before anything is loaded, and keys."""

from __future__ import annotations

import json
import socket

import pytest

from tunesmith.errors import RecipeError, RunError
from tunesmith.serving.opening import open_runs


def test_a_new_key(tunesmith, tmp_path):
    file = tmp_path / "keys.txt"
    done = tunesmith("serve", "--new-key", "alice", "--api-keys", file, "--json")
    assert done.code == 0
    key = json.loads(done.out)["key"]
    assert key not in file.read_text()
    assert tunesmith("serve", "--new-key", "bob", "--api-keys", file).out.strip().startswith("ts_")
    assert tunesmith("serve", "--new-key", "bob", "--api-keys", file).code == 2
    assert tunesmith("serve", "--new-key", "carol").code == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "there is no run to serve"),
        (("nowhere",), "is not there"),
        (("RUN", "--host", "0.0.0.0"), "--api-keys"),
        (("RUN", "--engine", "onnx"), "tunesmith export"),
        (("RUN", "RUN"), "NAME=FOLDER"),
        (("RUN", "--tls-cert", "x.pem"), "together"),
        (("RUN", "--api-keys", "none.txt"), "cannot be read"),
        (("RUN", "--engine", "fast"), "fast"),
    ],
)
def test_what_is_refused(tunesmith, finished_run, arguments, said):
    done = tunesmith("serve", *[str(finished_run.path) if word == "RUN" else word for word in arguments])
    assert done.code == 2
    assert said in done.err


def test_a_port_that_is_taken(tunesmith, finished_run):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = tunesmith("serve", finished_run.path, "--port", taken.getsockname()[1])
    assert done.code == 2
    assert "cannot be used" in done.err


class TestRuns:
    def test_names_and_folders(self, finished_run):
        (one,) = open_runs([f"mine={finished_run.path}"])
        assert (one["name"], one["engine"], one["folder"]) == (
            "mine",
            "torch",
            str(finished_run.path.resolve()),
        )
        (other,) = open_runs([finished_run.path], "torch")
        assert other["name"] == finished_run.path.name

    def test_an_export_must_be_of_these_weights(self, finished_run):
        from tunesmith import export

        facts = export(finished_run, "merged", progress=False)
        (one,) = open_runs([facts["path"]])
        assert one["engine"] == "merged"
        with pytest.raises(RunError, match="not to onnx"):
            open_runs([facts["path"]], "onnx")
        with pytest.raises(RecipeError, match="not an engine"):
            open_runs([finished_run.path], "gpu")
