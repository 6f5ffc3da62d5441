"""A tokenizer.json with patterns is tried in a process of its own, once, and refused where it costs too much."""

import json
import shutil
import subprocess

import pytest

from tunesmith.errors import ModelError
from tunesmith.models import tokenizer_trial
from tunesmith.models.resolve import resolve_model
from tunesmith.models.tokenizer import load_tokenizer


@pytest.fixture
def tokenizer_with(tiny_model, tmp_path, monkeypatch):
    monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(tokenizer_trial, "_MOST_WALL_S", 20)
    folder = shutil.copytree(tiny_model, tmp_path / "model")

    def load(**parts):
        file = folder / "tokenizer.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **parts}))
        return load_tokenizer(resolve_model(str(folder)))

    return load


def split(pattern):
    how = {"behavior": "Isolated", "invert": False}
    return {"type": "Split", "pattern": {"Regex": pattern}, **how}


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"pre_tokenizer": split("(z+)+$")}, "retry-limit"),
        ({"pre_tokenizer": {"type": "Sequence", "pretokenizers": [split(r"(\p{L}+)+$")]}}, "retry-limit"),
        (
            {"normalizer": {"type": "Replace", "pattern": {"String": "q"}, "content": "a " * 10**4}},
            "a text of 4 bytes becomes",
        ),
    ],
)
def test_a_tokenizer_that_costs_too_much_is_refused_before_the_data_are_read(tokenizer_with, parts, said):
    with pytest.raises(ModelError, match="takes too much time or memory for short texts") as refused:
        tokenizer_with(**parts)
    assert said in refused.value.rule


def test_a_usual_pattern_is_tried_once(tokenizer_with, monkeypatch):
    usual = split(r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")
    assert tokenizer_with(pre_tokenizer=usual)("the cat")["input_ids"]
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("it was tried before"))
    assert tokenizer_with(pre_tokenizer=usual)("the cat")["input_ids"]


def test_a_tokenizer_without_patterns_needs_no_process(tokenizer_with, monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("there is nothing to try"))
    assert tokenizer_with()("the cat")["input_ids"]


def test_what_is_no_tokenizer_is_left_to_the_library(tokenizer_with):
    with pytest.raises(ModelError, match="cannot be loaded"):
        tokenizer_with(pre_tokenizer={"type": "Split"})
