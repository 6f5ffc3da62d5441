"""A model of the Hub is of one commit, by the real client against a stand-in of the Hub's HTTP interface."""

import json
import shutil

import pytest

from tunesmith.errors import ModelError
from tunesmith.models.identity import identify
from tunesmith.models.resolve import resolve_model
from tunesmith.models.tokenizer import load_tokenizer
from tunesmith.testing.hub import Repository, client_of, stand_in_hub


@pytest.fixture
def hub(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with stand_in_hub() as hub, client_of(hub, monkeypatch):
        yield hub


@pytest.fixture
def files(tiny_model):
    return {path.name: path.read_bytes() for path in tiny_model.iterdir()}


def test_a_repository_that_moves_on_between_two_files_gives_one_commit(hub, files, tiny_model):
    there = hub.repositories["me/tiny"] = Repository(files=files)
    first = there.head
    other = {name: b" " + content for name, content in files.items()}
    sent = []

    def move_on(path):
        sent.append(path)
        there.replace({**other, "more.json": b"{}"})

    hub.after_file = move_on
    found = resolve_model("me/tiny")
    assert len(sent) == len(files) > 3
    assert there.head != first
    assert {path.name: path.read_bytes() for path in found.path.iterdir()} == files
    assert (found.kind, identify(found)["revision"]) == ("hub", first)
    assert load_tokenizer(found).get_vocab() == load_tokenizer(resolve_model(str(tiny_model))).get_vocab()
    again = resolve_model("me/tiny")
    assert (again.kind, again.path) == ("cache", found.path)
    assert len(sent) == len(files)  # nothing more was asked for


def test_a_download_that_breaks_off_is_not_taken_for_a_model(hub, files):
    hub.repositories["me/tiny"] = Repository(files=files)
    hub.withheld = {"tokenizer.json"}
    for _ in range(2):
        with pytest.raises(ModelError, match="the local Hub cache: not there"):
            resolve_model("me/tiny")
    hub.withheld = set()
    assert (resolve_model("me/tiny").path / "tokenizer.json").read_bytes() == files["tokenizer.json"]


def test_a_file_of_the_hub_that_is_no_model_is_refused_as_one_of_a_folder_is(hub, files):
    config = json.dumps({**json.loads(files["config.json"]), "vocab_size": 10**12}).encode()
    hub.repositories["me/tiny"] = Repository(files={**files, "config.json": config})
    with pytest.raises(ModelError, match=r"cannot be what `config\.json` says"):
        resolve_model("me/tiny")


def test_code_and_pickles_stay_on_the_hub(hub, files):
    hub.repositories["me/tiny"] = Repository(files={**files, "model.py": b"1", "pytorch_model.bin": b"1"})
    assert {path.name for path in resolve_model("me/tiny").path.iterdir()} == set(files)
    shutil.rmtree(resolve_model("me/tiny").path.parents[2])
