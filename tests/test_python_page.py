"""docs/python.md: its code runs, in order, and its tables name what there is."""

import inspect
import re
from pathlib import Path

import pytest

import tunesmith
from tunesmith.api.recipes import KEYS
from tunesmith.recipe import recipe_keys

PAGE = (Path(__file__).parents[1] / "docs" / "python.md").read_text()


def section(title):
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def short(block, model):
    """The same code with a tiny model, and few steps."""
    if "model=" not in block and "recipe=" not in block:
        block = re.sub(r"output_dir=", f"model={str(model)!r}, output_dir=", block)
    return re.sub(r"epochs=\d", 'overrides={"train.max_steps": 3}', block)


@pytest.mark.slow
def test_every_block_runs_after_those_before_it(tiny_model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.+?)```", PAGE, re.DOTALL)
    assert len(blocks) >= 7
    names = {}
    for block in blocks:
        exec(compile(short(block, tiny_model), "docs/python.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "accuracy" in printed
    assert len(names["losses"]) == 3
    assert names["scores"]
    assert set(names["predictor"].labels) == set(names["intents"])
    assert len(names["answers"]) == 62
    assert names["second"].manifest()["model"]["found_in"] == "memory"


def test_the_table_has_every_keyword_with_its_key():
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| (.+) \|$", section("Keywords"), re.MULTILINE)
    keys = {name: text for names, text in rows for name in re.findall(r"`(\w+)`", names)}
    assert keys.keys() == inspect.signature(tunesmith.train).parameters.keys()
    for name, text in keys.items():
        if name in KEYS or name in recipe_keys():
            assert text.startswith(f"`{KEYS.get(name, name)}`"), name
        assert KEYS.get(name, "task") in recipe_keys()


def test_the_table_of_the_run_names_members_that_exist():
    members = re.findall(r"`run\.(\w+)", section("The run").split("```")[0])
    assert len(members) > 10
    run = tunesmith.Run("nowhere")
    for member in members:
        assert hasattr(type(run), member) or hasattr(run, member), member


@pytest.mark.parametrize("name", re.findall(r"`(?:tunesmith\.)?(\w+Error)`", PAGE))
def test_the_errors_of_the_page_are_ours(name):
    assert name == "TypeError" or name in tunesmith.__all__
